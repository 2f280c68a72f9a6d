// Package file writes and reads the small files of tests: configurations, keys, tokens.
package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Write makes a file for nobody but its owner, and the directories to it. It returns the
// path, joined of its elements by whoever calls.
func Write(t testing.TB, path, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// Read returns all of a file.
func Read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
