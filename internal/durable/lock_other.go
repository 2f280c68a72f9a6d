//go:build !unix

package durable

import "errors"

// Lock keeps a directory for one process.
type Lock struct{}

// LockDir refuses: what two processes write over each other is lost.
func LockDir(string) (*Lock, error) {
	return nil, errors.New("lock directory: this needs a system with file locks (Linux, macOS, BSD)")
}

// Unlock gives the directory back.
func (*Lock) Unlock() error { return nil }
