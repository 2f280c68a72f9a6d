package cli

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/witness"
)

func TestAuditVerify(t *testing.T) {
	newData(t, 600)
	const args = "audit verify --data data "
	for _, tc := range []struct{ args, want string }{
		{"", "level        self-consistent"},
		{"--key log.pub", "level        anchored"},
	} {
		if text := ok(t, strings.Fields(args+tc.args)...); !strings.Contains(text, tc.want) || !strings.Contains(text, "verified     600 entries") {
			t.Errorf("%s\n%s", tc.args, text)
		}
	}
	var v verification
	if err := json.Unmarshal([]byte(ok(t, strings.Fields(args+"--format json")...)), &v); err != nil || !v.OK || v.Verified != 600 || v.Root == "" {
		t.Fatalf("%+v: %v", v, err)
	}
	write(t, "pinned", v.Checkpoint)
	if text := ok(t, strings.Fields(args+"--checkpoint pinned")...); !strings.Contains(text, "level        anchored") {
		t.Error(text)
	}
}

// A verification goes on where an earlier one ended, and notices when what that
// one had verified is no more.
func TestAuditVerifyResumes(t *testing.T) {
	d := newData(t, 300)
	args := strings.Fields("audit verify --data data --resume state")
	ok(t, args...)
	if text := ok(t, args...); !strings.Contains(text, "300 entries, those from 300 on now") {
		t.Error(text)
	}
	d.append(t, 20)
	if text := ok(t, args...); !strings.Contains(text, "320 entries, those from 300 on now") {
		t.Error(text)
	}
	state, err := os.ReadFile("state")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "state", "{}")
	if r := admin(t, args...); r.code != ExitUsage {
		t.Errorf("%+v", r)
	}
	newData(t, 330)
	write(t, "state", string(state))
	if r := admin(t, args...); r.code != ExitVerify || !strings.Contains(r.stderr, "verified before") {
		t.Errorf("another ledger: %+v", r)
	}
}

// Whatever is done to a ledger, verify names the first entry that it concerns, and
// exits with 6.
func TestAuditVerifyFindsDamage(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sql   string // on ledger.db
		index string // of queries
		first uint64
	}{
		{name: "body altered", sql: "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'critical', 'harmless') AS BLOB) WHERE idx = 17", first: 17},
		{name: "body gone", sql: "UPDATE entries SET body = NULL WHERE idx = 17", first: 17},
		{name: "hash altered", sql: "UPDATE entries SET hash = zeroblob(32) WHERE idx = 300", first: 300},
		{name: "entry deleted", sql: "DELETE FROM entries WHERE idx = 17", first: 17},
		{name: "entries swapped", sql: "UPDATE entries SET idx = -1 WHERE idx = 17; UPDATE entries SET idx = 17 WHERE idx = 18; UPDATE entries SET idx = 18 WHERE idx = -1", first: 17},
		{name: "last entry cut off", sql: "DELETE FROM entries WHERE idx = 599", first: 599},
		{name: "tile altered", sql: "UPDATE tiles SET data = zeroblob(8192) WHERE id = 0", first: 0},
		{name: "checkpoint altered", sql: "UPDATE checkpoints SET note = CAST(replace(CAST(note AS TEXT), 'ledger.example/test', 'ledger.example/tesu') AS BLOB)"},
		{name: "not in the index", index: "DELETE FROM rows WHERE idx = 17", first: 17},
		{name: "misfiled in the index", index: "UPDATE rows SET node = 1 WHERE idx = 17", first: 17},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newData(t, 600)
			damage(t, "data/ledger/ledger.db", tc.sql)
			damage(t, "data/ledger/index.db", tc.index)
			r := admin(t, "audit", "verify", "--data", "data", "--key", "log.pub", "--format", "json")
			var v verification
			if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
			if r.code != ExitVerify || v.OK || v.Level != "" || v.Error == "" || r.stderr == "" {
				t.Errorf("%+v", r)
			}
			if tc.first > 0 && (v.FirstBad == nil || *v.FirstBad != tc.first) {
				t.Errorf("first bad %v, want %d: %s", v.FirstBad, tc.first, v.Error)
			}
		})
	}
}

func damage(t *testing.T, file, statements string) {
	t.Helper()
	if statements == "" {
		return
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for statement := range strings.SplitSeq(statements, ";") {
		result, err := db.Exec(statement)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s changed nothing: %v", statement, err)
		}
	}
}

