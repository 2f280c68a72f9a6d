//go:build linux

package ledgerdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

func unsafeServer(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	url := server.URL("unsafe")
	s := openPostgres(t, url, ledgerdb.PostgresOptions{})
	refused := func(url, setting string) {
		t.Helper()
		s, err := ledgerdb.OpenPostgres(ctx, url, ledgerdb.PostgresOptions{})
		if err == nil {
			shut(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), setting+" is off") {
			t.Errorf("%s: %v", setting, err)
		}
	}
	refused(server.URL("other")+"&options=-c%20synchronous_commit%3Doff", "synchronous_commit")
	for _, setting := range []string{"fsync", "full_page_writes"} {
		server.Exec(t, "ALTER SYSTEM SET "+setting+" = off")
		server.Exec(t, "SELECT pg_reload_conf()")
		// The reload reaches sessions a moment later.
		for range 200 {
			if err := s.Probe(ctx); err != nil && strings.Contains(err.Error(), setting) {
				break
			}
		}
		if err := s.Probe(ctx); err == nil || !strings.Contains(err.Error(), setting+" is off") {
			t.Errorf("probe: %v", err)
		}
		refused(server.URL("other"), setting)
		server.Exec(t, "ALTER SYSTEM RESET "+setting)
		server.Exec(t, "SELECT pg_reload_conf()")
		for range 200 {
			if s.Probe(ctx) == nil {
				break
			}
		}
	}
	shut(t, s)
	server.Exec(t, "ALTER TABLE unsafe.entries SET UNLOGGED")
	if _, err := ledgerdb.OpenPostgres(ctx, url, ledgerdb.PostgresOptions{}); !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "entries") {
		t.Errorf("unlogged: %v", err)
	}
}

func refusesToOpen(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	open := func(url string, o ledgerdb.PostgresOptions) error {
		s, err := ledgerdb.OpenPostgres(ctx, url, o)
		if err == nil {
			shut(t, s)
		}
		return err
	}
	for _, o := range []ledgerdb.PostgresOptions{{ReadOnly: true}, {MustExist: true}} {
		if err := open(server.URL("nothing"), o); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	shut(t, openPostgres(t, server.URL("newer"), ledgerdb.PostgresOptions{}))
	if err := open(server.URL("newer"), ledgerdb.PostgresOptions{MustExist: true}); err != nil {
		t.Error(err)
	}
	server.Exec(t, "UPDATE newer.charter_ledger SET version = 99")
	for _, o := range []ledgerdb.PostgresOptions{{ReadOnly: true}, {}} {
		if err := open(server.URL("newer"), o); err == nil || !strings.Contains(err.Error(), "99") {
			t.Errorf("a newer version: %v", err)
		}
	}
	for url, want := range map[string]string{
		server.URL("Upper"):                                  "schema",
		server.URL("pg_catalog"):                             "schema",
		server.URL("x") + "&search_path=y":                   "schema",
		"postgres://charter:secret@127.0.0.1:1/x":            "127.0.0.1:1",
		"postgres://charter:secret@127.0.0.1:99999/x":        "",
		"postgres://charter:secret@127.0.0.1/x?sslmode=%zz":  "",
		"postgres://charter:se%cret@127.0.0.1/x":             "",
		"postgres://charter:secret@host.invalid/x?sslmode=x": "sslmode",
	} {
		if err := open(url, ledgerdb.PostgresOptions{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "se%") {
			t.Errorf("%s: %v", url, err)
		}
	}
	// A role that may only read is enough for an auditor, and one that owns a
	// schema for a ledger.
	server.Exec(t, `CREATE ROLE auditor LOGIN; CREATE ROLE writer LOGIN; CREATE SCHEMA owned AUTHORIZATION writer`)
	writer := strings.Replace(server.URL("owned"), "charter@", "writer@", 1)
	s := openPostgres(t, writer, ledgerdb.PostgresOptions{})
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 300)
	if err := l.Health(ctx); err != nil {
		t.Error(err)
	}
	shut(t, l, s)
	server.Exec(t, `GRANT USAGE ON SCHEMA owned TO auditor; GRANT SELECT ON ALL TABLES IN SCHEMA owned TO auditor`)
	auditor := strings.Replace(server.URL("owned"), "charter@", "auditor@", 1)
	s = openPostgres(t, auditor, ledgerdb.PostgresOptions{ReadOnly: true})
	if _, err := verify(t, s, ledgertest.Keys(t, signer)); err != nil {
		t.Error(err)
	}
	shut(t, s)
	if err := open(auditor, ledgerdb.PostgresOptions{}); err == nil {
		if s := openPostgres(t, auditor, ledgerdb.PostgresOptions{}); s.Probe(ctx) == nil {
			t.Error("a role that may only read writes")
		}
	}
	if err := open(strings.Replace(server.URL("mine"), "charter@", "auditor@", 1), ledgerdb.PostgresOptions{}); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA") {
		t.Errorf("no right to create a schema: %v", err)
	}
}

