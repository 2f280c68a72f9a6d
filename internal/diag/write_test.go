package diag

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", name, got)
	}
}

const source = "kind: Charter\n" +
	"\tkey:\tvalue\n" +
	"reason: \"naïve reason\" x\r\n" +
	"evil: \x1b[31mred\u202egnp\xff end\n"

func testFile(name string) ([]byte, error) {
	switch name {
	case "a.yaml":
		return []byte(source + "long: " + strings.Repeat("abcdefghi ", 40) + "END\n"), nil
	case "bom.yaml":
		return []byte("\xef\xbb\xbfkind: Charta\n"), nil
	}
	return nil, fs.ErrNotExist
}

// sample covers what renderers get wrong: tabs, wide characters, long lines,
// hostile text, places that are not known.
func sample() List {
	var l List
	d := l.Errorf(Pos{"a.yaml", 1, 7}, "unknown_value", "%q is not one of A, B", "Charter")
	d.Fix = `did you mean "charta"?`
	d.Related = []Related{{Pos{"a.yaml", 2, 2}, "first written here"}, {Pos{"gone.yaml", 3, 1}, "and here"}}
	l.Warnf(Pos{"a.yaml", 2, 7}, "tabs", "behind two tabs")
	l.Errorf(Pos{"a.yaml", 3, 25}, "wide", "behind a wide character")
	l.Errorf(Pos{"a.yaml", 4, 12}, "evil", "message with \x1b[2J, \u202e and\nbreaks: 100%%, a,b").Fix = "use \x07 nothing"
	l.Errorf(Pos{"a.yaml", 5, 207}, "long", "in the middle of a long line")
	l.Errorf(Pos{"a.yaml", 5, 407}, "long", "at the end of a long line")
	l.Errorf(Pos{"a.yaml", 5, 1}, "long", "at the start of a long line")
	l.Errorf(Pos{"a.yaml", 5, 900}, "beyond", "behind the end of the line")
	l.Warnf(Pos{"a.yaml", 1, 0}, "line_only", "without a column")
	l.Errorf(Pos{"a.yaml", 99, 1}, "no_line", "a line that is not there")
	l.Errorf(Pos{File: "dir, with:odd%/b.yaml"}, "file_only", "the file as a whole")
	l.Errorf(Pos{"bom.yaml", 1, 7}, "bom", "behind a byte order mark")
	return l
}

func render(t *testing.T, f Format, l List, read func(string) ([]byte, error), o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, f, l, read, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteGolden(t *testing.T) {
	opts := Options{Tool: "charter-admin", Version: "1.0.0"}
	for _, f := range Formats() {
		golden(t, string(f)+".golden", render(t, f, sample(), testFile, opts))
	}
	opts.Color = true
	golden(t, "color.golden", render(t, Pretty, sample()[:2], testFile, opts))
	golden(t, "nosource.golden", render(t, Pretty, sample()[:1], nil, opts))
}

// A charter must not be able to write to the terminal, or the CI log, of those
// who check it.
func TestNothingHostileIsWritten(t *testing.T) {
	for _, f := range Formats() {
		out := render(t, f, sample(), testFile, Options{})
		for _, r := range string(out) {
			if r != '\n' && unsafe(r) {
				t.Errorf("%s writes %U", f, r)
			}
		}
	}
}

// Escaping must not change what the JSON says.
func TestJSONIsFaithful(t *testing.T) {
	l := sample()
	l.Errorf(Pos{File: "f"}, "x", "%s", "\x7f\u0085\u202e\U000e0041 end")
	var got report
	if err := json.Unmarshal(render(t, JSON, l, nil, Options{}), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Diagnostics, l) {
		t.Errorf("got %v, want %v", got.Diagnostics, l)
	}
}

func TestEmptyList(t *testing.T) {
	if out := render(t, Pretty, nil, nil, Options{}); len(out) != 0 {
		t.Errorf("pretty: %q", out)
	}
	if out := render(t, JSON, nil, nil, Options{}); string(out) != "{\n  \"diagnostics\": [],\n  \"errors\": 0,\n  \"warnings\": 0\n}\n" {
		t.Errorf("json: %s", out)
	}
	var log struct {
		Runs []struct {
			Results []any
			Tool    struct{ Driver struct{ Rules []any } }
		}
	}
	if err := json.Unmarshal(render(t, SARIF, nil, nil, Options{}), &log); err != nil {
		t.Fatal(err)
	}
	if len(log.Runs) != 1 || log.Runs[0].Results == nil || log.Runs[0].Tool.Driver.Rules == nil {
		t.Errorf("sarif must have a run with results and rules: %+v", log)
	}
}

// Code scanning refuses a log whose results point to other rules than they name.
func TestSARIFRulesAndColumns(t *testing.T) {
	var log sarifLog
	if err := json.Unmarshal(render(t, SARIF, sample(), testFile, Options{}), &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	for i, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result %d: rule %d is not %s", i, r.RuleIndex, r.RuleID)
		}
	}
	if col := run.Results[2].Locations[0].Physical.Region.Col; col != 24 {
		t.Errorf("column %d, want 24: SARIF counts characters", col)
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("ParseFormat(%s) = %s, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("xml is accepted")
	}
	if err := Write(&bytes.Buffer{}, "xml", nil, nil, Options{}); err == nil {
		t.Error("Write accepts xml")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteReportsErrors(t *testing.T) {
	if err := Write(brokenWriter{}, Pretty, sample(), nil, Options{}); err == nil {
		t.Error("a full disk goes unnoticed")
	}
}

func TestListSortAndCount(t *testing.T) {
	var l List
	l.Warnf(Pos{"b", 1, 1}, "w", "x")
	l.Errorf(Pos{"a", 2, 1}, "e", "x")
	l.Errorf(Pos{"a", 2, 1}, "e", "x")
	l.Warnf(Pos{"a", 2, 1}, "e", "x")
	l.Errorf(Pos{"a", 1, 9}, "e", "x")
	l.Sort()
	var got []string
	for _, d := range l {
		got = append(got, d.Pos.String()+" "+string(d.Severity))
	}
	if want := "a:1:9 error|a:2:1 error|a:2:1 warning|b:1:1 warning"; strings.Join(got, "|") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if e, w := l.Count(); e != 2 || w != 2 || !l.HasErrors() {
		t.Errorf("Count = %d, %d", e, w)
	}
	if (List{{Severity: Warning}}).HasErrors() {
		t.Error("a warning counts as error")
	}
}
