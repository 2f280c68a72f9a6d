//go:build linux

package ledgerdb_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

// inPostgres returns ledgers of one server, each in a schema of its own.
func inPostgres(server *postgrestest.Server) func(t *testing.T) ledgertest.Backend {
	return func(t *testing.T) ledgertest.Backend {
		schema := schemaOf(t)
		url := server.URL(schema)
		change := func(statements string) func(testing.TB, uint64) {
			return func(t testing.TB, index uint64) {
				t.Helper()
				server.Exec(t, fmt.Sprintf("SET search_path = %s; %s", schema, strings.ReplaceAll(statements, "$1", fmt.Sprint(index))))
			}
		}
		return ledgertest.Backend{
			Open: func(t testing.TB, readOnly bool) ledger.Store {
				t.Helper()
				return openPostgres(t, url, ledgerdb.PostgresOptions{ReadOnly: readOnly})
			},
			Tamper: map[string]func(testing.TB, uint64){
				"node":     change("UPDATE entries SET node = node + 1 WHERE idx = $1"),
				"metric":   change("UPDATE entries SET metric = 0 WHERE idx = $1"),
				"clause":   change("UPDATE entries SET clause = 0 WHERE idx = $1"),
				"kind":     change("UPDATE entries SET kind = kind + 1 WHERE idx = $1"),
				"outcome":  change("UPDATE entries SET outcome = 0 WHERE idx = $1"),
				"severity": change("UPDATE entries SET severity = 0 WHERE idx = $1"),
				"time":     change("UPDATE entries SET time = time + 1 WHERE idx = $1"),
				"request":  change("UPDATE entries SET request = 0 WHERE idx = $1"),
				"row":      change("DELETE FROM entries WHERE idx = $1"),
				// What a superuser can do: the row is as it was, and not in an index.
				"index": change(`UPDATE pg_index SET indisready = false WHERE indexrelid = 'by_node'::regclass;
					CREATE TEMPORARY TABLE kept AS SELECT * FROM entries WHERE idx = $1;
					DELETE FROM entries WHERE idx = $1;
					INSERT INTO entries SELECT * FROM kept;
					UPDATE pg_index SET indisready = true WHERE indexrelid = 'by_node'::regclass`),
			},
		}
	}
}

func openPostgres(t testing.TB, url string, o ledgerdb.PostgresOptions) *ledgerdb.Postgres {
	t.Helper()
	s, err := ledgerdb.OpenPostgres(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPostgres runs what leaves the server alone, all over one.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	var group sync.WaitGroup // all at once: some mostly wait
	defer group.Wait()
	for name, test := range map[string]func(*testing.T, *postgrestest.Server){
		"second writer": secondWriter, "head moved": headIsMoved,
		"conforms": func(t *testing.T, server *postgrestest.Server) { ledgertest.Conformance(t, inPostgres(server)) },
		"log":      func(t *testing.T, server *postgrestest.Server) { ledgertest.LogSuite(t, inPostgres(server)) },
		"opening":  refusesToOpen, "tampering": tamperedWith, "set back": setBack,
	} {
		group.Go(func() { t.Run(name, func(t *testing.T) { test(t, server) }) })
	}
}

// TestPostgresFaults runs what ends sessions or the server, one after the other.
func TestPostgresFaults(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	for name, test := range map[string]func(*testing.T, *postgrestest.Server){
		"unsafe": unsafeServer, "connection cut": connectionCut, "sessions lost": sessionsLost, "killed mid-commit": killedMidCommit,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// schemaOf returns a name for the ledger of a test, another one each time.
func schemaOf(t testing.TB) string {
	sum := sha256.Sum256([]byte(t.Name()))
	return fmt.Sprintf("ledger_%x", sum[:8])
}
