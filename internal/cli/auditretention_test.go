package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// ageing is a ledger with entries that are years, months and days old, written
// under a charter.
func ageing(t *testing.T, a audit.Activation) {
	t.Helper()
	d := newData(t, 0)
	now := time.Now()
	for i, age := range []time.Duration{4 * 365 * 24 * time.Hour, 2 * 365 * 24 * time.Hour, 90 * 24 * time.Hour, 24 * time.Hour} {
		at := now.Add(-age)
		d.openWith(t, ledger.Options{Now: func() time.Time { return at }}, func(log *ledger.Log) {
			if i == 0 {
				e, err := a.Entry("production-1.0.0")
				if err == nil {
					_, err = log.Append(t.Context(), e, ledger.Durable)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			ledgertest.Append(t, log, 10) // from 1, 11, 21 and 31 on
		})
	}
}

func sealed(t *testing.T, r result) (s sealing) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	return s
}

// What the charter in force wants kept is neither sealed nor pruned.
func TestRetention(t *testing.T) {
	ageing(t, audit.Activation{Trigger: "start", Charter: "production", Digest: "sha256:0", Retention: "3y"})
	run := func(code int, args string) result {
		t.Helper()
		r := admin(t, append([]string{"audit"}, strings.Fields(args)...)...)
		if r.code != code {
			t.Fatalf("%s: %+v", args, r)
		}
		return r
	}
	if s := sealed(t, run(ExitOK, "seal --data data --dry-run --format json")); !s.OK || s.From != 0 || s.To != 11 || s.Retention != "3y" || !s.DryRun || s.Entry != nil {
		t.Errorf("%+v", s)
	}
	if text := run(ExitOK, "seal --data data --dry-run --export x.ndjson").stdout; !strings.Contains(text, "would seal entries 0 to 10, of") || !strings.Contains(text, "kept for 3y; nothing was changed") {
		t.Error(text)
	}
	for _, before := range []string{"12", "60d"} {
		r := run(ExitFinding, "seal --data data --export x.ndjson --format json --before "+before)
		if s := sealed(t, r); s.OK || s.Code != codeRetentionNotOver || !strings.Contains(s.Message, "entries 0 to 10 are older (--before 11)") {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(r.stderr, "charter-admin: retention_not_over: entry ") {
			t.Error(r.stderr)
		}
	}
	if r := run(ExitFinding, "seal --data data --dry-run --before 30"); !strings.Contains(r.stderr, codeRetentionNotOver) {
		t.Errorf("%+v", r)
	}
	if exists("x.ndjson") {
		t.Error("an export was written")
	}
	run(ExitOK, "seal --data data --before 5 --export four.ndjson")
	s := sealed(t, run(ExitOK, "seal --data data --export old.ndjson --format json"))
	if !s.OK || s.To != 11 || s.Entry == nil || *s.Entry != 42 || s.Manifest == "" || s.Oldest == "" || s.Newest < s.Oldest {
		t.Errorf("%+v", s)
	}
	run(ExitOK, "seal --data data --before 25 --export young.ndjson --unsafe-ignore-retention")
	if text := run(ExitOK, "list --data data --kind sealed").stdout; strings.Count(text, "whatever the charter says") != 1 {
		t.Error(text)
	}
	if r := run(ExitFinding, "prune --data data --export young.ndjson"); !strings.Contains(r.stderr, "retention_not_over: entry 24 is of") {
		t.Errorf("%+v", r)
	}
	if text := run(ExitOK, "prune --data data --export old.ndjson --dry-run").stdout; !strings.Contains(text, "would prune entries 0 to 10") {
		t.Error(text)
	}
	if text := run(ExitOK, "verify --data data").stdout; strings.Contains(text, "pruned") {
		t.Error("a dry run has pruned:", text)
	}
	if s := sealed(t, run(ExitOK, "prune --data data --export old.ndjson --format json")); !s.OK || s.To != 11 {
		t.Errorf("%+v", s)
	}
	// The activation that said how long is gone with them: nobody says it now.
	run(ExitOK, "verify --data data --key log.pub")
	if r := run(ExitFinding, "seal --data data --export y.ndjson"); !strings.Contains(r.stderr, codeRetentionUnknown) {
		t.Errorf("%+v", r)
	}
	write(t, "charter.yaml", starterCharter(t, "1y"))
	if s := sealed(t, run(ExitOK, "seal --data data --export y.ndjson --charter charter.yaml --format json")); s.From != 11 || s.To != 21 {
		t.Errorf("%+v", s)
	}
	run(ExitOK, "prune --data data --export young.ndjson --unsafe-ignore-retention")
	write(t, "charter.yaml", starterCharter(t, "30y"))
	if text := run(ExitOK, "seal --data data --export z.ndjson --charter charter.yaml").stdout; !strings.Contains(text, "nothing to do: no entry that is not pruned is older than 30y") {
		t.Error(text)
	}
	if r := run(ExitUsage, "seal --data data --export z.ndjson --unsafe-ignore-retention"); !strings.Contains(r.stderr, "--before") {
		t.Errorf("%+v", r)
	}
}

// A canary does not say how long entries are kept, and neither does a charter that
// is not in force.
func TestRetentionOfAnotherCharter(t *testing.T) {
	ageing(t, audit.Activation{Trigger: "canary", Retention: "1d", Percent: new(int)})
	if r := admin(t, strings.Fields("audit seal --data data --dry-run")...); r.code != ExitFinding || !strings.Contains(r.stderr, codeRetentionUnknown) {
		t.Errorf("%+v", r)
	}
	ageing(t, audit.Activation{Trigger: "start", Digest: "sha256:0", Retention: "3y"})
	write(t, "charter.yaml", starterCharter(t, "1d"))
	if r := admin(t, strings.Fields("audit seal --data data --dry-run --charter charter.yaml")...); r.code != ExitFinding || !strings.Contains(r.stderr, codeCharterMismatch) {
		t.Errorf("%+v", r)
	}
}

// starterCharter is a valid charter that has entries kept for a period.
func starterCharter(t *testing.T, period string) string {
	t.Helper()
	text, err := starter.ReadFile("starter/charter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(text), "\n") + "\naudit: {retention: " + period + "}\n"
}