// What a database administrator may change, verification finds, with the first
// entry that is affected.
func tamperedWith(t *testing.T, server *postgrestest.Server) {
	signer := ledgertest.NewSigner(t)
	url := server.URL("tampered")
	s := openPostgres(t, url, ledgerdb.PostgresOptions{})
	l := ledgertest.NewLog(t, s, signer, nil)
	ledgertest.Append(t, l, 600)
	shut(t, l, s)
	for statement, want := range map[string]int{
		"UPDATE entries SET body = overlay(body placing '\\x58' from 40 for 1) WHERE idx = 17":                                                  17,
		"UPDATE entries SET body = (SELECT body FROM entries WHERE idx = 18) WHERE idx = 17":                                                    17,
		"UPDATE entries SET hash = overlay(hash placing '\\x5858' from 9 for 2) WHERE idx = 580":                                                580,
		"UPDATE entries SET hash = '' WHERE idx = 3":                                                                                            3,
		"UPDATE entries SET body = NULL WHERE idx = 555":                                                                                        555,
		"DELETE FROM entries WHERE idx = 300":                                                                                                   300,
		"DELETE FROM entries WHERE idx >= 590":                                                                                                  590,
		"DELETE FROM tiles WHERE id = 1":                                                                                                        256,
		"UPDATE tiles SET data = overlay(data placing '\\x58585858' from 65 for 4) WHERE id = 1":                                                258,
		"UPDATE entries SET idx = -1 WHERE idx = 40; UPDATE entries SET idx = 40 WHERE idx = 41":                                                40,
		"INSERT INTO entries SELECT 600, time, node, metric, clause, request, kind, outcome, severity, hash, body FROM entries WHERE idx = 599": 600,
		"UPDATE entries SET severity = 1 WHERE idx = 400":                                                                                       400,
		"UPDATE checkpoints SET note = overlay(note placing '2' from 23 for 1)":                                                                 -1,
		"UPDATE head SET note = NULL":                                                                                                           -1,
		"UPDATE head SET size = 0, note = NULL":                                                                                                 -1,
		"DELETE FROM head":                                                                                                                      -1,
		"UPDATE head SET size = 599":                                                                                                            -1,
		"DROP TABLE tiles":                                                                                                                      -1,
	} {
		t.Run(statement, func(t *testing.T) {
			script := "DROP SCHEMA IF EXISTS saved CASCADE; CREATE SCHEMA saved; "
			for _, table := range []string{"entries", "tiles", "head", "checkpoints", "charter_ledger"} {
				script += fmt.Sprintf("CREATE TABLE saved.%s (LIKE tampered.%[1]s INCLUDING ALL); INSERT INTO saved.%[1]s SELECT * FROM tampered.%[1]s; ", table)
			}
			server.Exec(t, script+"SET search_path = saved; "+statement)
			s := openPostgres(t, server.URL("saved"), ledgerdb.PostgresOptions{ReadOnly: true})
			defer shut(t, s)
			_, err := verify(t, s, ledgertest.Keys(t, signer))
			var fault *ledger.Fault
			if !errors.Is(err, ledger.ErrDamaged) || want >= 0 && (!errors.As(err, &fault) || fault.Index != uint64(want)) {
				t.Errorf("%v, want a fault at %d", err, want)
			}
		})
	}
}
