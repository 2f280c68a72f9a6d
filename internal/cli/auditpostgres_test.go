//go:build linux

package cli

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

// A ledger in PostgreSQL is read, verified, sealed and pruned like one in files.
func TestAuditPostgres(t *testing.T) {
	url := postgrestest.Start(t).URL("audit")
	t.Chdir(t.TempDir())
	signer, private, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "log.key", private)
	write(t, "log.pub", signer.VerifierKey())
	store, err := ledgerdb.Open(t.Context(), url, ledgerdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, log, 300)
	at := func(args string) []string { return append(strings.Fields(args), "--data", url) }
	if rows := lines(ok(t, at("audit list --node edge-7 --format ndjson")...)); len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
	if r := admin(t, at("audit seal --unsafe-ignore-retention --before 100 --export x.ndjson --log-key log.key")...); r.code != ExitUsage || !strings.Contains(r.stderr, "stop charter-server") {
		t.Errorf("with a writer: %+v", r)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	ok(t, at("audit prove 5 -o r")...)
	ok(t, at("audit seal --unsafe-ignore-retention --before 100 --export x.ndjson --log-key log.key")...)
	ok(t, at("audit prune --unsafe-ignore-retention --export x.ndjson --log-key log.key")...)
	if text := ok(t, at("audit verify --key log.pub")...); !strings.Contains(text, "the bodies of 100 were exported and pruned") {
		t.Error(text)
	}
	ok(t, strings.Fields("audit check-receipt r --key log.pub")...)
	if r := admin(t, at("audit seal --unsafe-ignore-retention --before 150 --export y.ndjson")...); r.code != ExitUsage || !strings.Contains(r.stderr, "--log-key") {
		t.Errorf("without a key: %+v", r)
	}
}
