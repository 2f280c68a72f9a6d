// Package audit takes the real charter-server's record at its word: it kills the
// process, takes the ledger away, fills the disk, and counts what was answered
// against what the ledger holds.
package audit
