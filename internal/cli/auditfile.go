package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/westworld-charter/charter/internal/durable"
)

func readLimited(in io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it is larger than %d bytes", most)
	}
	return data, err
}

// newFile is a file that replaces another one when it is complete.
type newFile struct {
	*os.File
	path string
}

func createFile(path string) (*newFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".charter-*")
	if err != nil {
		return nil, err
	}
	return &newFile{f, path}, nil
}

// keep puts the file in its place, durably.
func (f *newFile) keep() error {
	err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(filepath.Dir(f.path))
}

// discard removes what was not kept.
func (f *newFile) discard() {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// writeWhole writes a file in one step.
func writeWhole(path string, data []byte) error {
	f, err := createFile(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.discard()
		return err
	}
	return f.keep()
}
