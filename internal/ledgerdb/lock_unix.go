//go:build unix

package ledgerdb

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir takes the lock that the writing process holds until it ends, however it
// does.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s is locked", ErrInUse, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// locked tells whether a process writes. It changes nothing, so it works where
// nothing can be written.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	inUse := errors.Is(err, syscall.EWOULDBLOCK)
	if inUse {
		err = nil
	}
	return inUse, errors.Join(err, f.Close())
}
