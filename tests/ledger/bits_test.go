package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// vault is a closed ledger, to be damaged and verified again and again.
type vault struct {
	t      *testing.T
	dir    string
	keys   ledger.Keys
	store  *ledgerdb.SQLite
	raw    *sql.DB // writes to ledger.db past everything
	size   uint64
	faults int
}

func newVault(t *testing.T, size int) *vault {
	t.Helper()
	ctx := context.Background()
	v := &vault{t: t, dir: t.TempDir(), size: uint64(size)}
	signer := ledgertest.NewSigner(t)
	v.keys = keysOf(t, signer)
	store, err := ledgerdb.OpenSQLite(ctx, v.dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log := ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, log, size)
	if err := errors.Join(log.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	if v.raw, err = sql.Open("sqlite", filepath.Join(v.dir, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	if v.store, err = ledgerdb.OpenSQLite(ctx, v.dir, ledgerdb.SQLiteOptions{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(v.store.Close(), v.raw.Close()); err != nil {
			t.Error(err)
		}
	})
	v.sound()
	return v
}

func (v *vault) verify() error {
	_, err := ledger.Verify(context.Background(), v.store, ledger.VerifyOptions{Keys: v.keys, Pinned: true, Workers: 1})
	return err
}

func (v *vault) sound() {
	v.t.Helper()
	if err := v.verify(); err != nil {
		v.t.Fatal("a sound ledger does not verify:", err)
	}
}

func (v *vault) exec(query string, args ...any) {
	v.t.Helper()
	if _, err := v.raw.Exec(query, args...); err != nil {
		v.t.Fatal(query, err)
	}
}

// broken checks that the ledger does not verify, and what is named as the first
// bad entry: at least low, at most high.
func (v *vault) broken(what string, low, high uint64) {
	v.t.Helper()
	v.faults++
	err := v.verify()
	var fault *ledger.Fault
	if !errors.As(err, &fault) || !errors.Is(err, ledger.ErrDamaged) {
		v.t.Errorf("%s: not found: %v", what, err)
		return
	}
	if fault.Index < low || fault.Index > high {
		v.t.Errorf("%s: entry %d is named, expected %d to %d: %v", what, fault.Index, low, high, err)
	}
}

// flips flips bits of a value one after another, every stride-th of them.
func (v *vault) flips(table, key, column string, at any, stride int, low, high uint64) {
	v.t.Helper()
	var value []byte
	if err := v.raw.QueryRow("SELECT "+column+" FROM "+table+" WHERE "+key+" = ?", at).Scan(&value); err != nil {
		v.t.Fatal(err)
	}
	update := "UPDATE " + table + " SET " + column + " = ? WHERE " + key + " = ?"
	for bit := v.faults % stride; bit < 8*len(value); bit += stride {
		value[bit/8] ^= 1 << (bit % 8)
		v.exec(update, value, at)
		v.broken(fmt.Sprintf("%s %v, %s, bit %d", table, at, column, bit), low, high)
		value[bit/8] ^= 1 << (bit % 8)
	}
	v.exec(update, value, at)
}

// Every single bit counts.
func TestEveryBit(t *testing.T) {
	small, tiled := 6, 259
	stride, tileStride := 61, 4001
	if long() {
		small, stride, tileStride = 24, 1, 3
	}
	v := newVault(t, small)
	for i := range v.size {
		v.flips("entries", "idx", "body", i, stride, i, i)
		v.flips("entries", "idx", "hash", i, stride, i, i)
	}
	v.flips("checkpoints", "size", "note", v.size, max(1, stride/8), 0, v.size)
	v.sound()
	t.Logf("%d entries: %d bits", small, v.faults)

	v = newVault(t, tiled)
	var ids []int64
	rows, err := v.raw.Query("SELECT id FROM tiles")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	v.flips("tiles", "id", "data", ids[0], tileStride, 0, 255)
	v.flips("checkpoints", "size", "note", 256, max(1, stride/15), 0, 256)
	v.sound()
	t.Logf("%d entries: %d bits of a tile and a checkpoint", tiled, v.faults)
}

// Rows that are deleted, swapped, doubled or appended, and the end cut off.
func TestRows(t *testing.T) {
	v := newVault(t, 600)
	restore := func(statements ...string) {
		for _, s := range statements {
			v.exec(s)
		}
		v.sound()
	}
	v.exec("CREATE TEMP TABLE kept AS SELECT * FROM entries")
	v.raw.SetMaxOpenConns(1)
	back := []string{"DELETE FROM entries", "INSERT INTO entries SELECT * FROM kept"}
	for _, i := range []uint64{0, 1, 255, 256, 400, 599} {
		v.exec("DELETE FROM entries WHERE idx = ?", i)
		v.broken(fmt.Sprintf("entry %d deleted", i), i, i)
		restore(back...)
	}
	v.exec("UPDATE entries SET idx = -1 WHERE idx = 10; UPDATE entries SET idx = 10 WHERE idx = 300; UPDATE entries SET idx = 300 WHERE idx = -1")
	v.broken("entries 10 and 300 swapped", 10, 10)
	restore(back...)
	v.exec("UPDATE entries SET body = (SELECT body FROM entries WHERE idx = 6), hash = (SELECT hash FROM entries WHERE idx = 6) WHERE idx = 7")
	v.broken("entry 6 doubled over 7", 7, 7)
	restore(back...)
	v.exec("DELETE FROM entries WHERE idx >= 590")
	v.broken("the end cut off", 590, 590)
	restore(back...)
	v.exec("INSERT INTO entries SELECT 600, hash, body FROM entries WHERE idx = 5")
	v.broken("an entry that no checkpoint covers", 600, 600)
	restore("DELETE FROM entries WHERE idx = 600")
	v.exec(`UPDATE checkpoints SET note = CAST(replace(CAST(note AS TEXT), char(10) || '256' || char(10), char(10) || '956' || char(10)) AS BLOB) WHERE size = 256`)
	v.broken("a checkpoint that claims a size to come", 0, 256)
	restore(`UPDATE checkpoints SET note = CAST(replace(CAST(note AS TEXT), char(10) || '956' || char(10), char(10) || '256' || char(10)) AS BLOB) WHERE size = 256`)
	v.exec("UPDATE entries SET body = (SELECT body FROM entries WHERE idx = 6), hash = (SELECT hash FROM entries WHERE idx = 6) WHERE idx = 595")
	v.broken("an entry of the last tile written anew, hash and all", 512, 595)
	restore(back...)
	for _, statement := range []string{"DELETE FROM tiles", "UPDATE checkpoints SET size = size + 1 WHERE size = 600", "DELETE FROM checkpoints WHERE size = 600"} {
		v.exec("BEGIN; " + statement)
		v.exec("COMMIT")
		if err := v.verify(); err == nil {
			t.Errorf("%s: not found", statement)
		}
		if statement == "DELETE FROM tiles" {
			v.broken(statement, 0, 255)
			break // cannot be put back
		}
	}
}

// What queries look at must not differ from what was signed.
func TestIndexOfQueries(t *testing.T) {
	for name, statement := range map[string]string{
		"renamed": "INSERT INTO texts (text) VALUES ('hidden'); UPDATE rows SET node = (SELECT id FROM texts WHERE text = 'hidden') WHERE idx = 40",
		"text":    "UPDATE texts SET text = 'hidden' WHERE id = (SELECT node FROM rows WHERE idx = 40)",
		"deleted": "DELETE FROM rows WHERE idx = 40",
		"time":    "UPDATE rows SET time = time + 1 WHERE idx = 40",
	} {
		v := newVault(t, 50)
		raw, err := sql.Open("sqlite", filepath.Join(v.dir, "index.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
		if err := raw.Close(); err != nil {
			t.Fatal(err)
		}
		v.broken(name, 40, 40)
	}
}

// The index is disposable: without it, or with another ledger's, queries and
// verification go on.
func TestIndexIsDisposable(t *testing.T) {
	ctx := context.Background()
	v, other := newVault(t, 300), newVault(t, 400)
	for name, change := range map[string]func(path string) error{
		"deleted": os.Remove,
		"foreign": func(path string) error {
			data, err := os.ReadFile(filepath.Join(other.dir, "index.db"))
			if err != nil {
				return err
			}
			return os.WriteFile(path, data, 0o600)
		},
		"broken": func(path string) error { return os.WriteFile(path, make([]byte, 8192), 0o600) },
	} {
		if err := v.store.Close(); err != nil {
			t.Fatal(err)
		}
		if err := change(filepath.Join(v.dir, "index.db")); err != nil {
			t.Fatal(err)
		}
		store, err := ledgerdb.OpenSQLite(ctx, v.dir, ledgerdb.SQLiteOptions{})
		if err != nil {
			t.Fatal(name, err)
		}
		found := 0
		for _, err := range store.Find(ctx, ledger.Filter{Node: "edge-7"}) {
			if err != nil {
				t.Fatal(name, err)
			}
			found++
		}
		if found != 3 {
			t.Errorf("%s: found %d entries, want 3", name, found)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if v.store, err = ledgerdb.OpenSQLite(ctx, v.dir, ledgerdb.SQLiteOptions{ReadOnly: true}); err != nil {
			t.Fatal(err)
		}
		v.sound()
	}
}
