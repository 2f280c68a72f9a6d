package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func age(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// A change that is overlooked is a charter that is not in force.
func TestStampsSeeChanges(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "a", "b"), "one")
	now := time.Now()
	old := now.Add(-time.Hour)
	for _, c := range []struct {
		name   string
		change func()
		file   bool // the contents of the file differ
		tree   bool // those of the directory above
	}{
		{"nothing", func() {}, false, false},
		{"touched", func() { age(t, file, now.Add(-time.Minute)) }, false, false},
		{"other text", func() { put(t, file, "twos") }, true, true},
		{"same length, same time, written just now", func() {
			put(t, file, "2222")
			age(t, file, now)
		}, true, true},
		{"a file more", func() { put(t, filepath.Join(dir, "c"), "") }, false, true},
		{"a link instead", func() {
			put(t, filepath.Join(dir, "d"), "2222")
			_ = os.Remove(file)
			if err := os.Symlink(filepath.Join(dir, "d"), file); err != nil {
				t.Fatal(err)
			}
		}, false, true},
		{"gone", func() { _ = os.Remove(file) }, true, true},
		{"gone still", func() {}, false, false},
		{"a directory instead", func() { put(t, filepath.Join(file, "x"), "x") }, true, true},
		{"back again", func() {
			_ = os.RemoveAll(file)
			put(t, file, "one")
		}, true, true},
	} {
		before := stamps{file: look(file, stamp{}, now), dir: look(dir, stamp{}, now)}
		c.change()
		after := before.again(now)
		if got := before[file].sum != after[file].sum; got != c.file {
			t.Errorf("%s: file changed: %v", c.name, got)
		}
		if got := before[dir].sum != after[dir].sum; got != c.tree {
			t.Errorf("%s: directory changed: %v", c.name, got)
		}
		if before.same(after) == (c.file || c.tree) {
			t.Errorf("%s: same: %v", c.name, before.same(after))
		}
	}
	// What is old enough is not read again.
	age(t, file, old)
	settled := look(file, stamp{}, now)
	settled.sum[0]++
	if again := look(file, settled, now); again.sum != settled.sum {
		t.Error("a file at rest is read at every look")
	}
}

func TestUnreadableDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "closed", "file"), "x")
	before := look(dir, stamp{}, time.Now())
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "closed"), 0o700) //nolint:errcheck // of a temporary directory
	if after := look(dir, before, time.Now()); after.sum == before.sum {
		t.Error("a file that cannot be read any more looks as before")
	}
}
