//go:build !unix

package ledgerdb

import "os"

// lockDir has no lock to take here: SQLite's own keeps a second writer from
// committing, and [ledger.ErrOutrun] from forking the log.
func lockDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// locked cannot tell here.
func locked(string) (bool, error) { return false, nil }