// What cannot be read does not verify.
func TestAuditVerifyUnreadable(t *testing.T) {
	newData(t, 300)
	old := ok(t, "audit", "verify", "--data", "data", "--format", "json")
	var v verification
	if err := json.Unmarshal([]byte(old), &v); err != nil {
		t.Fatal(err)
	}
	write(t, "pinned", v.Checkpoint)
	write(t, "foreign.pub", ledgertest.NewSigner(t).VerifierKey()+"\n")
	for name, tc := range map[string]struct {
		do   func()
		args string
		code int
	}{
		"no directory":   {func() {}, "--data nowhere", ExitVerify},
		"another key":    {func() {}, "--data data --key foreign.pub", ExitVerify},
		"no key":         {func() { _ = os.Remove("data/ledger.pub") }, "--data data", ExitUsage},
		"no such key":    {func() {}, "--data data --key nowhere", ExitUsage},
		"no server":      {func() {}, "--server http://127.0.0.1:1 --key log.pub", ExitVerify},
		"no server URL":  {func() {}, "--server localhost:8000 --key log.pub", ExitUsage},
		"two ledgers":    {func() {}, "--server http://127.0.0.1:1 --data data", ExitUsage},
		"no pin":         {func() {}, "--data data --key log.pub --checkpoint nowhere", ExitUsage},
		"garbage":        {func() { write(t, "garbage/ledger.db", "not a database") }, "--data garbage --key log.pub", ExitVerify},
		"missing quorum": {func() {}, "--data data --key log.pub --witness nowhere", ExitUsage},
	} {
		tc.do()
		if r := admin(t, append([]string{"audit", "verify"}, strings.Fields(tc.args)...)...); r.code != tc.code || r.stderr == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// An old copy of a ledger agrees with itself and not with a checkpoint that was
	// kept elsewhere.
	d := newData(t, 200)
	copied := "copy"
	if err := os.CopyFS(copied, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	d.append(t, 100)
	if err := json.Unmarshal([]byte(ok(t, "audit", "verify", "--data", "data", "--format", "json")), &v); err != nil {
		t.Fatal(err)
	}
	write(t, "pinned", v.Checkpoint)
	ok(t, "audit", "verify", "--data", copied)
	if r := admin(t, "audit", "verify", "--data", copied, "--checkpoint", "pinned"); r.code != ExitVerify || !strings.Contains(r.stderr, "old copy") {
		t.Errorf("an old copy: %+v", r)
	}
}

// With the keys of witnesses, the level is theirs, and so is what is missing.
func TestWitnessedLedger(t *testing.T) {
	d := newData(t, 0)
	private, public, err := witness.GenerateKey("witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "policy", "witness w1 "+public+" http://127.0.0.1:1\nquorum w1\n")
	d.cosigned(t, w, func(log *ledger.Log) {
		for n := range 5 {
			if _, err := log.Append(t.Context(), ledgertest.Denial(n), ledger.Witnessed); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, key := range []string{public, "policy"} {
		if text := ok(t, "audit", "verify", "--data", "data", "--key", "log.pub", "--witness", key); !strings.Contains(text, "level        witnessed") {
			t.Errorf("%s: %s", key, text)
		}
		ok(t, "audit", "prove", "2", "--data", "data", "-o", "r")
		if text := ok(t, "audit", "check-receipt", "r", "--key", "log.pub", "--witness", key); !strings.Contains(text, "witnesses        witness.example/w1") {
			t.Errorf("%s: %s", key, text)
		}
	}
	if r := admin(t, "audit", "check-receipt", "r", "--key", "log.pub"); r.code != ExitVerify || !strings.Contains(r.stderr, "--witness") {
		t.Errorf("%+v", r)
	}
	ok(t, "audit", "check-receipt", "r", "--key", "log.pub", "--ignore-unknown-signatures")
	_, stranger, err := witness.GenerateKey("witness.example/w2")
	if err != nil {
		t.Fatal(err)
	}
	if r := admin(t, "audit", "check-receipt", "r", "--key", "log.pub", "--witness", public, "--witness", stranger); r.code != ExitVerify || !strings.Contains(r.stderr, "1 of 2") {
		t.Errorf("%+v", r)
	}
	ok(t, "audit", "check-receipt", "r", "--key", "log.pub", "--witness", public, "--witness", stranger, "--quorum", "1")
	if text := ok(t, "audit", "show", "2", "--data", "data", "--witness", public); !strings.Contains(text, "witnesses        witness.example/w1") {
		t.Error(text)
	}
}

// cosigned opens the ledger with a witness that signs whatever it is shown.
func (d dataDir) cosigned(t *testing.T, w note.Signer, use func(*ledger.Log)) {
	t.Helper()
	v, err := ledger.VerifierOf(d.signer)
	if err != nil {
		t.Fatal(err)
	}
	d.openWith(t, ledger.Options{Cosign: cosigner{w, v}}, use)
}

type cosigner struct {
	witness note.Signer
	log     note.Verifier
}

func (c cosigner) Cosign(_ context.Context, _ uint64, _ func(uint64) (tlog.TreeProof, error), checkpoint []byte) ([]byte, error) {
	n, err := note.Open(checkpoint, note.VerifierList(c.log))
	if err != nil {
		return nil, err
	}
	return note.Sign(n, c.witness)
}
