// Package fleet runs many charter-node processes against one registry: a release
// reaches all of them, a partition heals, and a node that is killed at any moment runs
// the old release or the new one and nothing else.
//
// The short form is part of `make test`; `make test-fleet` runs 50 nodes. Every node has
// a loopback address of its own, and reaches the registry by a host name of its own, so
// that its downloads are counted and its network can be cut.
package fleet
