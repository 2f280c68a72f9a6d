//go:build !unix

package witness

import "errors"

// dirLock is held by the one process that uses a directory.
type dirLock struct{}

// lockDir refuses: two witnesses over one directory could each undo what the
// other has seen.
func lockDir(string) (*dirLock, error) {
	return nil, errors.New("a witness needs a file system with locks (Linux, macOS, BSD)")
}

func (*dirLock) unlock() error { return nil }
