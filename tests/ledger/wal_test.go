package ledger

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// copyFiles is what a crash leaves: the files of a running ledger.
func copyFiles(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// crashed returns the files of a ledger that was not closed, its head file being
// up to date.
func crashed(t *testing.T, entries int) (files map[string][]byte, signer ledger.Signer) {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	signer = ledgertest.NewSigner(t)
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{Behind: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	log := ledgertest.NewLog(t, store, signer, nil)
	want := ledgertest.Append(t, log, entries)
	for deadline := time.Now().Add(10 * time.Second); ; {
		signed, err := store.Anchor().Head(ctx)
		if err == nil && string(signed) == string(want.Checkpoint) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the head file never came")
		}
	}
	copyTo := t.TempDir()
	copyFiles(t, dir, copyTo, "ledger.db", "ledger.db-wal", "head")
	if err := errors.Join(log.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	files = make(map[string][]byte)
	for _, name := range []string{"ledger.db", "ledger.db-wal", "head"} {
		if files[name], err = os.ReadFile(filepath.Join(copyTo, name)); err != nil {
			t.Fatal(err)
		}
	}
	return files, signer
}

// reopen opens a ledger of these files and returns its size.
func reopen(t *testing.T, files map[string][]byte, signer ledger.Signer) (uint64, error) {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = store.Close() }()
	log, err := ledger.Open(ctx, store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}})
	if err != nil {
		return 0, err
	}
	return log.Stats().Size, log.Close()
}

// SQLite opens a database with a damaged write-ahead log as an older one, without
// a word. We must not.
func TestDamagedWAL(t *testing.T) {
	const entries = 40
	files, signer := crashed(t, entries)
	if size, err := reopen(t, files, signer); err != nil || size != entries {
		t.Fatal("what a crash leaves must open:", size, err)
	}
	wal := files["ledger.db-wal"]
	flips := 60
	if long() {
		flips = 3000
	}
	frames := 0
	for range flips {
		at, bit := mathrand.IntN(len(wal)), byte(1)<<mathrand.IntN(8)
		damaged := append([]byte(nil), wal...)
		damaged[at] ^= bit
		files["ledger.db-wal"] = damaged
		size, err := reopen(t, files, signer)
		switch {
		case errors.Is(err, ledger.ErrDamaged):
			frames++
		case errors.Is(err, ledger.ErrBehind):
		case err == nil && size == entries: // a byte that says nothing
		default:
			t.Errorf("byte %d of the log changed: size %d, %v", at, size, err)
		}
	}
	t.Logf("%d of %d flips were seen in the log itself", frames, flips)
	for _, length := range []int{len(wal) / 2, len(wal) - 1, len(wal) - 5000, 32, 0} {
		files["ledger.db-wal"] = wal[:length]
		if size, err := reopen(t, files, signer); !errors.Is(err, ledger.ErrBehind) && !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("log cut to %d of %d bytes: size %d, %v", length, len(wal), size, err)
		}
	}
	delete(files, "ledger.db-wal")
	if size, err := reopen(t, files, signer); !errors.Is(err, ledger.ErrBehind) && !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("log deleted: size %d, %v", size, err)
	}
	delete(files, "ledger.db")
	if size, err := reopen(t, files, signer); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("database deleted: size %d, %v", size, err)
	}
}

// A transaction that a crash interrupted was never acknowledged: the ledger opens
// without it.
func TestTornTail(t *testing.T) {
	files, signer := crashed(t, 10)
	delete(files, "head")
	wal := files["ledger.db-wal"]
	files["ledger.db-wal"] = wal[:len(wal)-100]
	if size, err := reopen(t, files, signer); err != nil || size != 9 {
		t.Errorf("size %d, %v", size, err)
	}
}

// An old copy that is put back is a valid ledger in itself; what is kept elsewhere
// shows it. That nothing local can show it when everything local is put back, is
// why there are witnesses.
func TestOldCopy(t *testing.T) {
	ctx := context.Background()
	dir, signer := t.TempDir(), ledgertest.NewSigner(t)
	run := func(count int) error {
		store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
		log, err := ledger.Open(ctx, store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}})
		if err != nil {
			return err
		}
		ledgertest.Append(t, log, count)
		return log.Close()
	}
	if err := run(300); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	copyFiles(t, dir, old, "ledger.db", "head")
	if err := run(50); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, old, dir, "ledger.db")
	if err := run(1); !errors.Is(err, ledger.ErrBehind) {
		t.Fatalf("an old copy was taken for the ledger: %v", err)
	}
	copyFiles(t, old, dir, "head")
	if err := run(100); err != nil {
		t.Fatal("with everything put back, nothing local can tell:", err)
	}
}

// A clock that goes back must not make the order of times lie.
func TestClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
		for step, back := range []bool{false, false, true, true, false} {
			at := now.Add(time.Duration(step) * time.Minute)
			if back {
				at = now
			}
			log := ledgertest.NewLog(t, store, signer, func(o *ledger.Options) { o.Now = func() time.Time { return at } })
			p, err := log.Append(t.Context(), ledgertest.Denial(step), ledger.Durable)
			if err != nil {
				t.Fatal(err)
			}
			row, err := log.Reader().Entry(t.Context(), p.Index)
			if err != nil {
				t.Fatal(err)
			}
			e, err := ledger.ParseEntry(row.Body)
			if err != nil {
				t.Fatal(err)
			}
			if e.ClockBack != back {
				t.Errorf("entry %d: clock_back is %v, want %v (%s)", step, e.ClockBack, back, e.Time)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: keysOf(t, signer)}); err != nil {
			t.Error(err)
		}
	})
}
