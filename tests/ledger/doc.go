// Package ledger holds the tests of the ledger that need files, processes and
// time: writers that are killed, every bit that can flip, disks that fail. They
// run in a short form; with CHARTER_FAULT=long (make test-fault) in full.
package ledger
