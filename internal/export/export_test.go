package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// world is a log of denials and one entry with texts that are hard to write down.
type world struct {
	log  *ledger.Log
	keys ledger.Keys
	head []byte
}

const formula = `=HYPERLINK("http://evil.example","x")`

func newWorld(t *testing.T, count int) world {
	t.Helper()
	signer := ledgertest.NewSigner(t)
	log := ledgertest.NewLog(t, nil, signer, nil)
	e := ledgertest.Denial(0)
	e.Metric, e.Node, e.Principal = formula, "a,\"b\"\r\nc", "@SUM(1)"
	e.Reasons = []ledger.Reason{{Code: "forbidden_metric", Clause: "privacy.location"}, {Code: "unknown_metric"}}
	if _, err := log.Append(t.Context(), e, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, log, count-1)
	head, err := log.Reader().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return world{log, ledgertest.Keys(t, signer), head}
}

func (w world) write(t *testing.T, f export.Format, from, to uint64, selection map[string]string) (export.Manifest, []byte) {
	t.Helper()
	rows := w.log.Reader().Rows(t.Context(), from, to)
	if selection != nil {
		rows = w.log.Reader().Find(t.Context(), ledger.Filter{Node: selection["node"], From: from, Before: to})
	}
	var file bytes.Buffer
	m, err := export.Write(t.Context(), &file, w.log.Reader(), rows, export.Options{
		Format: f, File: "x." + string(f), From: from, To: to, Checkpoint: w.head, Created: time.Unix(0, 0), Selection: selection,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, file.Bytes()
}

func check(m export.Manifest, file []byte, keys ledger.Keys) (export.Result, error) {
	return export.Check(context.Background(), bytes.NewReader(file), int64(len(file)), m, keys, nil)
}

// What was exported comes back, byte for byte, from every format.
func TestRoundTrip(t *testing.T) {
	w := newWorld(t, 700)
	for _, f := range export.Formats() {
		t.Run(string(f), func(t *testing.T) {
			for _, r := range [][2]uint64{{0, 700}, {0, 0}, {0, 1}, {699, 700}, {255, 257}, {256, 512}, {3, 690}, {513, 514}} {
				m, file := w.write(t, f, r[0], r[1], nil)
				result, err := check(m, file, w.keys)
				if err != nil {
					t.Fatalf("%v: %v", r, err)
				}
				if result.Entries != r[1]-r[0] || result.Proven != r[1]-r[0] {
					t.Errorf("%v: %+v", r, result)
				}
				next := r[0]
				for record, err := range export.Read(f, bytes.NewReader(file), int64(len(file))) {
					if err != nil {
						t.Fatal(err)
					}
					row, err := w.log.Reader().Entry(t.Context(), next)
					if err != nil {
						t.Fatal(err)
					}
					if record.Index != next || !bytes.Equal(record.Body, row.Body) {
						t.Fatalf("entry %d is %+v", next, record)
					}
					next++
				}
				if next != r[1] {
					t.Errorf("%v: %d entries", r, next-r[0])
				}
			}
		})
	}
}

// Whoever changes, drops, adds or moves an entry is found out although they write
// the manifest anew, since the ledger has signed the root.
func TestForgedExports(t *testing.T) {
	w := newWorld(t, 600)
	forge := func(rows []ledger.Row) iter.Seq2[ledger.Row, error] {
		return func(yield func(ledger.Row, error) bool) {
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
	var honest []ledger.Row
	for row, err := range w.log.Reader().Rows(t.Context(), 100, 400) {
		if err != nil {
			t.Fatal(err)
		}
		honest = append(honest, row)
	}
	for name, change := range map[string]func([]ledger.Row) []ledger.Row{
		"altered": func(r []ledger.Row) []ledger.Row {
			r[150].Body = bytes.Replace(r[150].Body, []byte("critical"), []byte("none"), 1)
			return r
		},
		"swapped":  func(r []ledger.Row) []ledger.Row { r[7].Body, r[8].Body = r[8].Body, r[7].Body; return r },
		"repeated": func(r []ledger.Row) []ledger.Row { r[9].Body = r[8].Body; return r },
		"first":    func(r []ledger.Row) []ledger.Row { r[0].Body = r[1].Body; return r },
		"last":     func(r []ledger.Row) []ledger.Row { r[299].Body = r[1].Body; return r },
	} {
		t.Run(name, func(t *testing.T) {
			rows := change(append([]ledger.Row(nil), honest...))
			var file bytes.Buffer
			m, err := export.Write(t.Context(), &file, w.log.Reader(), forge(rows), export.Options{
				Format: export.NDJSON, File: "x", From: 100, To: 400, Checkpoint: w.head,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := check(m, file.Bytes(), w.keys); !errors.Is(err, export.ErrContent) {
				t.Errorf("got %v, want ErrContent", err)
			}
		})
	}
	// A row too few or out of place does not even become an export.
	for name, rows := range map[string][]ledger.Row{"dropped": append(append([]ledger.Row(nil), honest[:5]...), honest[6:]...), "short": honest[:299]} {
		_, err := export.Write(t.Context(), &bytes.Buffer{}, w.log.Reader(), forge(rows), export.Options{
			Format: export.NDJSON, File: "x", From: 100, To: 400, Checkpoint: w.head,
		})
		if !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
}

// Every byte of a file counts.
func TestAnyChangedByteOfAFile(t *testing.T) {
	w := newWorld(t, 5)
	for _, f := range export.Formats() {
		m, file := w.write(t, f, 0, 5, nil)
		for i := range file {
			changed := bytes.Clone(file)
			changed[i] ^= 1
			if _, err := check(m, changed, w.keys); err == nil {
				t.Fatalf("%s: byte %d (%q) can be changed", f, i, file[i])
			}
		}
		if _, err := check(m, file[:len(file)-1], w.keys); err == nil {
			t.Errorf("%s: the last byte can be cut off", f)
		}
	}
}

// Without the digest, the content is checked all the same: a changed column does
// not follow from the body, a changed body is not in the tree. Bytes from outside
// never make the readers panic.
func TestAnyChangedByteOfTheContent(t *testing.T) {
	w := newWorld(t, 4)
	for _, f := range []export.Format{export.JSON, export.NDJSON, export.CSV} {
		m, file := w.write(t, f, 0, 4, nil)
		for i := range file {
			changed := bytes.Clone(file)
			changed[i] ^= 2
			again := m
			again.SHA256 = digestOf(changed)
			_, err := check(again, changed, w.keys)
			if err == nil && !(f == export.CSV && strings.ContainsRune("\"\r\n", rune(file[i]))) {
				t.Fatalf("%s: byte %d can be changed: %q in %q", f, i, file[i], around(file, i))
			}
		}
	}
	m, file := w.write(t, export.Parquet, 0, 4, nil)
	for i := 0; i < len(file); i += 5 {
		changed := bytes.Clone(file)
		changed[i] ^= 0x55
		again := m
		again.SHA256 = digestOf(changed)
		_, _ = check(again, changed, w.keys) // statistics may change; it must not panic
	}
}

func around(file []byte, i int) []byte { return file[max(0, i-20):min(len(file), i+20)] }

// A manifest is what was signed, and of the ledger that the keys are of.
func TestManifest(t *testing.T) {
	w := newWorld(t, 300)
	m, file := w.write(t, export.NDJSON, 10, 290, nil)
	signer, other := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	verifier := func(s ledger.Signer) note.Verifier {
		v, err := ledger.VerifierOf(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	signed, err := m.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	got, text, err := export.ParseManifest(signed)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := m.Text()
	if err != nil || !bytes.Equal(text, plain) || !reflect.DeepEqual(got, m) {
		t.Fatalf("the signed manifest is not the manifest: %v", err)
	}
	if names, err := export.Signers(signed, verifier(signer)); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
	for name, tc := range map[string]struct {
		data []byte
		keys []note.Verifier
	}{
		"another key": {signed, []note.Verifier{verifier(other)}},
		"not signed":  {plain, []note.Verifier{verifier(signer)}},
		"edited":      {bytes.Replace(signed, []byte(`"x.ndjson"`), []byte(`"y.ndjson"`), 1), []note.Verifier{verifier(signer)}},
	} {
		if _, err := export.Signers(tc.data, tc.keys...); !errors.Is(err, ledger.ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if _, err := export.Signers(changed, verifier(signer)); err == nil {
			t.Fatalf("byte %d of the manifest can be changed: %q", i, around(signed, i))
		}
	}
	foreign := newWorld(t, 1)
	if _, err := check(m, file, foreign.keys); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("another ledger's key: got %v, want ErrSignature", err)
	}
	for name, change := range map[string]func(*export.Manifest){
		"later range":    func(m *export.Manifest) { m.From++; m.To++ },
		"shorter proof":  func(m *export.Manifest) { m.First.Proof = m.First.Proof[1:] },
		"longer proof":   func(m *export.Manifest) { m.Last.Proof = append(m.Last.Proof, m.Last.Proof[0]) },
		"other proof":    func(m *export.Manifest) { m.Last.Proof[0][0] ^= 1 },
		"beyond the end": func(m *export.Manifest) { m.To = 301; m.Entries = 291 },
		"fewer":          func(m *export.Manifest) { m.Entries--; m.To-- },
	} {
		forged, _, err := export.ParseManifest(plain)
		if err != nil {
			t.Fatal(err)
		}
		change(&forged)
		if _, err := check(forged, file, w.keys); !errors.Is(err, export.ErrContent) && !errors.Is(err, export.ErrManifest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Of a selection the outermost entries are proven, and no more is claimed.
func TestSelection(t *testing.T) {
	w := newWorld(t, 500)
	m, file := w.write(t, export.CSV, 0, 500, map[string]string{"node": "edge-3"})
	result, err := check(m, file, w.keys)
	if err != nil || result.Entries != 5 || result.Proven != 2 {
		t.Errorf("%+v %v", result, err)
	}
	m, file = w.write(t, export.CSV, 0, 500, map[string]string{"node": "nobody"})
	if result, err = check(m, file, w.keys); err != nil || result.Entries != 0 {
		t.Errorf("%+v %v", result, err)
	}
}

// A spreadsheet must not take what a caller chose for a formula.
func TestCSVHoldsNoFormulas(t *testing.T) {
	w := newWorld(t, 1)
	_, file := w.write(t, export.CSV, 0, 1, nil)
	text := string(file)
	for _, want := range []string{`"'=HYPERLINK(""http://evil.example"",""x"")"`, `,'@SUM(1),`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// Any reader of Parquet sees typed columns.
func TestParquetColumns(t *testing.T) {
	w := newWorld(t, 300)
	_, file := w.write(t, export.Parquet, 0, 300, nil)
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	type some struct {
		Index   int64     `parquet:"index"`
		Time    time.Time `parquet:"time,timestamp(nanosecond)"`
		Node    string    `parquet:"node"`
		Labels  []string  `parquet:"labels,list"`
		Reasons []string  `parquet:"reasons,list"`
	}
	rows, err := parquet.ReadFile[some](path)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 300 || rows[42].Index != 42 || rows[42].Node != "edge-41" || time.Since(rows[42].Time) > time.Hour {
		t.Errorf("%d rows, %+v", len(rows), rows[42])
	}
	if got := fmt.Sprint(rows[0].Labels, rows[0].Reasons); got != "[device instance] [forbidden_metric unknown_metric]" {
		t.Error(got)
	}
}
