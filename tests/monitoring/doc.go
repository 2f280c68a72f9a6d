// Package monitoring holds what is shipped in deploy/ for operators against the
// programs that they run: Prometheus, Alertmanager and their tools.
//
// The rules, the routing and the dashboards are those of deploy/. Where a test
// runs the programs, it changes a copy of these files in two ways only, see
// [shorten] and [stack.place]: every duration is divided, so that five minutes
// pass in seconds, and addresses and paths of secrets become those of the test.
package monitoring
