package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
)

// After pruning, the rest verifies, old receipts are still valid, and the export
// has what is gone.
func TestSealAndPrune(t *testing.T) {
	d := newData(t, 600)
	ok(t, "audit", "prove", "42", "--data", "data", "-o", "r")
	seal := strings.Fields("audit seal --unsafe-ignore-retention --data data --before 500 --export old.ndjson")
	if text := ok(t, seal...); !strings.Contains(text, "sealed entries 0 to 499") || !strings.Contains(text, "entry 600") {
		t.Error(text)
	}
	ok(t, "audit", "verify", "--data", "data", "--key", "log.pub")
	ok(t, "audit", "check-export", "old.ndjson", "--key", "log.pub")
	prune := strings.Fields("audit prune --unsafe-ignore-retention --data data --export old.ndjson")
	ok(t, prune...)
	if text := ok(t, prune...); !strings.Contains(text, "pruned already") {
		t.Error(text)
	}
	if text := ok(t, "audit", "verify", "--data", "data", "--key", "log.pub"); !strings.Contains(text, "the bodies of 500 were exported and pruned") {
		t.Error(text)
	}
	ok(t, "audit", "check-receipt", "r", "--key", "log.pub")
	ok(t, "audit", "check-export", "old.ndjson", "--key", "log.pub")
	if text := ok(t, "audit", "show", "42", "--data", "data"); !strings.Contains(text, "exported and pruned") || !strings.Contains(text, "included") {
		t.Error(text)
	}
	if text := ok(t, "audit", "show", "600", "--data", "data"); !strings.Contains(text, "entries 0 to 499 were exported") {
		t.Error(text)
	}
	if r := admin(t, "audit", "prove", "42", "--data", "data"); r.code != ExitUsage || !strings.Contains(r.stderr, "pruned") {
		t.Errorf("%+v", r)
	}
	if r := admin(t, "export", "--data", "data", "--from", "0"); r.code != ExitUsage || !strings.Contains(r.stderr, "--from 500") {
		t.Errorf("%+v", r)
	}
	if rows := lines(ok(t, "export", "--data", "data", "--format", "ndjson")); len(rows) != 101 {
		t.Errorf("%d rows", len(rows))
	}
	if rows := lines(ok(t, "audit", "list", "--data", "data", "--format", "ndjson", "--node", "edge-7")); len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
	// The log goes on, and the next seal begins where this one ended.
	d.append(t, 10)
	ok(t, strings.Fields("audit seal --unsafe-ignore-retention --data data --before 550 --export next.parquet")...)
	ok(t, strings.Fields("audit prune --unsafe-ignore-retention --data data --export next.parquet")...)
	if text := ok(t, "audit", "verify", "--data", "data"); !strings.Contains(text, "the bodies of 550") {
		t.Error(text)
	}
}

// Nothing is pruned that was not sealed, exported and verified.
func TestPruneRefuses(t *testing.T) {
	d := newData(t, 300)
	ok(t, "export", "--data", "data", "--to", "100", "-o", "plain.ndjson")
	ok(t, strings.Fields("audit seal --unsafe-ignore-retention --data data --before 100 --export one.ndjson")...)
	ok(t, strings.Fields("audit seal --unsafe-ignore-retention --data data --before 200 --export two.ndjson")...) // from 0 again: nothing was pruned
	whole := ledgerSize(t)
	text, err := os.ReadFile("one.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "one.ndjson", strings.Replace(string(text), "critical", "harmless", 1))
	write(t, "data/keys/other.key", "PRIVATE+KEY+nonsense")
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"prune --unsafe-ignore-retention --data data --export plain.ndjson": {ExitVerify, "not an export that was sealed"},
		"prune --unsafe-ignore-retention --data data --export one.ndjson":   {ExitVerify, "SHA-256"},
		"prune --unsafe-ignore-retention --data data --export none.ndjson":  {ExitUsage, "none.ndjson.manifest"},
		"prune --data data":                                                                                       {ExitUsage, "--export"},
		"prune --data nowhere --export one.ndjson":                                                                {ExitUsage, "no ledger"},
		"prune --data data --log-key data/keys/other.key --export one.ndjson":                                     {ExitUsage, "--log-key"},
		"seal --unsafe-ignore-retention --data data --before 100 --export one.ndjson":                             {ExitUsage, "exists"},
		"seal --unsafe-ignore-retention --data data --before 100 --export x.txt":                                  {ExitUsage, "does not say the format"},
		"seal --unsafe-ignore-retention --data data --before tomorrow --export x.ndjson":                          {ExitUsage, "neither a time"},
		"seal --unsafe-ignore-retention --data data --before 2020-01-01 --export x.ndjson":                        {ExitUsage, "no entries before it"},
		"seal --unsafe-ignore-retention --data data --before 100":                                                 {ExitUsage, "--export FILE"},
		"seal --unsafe-ignore-retention --data data --before 100 --export x.ndjson --log-key data/ledger.pub":     {ExitUsage, "--log-key"},
		"seal --unsafe-ignore-retention --data data --before 100 --export x.ndjson --sign data/ledger.pub":        {ExitUsage, "--sign"},
		"seal --unsafe-ignore-retention --data data --before 100 --export none/such/x.ndjson --sign nowhere":      {ExitUsage, "--sign"},
		"seal --unsafe-ignore-retention --data data --before 100 --export none/such/x.ndjson":                     {ExitUsage, "none/such"},
		"seal --unsafe-ignore-retention --data data --before 100 --export x.ndjson --log-key data/keys/ledger.ke": {ExitUsage, "--log-key"},
	} {
		r := admin(t, append([]string{"audit"}, strings.Fields(args)...)...)
		if r.code != want.code || !strings.Contains(r.stderr, want.says) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if now := ledgerSize(t); now != whole {
		t.Errorf("something was pruned: %s, before %s", now, whole)
	}
	// With the writer running, neither command touches the ledger.
	d.open(t, func(*ledger.Log) {
		r := admin(t, strings.Fields("audit prune --unsafe-ignore-retention --data data --export two.ndjson")...)
		if r.code != ExitUsage || !strings.Contains(r.stderr, "stop charter-server") {
			t.Errorf("%+v", r)
		}
	})
	ok(t, strings.Fields("audit prune --unsafe-ignore-retention --data data --export two.ndjson")...)
}

// ledgerSize tells how many bodies there are.
func ledgerSize(t *testing.T) string {
	t.Helper()
	return ok(t, "export", "--data", "data", "--format", "ndjson")[:12]
}
