//go:build unix

package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock keeps a directory for one process. It ends with the process, however that
// ends, or with [Lock.Unlock].
type Lock struct{ file *os.File }

// LockDir takes the lock of a directory that exists, in a file named lock. It does
// not wait: a directory that is in use is an error.
func LockDir(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", dir, err), f.Close())
	}
	return &Lock{f}, nil
}

// Unlock gives the directory back.
func (l *Lock) Unlock() error { return l.file.Close() }
