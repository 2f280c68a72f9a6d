package ledgerdb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
)

// newWAL returns the write-ahead log of a database with a few transactions.
func newWAL(t testing.TB, transactions int) []byte {
	t.Helper()
	dir := t.TempDir()
	db, err := openDB(filepath.Join(dir, "x.db"), "rwc", "FULL", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)"); err != nil {
		t.Fatal(err)
	}
	for range transactions {
		if _, err := db.ExecContext(context.Background(), "INSERT INTO t (b) VALUES (randomblob(3000)), (randomblob(3000))"); err != nil {
			t.Fatal(err)
		}
	}
	wal, err := os.ReadFile(filepath.Join(dir, "x.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return wal
}

// Each flipped bit before the last transaction is seen, and none that a crash
// could have left is.
func TestWalkWAL(t *testing.T) {
	wal := newWAL(t, 6)
	if err := walkWAL(bytes.NewReader(wal)); err != nil {
		t.Fatal(err)
	}
	const frame = frameHeader + 4096
	last := 0 // where the last transaction begins
	for at, previous := walHeader, walHeader; at+frame <= len(wal); at += frame {
		if !bytes.Equal(wal[at+4:at+8], make([]byte, 4)) {
			last, previous = previous, at+frame
		}
	}
	for at := 0; at < len(wal); at += 61 {
		for _, bit := range []byte{1, 128} {
			damaged := bytes.Clone(wal)
			damaged[at] ^= bit
			err := walkWAL(bytes.NewReader(damaged))
			if at < last && !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("byte %d of %d, the last transaction begins at %d: %v", at, len(wal), last, err)
			}
		}
	}
	for length := 0; length <= len(wal); length += 101 {
		if err := walkWAL(bytes.NewReader(wal[:length])); err != nil {
			t.Errorf("cut to %d bytes, as by a crash: %v", length, err)
		}
	}
	// What is left of an earlier round of the log, behind this one's end.
	other := newWAL(t, 6)
	if err := walkWAL(bytes.NewReader(append(bytes.Clone(wal), other[walHeader:]...))); err != nil {
		t.Errorf("frames of an earlier round: %v", err)
	}
}

func FuzzWalkWAL(f *testing.F) {
	f.Add(newWAL(f, 1))
	f.Add([]byte("\x37\x7f\x06\x82"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = walkWAL(bytes.NewReader(data)) // must end, and must not panic
	})
}
