package ledgerdb_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// inFiles is a ledger in a directory.
func inFiles(t *testing.T) ledgertest.Backend {
	dir := filepath.Join(t.TempDir(), "ledger")
	change := func(statement string) func(testing.TB, uint64) {
		return func(t testing.TB, index uint64) {
			t.Helper()
			db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, db)
			result, err := db.Exec(statement, index)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := result.RowsAffected(); n != 1 || err != nil {
				t.Fatalf("%s: %d rows, %v", statement, n, err)
			}
		}
	}
	return ledgertest.Backend{
		Open: func(t testing.TB, readOnly bool) ledger.Store {
			t.Helper()
			s, err := ledgerdb.Open(context.Background(), dir, ledgerdb.Options{ReadOnly: readOnly})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Tamper: map[string]func(testing.TB, uint64){
			"node":    change("UPDATE rows SET node = node + 1 WHERE idx = ?"),
			"metric":  change("UPDATE rows SET metric = 1 WHERE idx = ?"),
			"clause":  change("UPDATE rows SET clause = 1 WHERE idx = ?"),
			"kind":    change("UPDATE rows SET kind = kind + 1 WHERE idx = ?"),
			"time":    change("UPDATE rows SET time = time + 1 WHERE idx = ?"),
			"row":     change("DELETE FROM rows WHERE idx = ?"),
			"request": change("DELETE FROM requests WHERE idx = ?"),
		},
	}
}

func TestSQLiteConforms(t *testing.T) {
	t.Parallel()
	ledgertest.Conformance(t, inFiles)
}

func TestLogInSQLite(t *testing.T) {
	t.Parallel()
	ledgertest.LogSuite(t, inFiles)
}
