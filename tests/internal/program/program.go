// Package program builds the programs of this repository for tests that run the real
// ones. [Path] is where one is.
//
// A program is what the sources say: the go command is asked each time, and links anew
// what is not up to date. It is linked once all the same for as many test binaries as
// there are, since all of them share .build/programs. The results of tests that go test
// remembers count as old when a source has changed, though no test imports it.
package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// programs are asked for once in a test binary.
var programs = map[string]func() (string, error){
	"charter-admin":  sync.OnceValues(func() (string, error) { return build("charter-admin") }),
	"charter-node":   sync.OnceValues(func() (string, error) { return build("charter-node") }),
	"charter-server": sync.OnceValues(func() (string, error) { return build("charter-server") }),
}

// Path returns the path of a program of cmd/, built.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := Build(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build is [Path] for who is no test.
func Build(name string) (string, error) {
	built, ok := programs[name]
	if !ok {
		return "", fmt.Errorf("there is no program %s", name)
	}
	return built()
}

func build(name string) (path string, err error) {
	root, err := judge.FindRoot()
	if err != nil {
		return "", err
	}
	if err := look(root); err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path = filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, out)
	}
	// The go command touches what is up to date, too, which makes it look like another
	// program to go test. Whether it is, the sources say, see look.
	return path, os.Chtimes(path, time.Time{}, time.Unix(0, 0))
}

// lock waits until no other process builds the same program.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f.Close, nil
}

// look lists all directories that a program is made of: go test notes what a test looks
// at, and runs it again when that is another.
func look(root string) error {
	for _, dir := range []string{"cmd", "deploy", "internal", "rego"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	_, err := os.Stat(filepath.Join(root, "go.sum"))
	return err
}
