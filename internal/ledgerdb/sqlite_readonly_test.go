package ledgerdb_test

import (
	"crypto/sha256"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][32]byte)
	for _, f := range list {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name()] = sha256.Sum256(text)
	}
	return files
}

// audited verifies a ledger that is opened read-only, and asks its index.
func audited(t *testing.T, dir string, keys ledger.Keys, size uint64) {
	t.Helper()
	s := open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
	defer shut(t, s)
	if report, err := verify(t, s, keys); err != nil || report.Size != size {
		t.Errorf("%+v, %v", report, err)
	}
	found := 0
	for _, err := range s.Find(t.Context(), ledger.Filter{Node: "edge-7", Newest: true}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found == 0 {
		t.Error("nothing found")
	}
	if first, err := s.Reconcile(t.Context()); err != nil || first != size {
		t.Errorf("the index misses entry %d, %v", first, err)
	}
}

// An auditor leaves the directory of a ledger as it was.
func TestReadingLeavesNothingBehind(t *testing.T) {
	dir, signer := t.TempDir(), ledgertest.NewSigner(t)
	s := open(t, dir, ledgerdb.SQLiteOptions{})
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 300)
	shut(t, l, s)
	before := contents(t, dir)
	same := func(when string) {
		t.Helper()
		if after := contents(t, dir); !maps.Equal(before, after) {
			t.Errorf("%s there are %v, before %v, or their content is another", when, names(after), names(before))
		}
	}
	keys := ledgertest.Keys(t, signer)
	audited(t, dir, keys, 300)
	same("after an audit")
	first, second := open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true}), open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
	shut(t, first)
	audited(t, dir, keys, 300)
	shut(t, second)
	same("after three audits at a time")

	// While it is written, the files are the writer's.
	auditor := open(t, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
	s = open(t, dir, ledgerdb.SQLiteOptions{})
	l = ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 10)
	shut(t, auditor)
	audited(t, dir, keys, 310)
	ledgertest.Append(t, l, 10)
	if err := l.Health(t.Context()); err != nil {
		t.Error(err)
	}
	shut(t, l, s)
	before["ledger.db"], before["index.db"], before["head"] = [32]byte{}, [32]byte{}, [32]byte{}
	after := contents(t, dir)
	delete(after, "probe") // of Health
	if len(after) != len(before) {
		t.Errorf("after a writer there are %v", names(after))
	}
	audited(t, dir, keys, 320)
}

func names(files map[string][32]byte) (list []string) {
	for name := range files {
		list = append(list, name)
	}
	return list
}

// A ledger on a file system that nobody can write to can be verified, be it a copy
// of one that is closed, or of one that still is open.
func TestReadOnlyFileSystem(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a file system needs root: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	at := func(name string) string { return filepath.Join(dir, name) }
	signer := ledgertest.NewSigner(t)
	s := open(t, at("closed"), ledgerdb.SQLiteOptions{})
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 300)
	shut(t, l, s)
	duplicate(t, at("closed"), at("written"))
	s = open(t, at("written"), ledgerdb.SQLiteOptions{})
	l = ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 20)
	duplicate(t, at("written"), at("open"))
	duplicate(t, at("written"), at("bare"))
	shut(t, l, s)
	for _, name := range []string{"ledger.db-shm", "index.db-shm"} {
		if err := os.Remove(filepath.Join(at("bare"), name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(at("x"), nil, 0o600); err == nil {
		t.Fatal("the file system can be written")
	}
	keys := ledgertest.Keys(t, signer)
	audited(t, at("closed"), keys, 300)
	audited(t, at("open"), keys, 320)
	// What is in the write-ahead log alone must not be passed over.
	if _, err := ledgerdb.OpenSQLite(t.Context(), at("bare"), ledgerdb.SQLiteOptions{ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "copy it") {
		t.Errorf("a ledger that was not closed: %v", err)
	}
}

// duplicate copies a directory.
func duplicate(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
