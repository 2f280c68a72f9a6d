package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// What is written to a deleted file is lost, and SQLite does not notice.
func TestFileGone(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil {
				err = errors.Join(os.Remove(path), os.WriteFile(path, data, 0o600))
			}
			return err
		},
	} {
		for _, file := range []string{"ledger.db", "ledger.db-wal"} {
			ctx, dir := t.Context(), t.TempDir()
			store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			log := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil)
			ledgertest.Append(t, log, 3)
			if err := log.Health(ctx); err != nil {
				t.Fatal(err)
			}
			if err := harm(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			if err := log.Health(ctx); !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("%s %s: health: %v", file, name, err)
			}
			if _, err := log.Append(ctx, ledgertest.Denial(3), ledger.Durable); !errors.Is(err, ledger.ErrStopped) {
				t.Errorf("%s %s: an entry was acknowledged: %v", file, name, err)
			}
			_ = log.Close()
			_ = store.Close()
			if file == "ledger.db" && name != "replaced" {
				if _, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{MustExist: true}); !errors.Is(err, ledger.ErrDamaged) {
					t.Errorf("a new ledger was begun in place of one that is gone: %v", err)
				}
			}
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, key, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledgerdb.OpenSQLite(t.Context(), dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, complaint := start(t, dir, key, 0, "", func(p *os.Process) { _ = p.Kill() }); !strings.Contains(complaint, ledgerdb.ErrInUse.Error()) {
		t.Errorf("the second process: %q", complaint)
	}
}

// A reader that stops in the middle must not make the write-ahead log grow.
func TestStalledReader(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	log := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil)
	ledgertest.Append(t, log, 10)
	for row, err := range log.Reader().Rows(ctx, 0, 10) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Index != 4 {
			continue
		}
		for range log.Reader().Find(ctx, ledger.Filter{Node: "edge-7"}) {
			appendMany(t, log, 40, 500)
		}
		appendMany(t, log, 40, 500)
	}
	info, err := os.Stat(filepath.Join(dir, "ledger.db-wal"))
	if err != nil || info.Size() > 24<<20 {
		t.Errorf("the write-ahead log has %d bytes, %v", info.Size(), err)
	}
}

func appendMany(t *testing.T, log *ledger.Log, writers, each int) {
	t.Helper()
	var group sync.WaitGroup
	for range writers {
		group.Go(func() { ledgertest.Append(t, log, each) })
	}
	group.Wait()
}

// An auditor reads, finds and verifies while the server writes.
func TestAuditorBesideWriter(t *testing.T) {
	ctx, dir, signer := t.Context(), t.TempDir(), ledgertest.NewSigner(t)
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	log := ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, log, 10)
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := log.Append(context.Background(), ledgertest.Denial(n), ledger.Durable); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 10 {
		auditor, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Verify(ctx, auditor, ledger.VerifyOptions{Keys: keysOf(t, signer), Pinned: true}); err != nil {
			t.Error(err)
		}
		if err := auditor.Commit(ctx, ledger.Commit{}); err == nil {
			t.Error("an auditor can write")
		}
		if err := auditor.Close(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	writer.Wait()
}
