// Package node tests charter-node as a process beside others on one machine: a stock
// opa that takes its bundles from it, and a charter-server that it reports to.
package node
