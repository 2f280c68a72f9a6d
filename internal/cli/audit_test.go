package cli

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// dataDir is a data directory as a server leaves it behind.
type dataDir struct {
	dir    string
	signer ledger.Signer
}

// newData makes a data directory with a ledger of denials in a new working
// directory.
func newData(t *testing.T, denials int) dataDir {
	t.Helper()
	t.Chdir(t.TempDir())
	signer, private, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	d := dataDir{"data", signer}
	for name, text := range map[string]string{
		filepath.Join(d.dir, privateKeyFile): private, filepath.Join(d.dir, publicKeyFile): signer.VerifierKey(), "log.pub": signer.VerifierKey(),
	} {
		write(t, name, text+"\n")
	}
	d.append(t, denials)
	return d
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d dataDir) append(t *testing.T, denials int) {
	t.Helper()
	d.open(t, func(log *ledger.Log) {
		var all []ledger.Entry
		for n := range denials {
			all = append(all, ledgertest.Denial(n))
		}
		if _, err := log.AppendAll(t.Context(), all, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	})
}

func (d dataDir) open(t *testing.T, use func(*ledger.Log)) {
	t.Helper()
	d.openWith(t, ledger.Options{}, use)
}

func (d dataDir) openWith(t *testing.T, o ledger.Options, use func(*ledger.Log)) {
	t.Helper()
	o.Origin, o.Signers = ledgertest.Origin, []ledger.Signer{d.signer}
	store, err := ledgerdb.OpenSQLite(t.Context(), filepath.Join(d.dir, ledgerDir), ledgerdb.SQLiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(t.Context(), store, o)
	if err != nil {
		t.Fatal(err)
	}
	use(log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// ok runs a command that must succeed and returns its output.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := admin(t, args...)
	if r.code != ExitOK {
		t.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func lines(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }

func TestAuditList(t *testing.T) {
	newData(t, 300)
	for _, tc := range []struct {
		args        string
		first, last int // indices
		count       int
	}{
		{"", 0, 299, 300},
		{"--node edge-7", 7, 207, 3},
		{"--node edge-7 --newest", 207, 7, 3},
		{"--metric node_gps_fix_3 --limit 2", 3, 53, 2},
		{"--clause privacy.location --kind denial --severity critical,high --outcome forbidden --newest --limit 5", 299, 295, 5},
		{"--text EDGE-42", 42, 242, 3},
		{"--since 1h", 0, 299, 300},
		{"--since 2020-01-01 --until 2999-01-01T00:00:00Z", 0, 299, 300},
	} {
		t.Run(tc.args, func(t *testing.T) {
			args := append([]string{"audit", "list", "--data", "data", "--format", "ndjson"}, strings.Fields(tc.args)...)
			rows := lines(ok(t, args...))
			if len(rows) != tc.count {
				t.Fatalf("%d rows", len(rows))
			}
			for i, want := range map[int]int{0: tc.first, len(rows) - 1: tc.last} {
				var row struct {
					Index int
					Kind  string
				}
				if err := json.Unmarshal([]byte(rows[i]), &row); err != nil {
					t.Fatal(err)
				}
				if row.Index != want || row.Kind != "denial" {
					t.Errorf("row %d is %s, want index %d", i, rows[i], want)
				}
			}
		})
	}
	for _, args := range []string{"--until 2020-01-01", "--kind window", "--severity low", "--text nothing-like-it", "--node nobody"} {
		if out := ok(t, append([]string{"audit", "--data", "data", "--format", "json"}, strings.Fields(args)...)...); out != "[]\n" {
			t.Errorf("%s: %s", args, out)
		}
	}
}

// The commands of the owner, as they were written.
func TestOwnersCommands(t *testing.T) {
	newData(t, 150)
	if err := os.Rename("data", defaultData); err != nil {
		t.Fatal(err)
	}
	if rows := lines(ok(t, "audit", "--node", "edge-5", "--data", defaultData)); len(rows) != 3 || !strings.Contains(rows[2], " edge-5 ") {
		t.Errorf("%q", rows)
	}
	var all []map[string]any
	if err := json.Unmarshal([]byte(ok(t, "export", "--format", "json", "--data", defaultData)), &all); err != nil || len(all) != 150 {
		t.Errorf("%d entries: %v", len(all), err)
	}
	records, err := csv.NewReader(strings.NewReader(ok(t, "export", "--format", "csv", "--data", defaultData))).ReadAll()
	if err != nil || len(records) != 151 {
		t.Errorf("%d records: %v", len(records), err)
	}
}

// A ledger is read with its server running and without, and never changed.
func TestAuditLeavesTheLedgerAlone(t *testing.T) {
	d := newData(t, 300)
	read := func() {
		ok(t, "audit", "--data", "data")
		ok(t, "audit", "verify", "--data", "data")
		ok(t, "audit", "show", "7", "--data", "data")
		ok(t, "export", "--data", "data", "-o", "x.ndjson")
	}
	before := snapshot(t, d.dir)
	read()
	if after := snapshot(t, d.dir); after != before {
		t.Errorf("reading changed the directory from\n%s to\n%s", before, after)
	}
	d.open(t, func(log *ledger.Log) {
		ledgertest.Append(t, log, 10)
		read()
		if p := ledgertest.Append(t, log, 10); p.Size != 320 {
			t.Errorf("size %d", p.Size)
		}
		read()
	})
	if out := ok(t, "audit", "list", "--data", "data", "--newest", "--limit", "1", "--format", "ndjson"); !strings.HasPrefix(out, `{"index":319,`) {
		t.Error(out)
	}
}

// snapshot says what is in a directory: names and contents. SQLite makes files
// without content to share with a writer that may come.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.HasSuffix(path, "-shm") || strings.HasSuffix(path, "-wal") && len(data) == 0 {
			return err
		}
		all.WriteString(path + " " + sha256Of(data) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// Followed entries come once each and in order, whether they were there or come.
func TestAuditFollow(t *testing.T) {
	d := newData(t, 150)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan result, 1)
	d.open(t, func(log *ledger.Log) {
		go func() {
			done <- adminWith(ctx, "", "audit", "list", "--data", "data", "--follow", "--node", "edge-3", "--format", "ndjson", "--limit", "6")
		}()
		ledgertest.Append(t, log, 150)
		ledgertest.Append(t, log, 150)
		r := <-done
		if rows := lines(r.stdout); r.code != ExitOK || len(rows) != 6 || !strings.HasPrefix(rows[0], `{"index":3,`) || !strings.HasPrefix(rows[5], `{"index":403,`) {
			t.Errorf("%+v", r)
		}
	})
}

func TestAuditShow(t *testing.T) {
	d := newData(t, 300)
	text := ok(t, "audit", "show", "42", "--data", "data")
	for _, want := range []string{"entry 42 of 300: denial", "privacy.location", "found with the ledger", "included"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	var shown struct {
		CID   string
		Entry struct{ Metric string }
		Proof struct{ Included, Signed, Pinned bool }
	}
	if err := json.Unmarshal([]byte(ok(t, "audit", "show", "42", "--data", "data", "--key", "log.pub", "--format", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	if !shown.Proof.Included || !shown.Proof.Signed || !shown.Proof.Pinned || shown.Entry.Metric != "node_gps_fix_42" {
		t.Errorf("%+v", shown)
	}
	if again := ok(t, "audit", "show", shown.CID, "--data", "data"); again != text {
		t.Errorf("by its address:\n%s", again)
	}
	d.open(t, func(log *ledger.Log) {
		for _, e := range kinds() {
			if _, err := log.Append(t.Context(), e, ledger.Durable); err != nil {
				t.Fatal(err)
			}
		}
	})
	list := ok(t, "audit", "list", "--data", "data", "--newest", "--limit", "6")
	for index, want := range map[string]string{
		"300": "7 allowed, 2 different questions", "301": "an unknown number of decisions is missing: crash", "302": "production 1.2.0 decides (watch)",
		"303": "policy refused (watch)", "304": "begin of net.node, by quorum", "305": "counting begins: w1",
	} {
		if text := ok(t, "audit", "show", index, "--data", "data"); !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in\n%s", index, want, text)
		}
		if !strings.Contains(list, want) {
			t.Errorf("%s: %q is not in\n%s", index, want, list)
		}
	}
}

// kinds are entries that are no denials.
func kinds() []ledger.Entry {
	return []ledger.Entry{
		{Kind: ledger.WindowClose, Data: []byte(`{"id":"w0","from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:01:00Z","counts":[
			{"metric":"up","role":"r","operation":"collect","clause":"c","outcome":"allowed","revision":"x","count":5},
			{"metric":"down","role":"r","operation":"collect","clause":"c","outcome":"allowed","revision":"x","count":2}]}`)},
		{Kind: ledger.Gap, Data: []byte(`{"reason":"crash","window":"w0"}`)},
		{Kind: ledger.Activation, Revision: "production-1.2.0+ab", Data: []byte(`{"trigger":"watch","at":"2026-01-01T00:00:00Z","charter":"production","version":"1.2.0","digest":"sha256:ab"}`)},
		{Kind: ledger.Load, Data: []byte(`{"result":"refused","part":"policy","trigger":"watch","at":"2026-01-01T00:00:00Z","code":"invalid_charter"}`)},
		{Kind: ledger.Override, Data: []byte(`{"id":"o-1","action":"begin","by":"quorum","clauses":["net.node"],"until":"2026-01-01T02:00:00Z"}`)},
		{Kind: ledger.WindowOpen, Data: []byte(`{"id":"w1","from":"2026-01-01T00:00:00Z"}`)},
	}
}

// A receipt proves its entry in another directory, with the public key alone.
func TestReceipt(t *testing.T) {
	newData(t, 300)
	receipt := ok(t, "audit", "prove", "42", "--data", "data")
	if again := ok(t, "audit", "receipt", "42", "--data", "data"); again != receipt {
		t.Error("prove and receipt differ")
	}
	ok(t, "audit", "prove", "42", "--data", "data", "-o", "entry.receipt")
	key, err := os.ReadFile("log.pub")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	write(t, "key", string(key))
	write(t, "r", receipt)
	if text := ok(t, "audit", "check-receipt", "r", "--key", "key"); !strings.HasPrefix(text, "valid: entry 42 of ledger.example/test: denial\n") {
		t.Error(text)
	}
	if text := ok(t, "audit", "check-receipt", "r", "--key", strings.TrimSpace(string(key)), "--format", "json"); !strings.Contains(text, `"valid": true`) {
		t.Error(text)
	}
	for i := range receipt {
		changed := []byte(receipt)
		changed[i] ^= 1
		if r := adminWith(t.Context(), string(changed), "audit", "check-receipt", "-", "--key", "key"); r.code != ExitVerify || r.stdout != "" {
			t.Fatalf("byte %d (%q) can be changed: %+v", i, receipt[i], r)
		}
	}
	_, other, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "private", other)
	if r := admin(t, "audit", "check-receipt", "r", "--key", "private"); r.code != ExitUsage || strings.Contains(r.stderr, strings.SplitN(other, "+", 5)[4]) {
		t.Errorf("a private key: %+v", r)
	}
	if r := admin(t, "audit", "check-receipt", "r", "--key", ledgertest.NewSigner(t).VerifierKey()); r.code != ExitVerify {
		t.Errorf("another key: %+v", r)
	}
}

func TestExportFiles(t *testing.T) {
	newData(t, 300)
	ok(t, "audit", "key", "audit.example.org", "-o", "auditor")
	for _, args := range [][]string{
		{"x.json"},
		{"x.ndjson", "--from", "10", "--to", "20"},
		{"x.csv", "--since", "2020-01-01", "--until", "2999-01-01"},
		{"x.parquet", "--sign", "auditor.key"},
		{"y.csv", "--node", "edge-7", "--sign", "auditor.key"},
		{"z.ndjson", "--until", "2020-01-01"},
	} {
		file := args[0]
		ok(t, append([]string{"export", "--data", "data", "-o"}, args...)...)
		check := []string{"audit", "check-export", file, "--key", "log.pub"}
		if len(args) > 2 && args[len(args)-2] == "--sign" {
			check = append(check, "--signer", "auditor.pub")
		} else if r := admin(t, append(check, "--signer", "auditor.pub")...); r.code != ExitVerify {
			t.Errorf("%s: not signed, yet: %+v", file, r)
		}
		ok(t, check...)
		ok(t, append(check, "--format", "json")...)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "forbidden") {
			write(t, file, strings.Replace(string(data), "forbidden", "forgotten", 1))
			if r := admin(t, check...); r.code != ExitVerify || !strings.Contains(r.stderr, "SHA-256") {
				t.Errorf("%s: changed, yet: %+v", file, r)
			}
		}
	}
}
