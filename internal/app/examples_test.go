package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
)

const skeleton = `apiVersion: charter/v1
kind: Charter
metadata: {name: small, version: 1.0.0}
access_levels: [public]
purposes: [operations]
`

// explore returns the examples for a charter made of skeleton and text.
func explore(t *testing.T, text string) []example {
	t.Helper()
	path := filepath.Join(t.TempDir(), "charter.yaml")
	if err := os.WriteFile(path, []byte(skeleton+text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := bundled(t, path)
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New()
	e.Swap(p)
	return explorer{engine: e, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}.examples(t.Context())
}

func TestExamplesFollowTheCharter(t *testing.T) {
	const roles = "roles: [{name: public, reads: [public]}]\n"
	got := explore(t, roles+"metrics: {network: [{id: a, match: [\"g_*\", up], access: public, purposes: [operations], nodes: [\"lab-*\"]}]}\n")
	if len(got) != 2 || got[0].question.Operation != decision.Read || got[0].question.Metric != "up" || got[0].question.Purpose != "operations" {
		t.Errorf("without a role that collects: %+v", got)
	}
	got = explore(t, "roles: [{name: op, reads: [public], collects: [network]}]\nmetrics: {network: [{id: a, match: [up_time], access: public, nodes: [\"lab-*\"]}]}\n")
	if len(got) != 2 || got[0].question.Node != "lab-1" || got[1].question.Metric == "up_time" {
		t.Errorf("without a forbidden metric: %+v", got)
	}
	if got = explore(t, roles+"metrics: {network: [{id: a, match: [\"g_*\"], access: public}]}\n"); got != nil {
		t.Errorf("without an exact name: %+v", got)
	}
	if got := (explorer{engine: engine.New()}).examples(context.Background()); got != nil {
		t.Errorf("without a policy: %+v", got)
	}
}

func TestSearchGivesUp(t *testing.T) {
	asked := 0
	endless := func(yield func(decision.Input) bool) {
		for yield(decision.Input{}) {
			asked++
		}
	}
	_, ok := explorer{engine: engine.New()}.search(t.Context(), endless, func(decision.Decision) bool { return false })
	if ok || asked > maxTries {
		t.Errorf("asked %d times", asked)
	}
}

func TestSamples(t *testing.T) {
	for pattern, want := range map[string]string{
		"gps_latitude": "gps_latitude", "*_location*": "device_location", "*.location": "device.location", "*gps*": "device_gps",
		"user_*_name": "user_x_name", "browser_*": "browser_",
	} {
		if got := sample(pattern); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
	c := &charter.Charter{Nodes: charter.Nodes{Groups: []charter.Group{{Name: "dark"}, {Name: "lab", Match: []string{"lab-*"}}}}}
	for want, selector := range map[string][]string{
		"edge-1": nil, "core-1": {"core-*"}, "n7": {"n7"}, "lab-1": {"group:dark", "group:lab"},
	} {
		if got := sampleNode(c, selector); got != want {
			t.Errorf("%q: %s, want %s", selector, got, want)
		}
	}
}

// Names come from the charter; no name may end the quotation in a shell.
func TestExamplesAreQuoted(t *testing.T) {
	var b bytes.Buffer
	err := writeExamples(&b, "http://127.0.0.1:1", []example{{"odd", decision.Input{Metric: `it's <odd> "name"`, Role: "r", Operation: "read"}}})
	want := "# odd\ncurl -sS 'http://127.0.0.1:1/v1/check?pretty' -d '{\"metric\":\"it'\\''s <odd> \\\"name\\\"\",\"role\":\"r\",\"operation\":\"read\"}'\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\n%s", err, b.String(), want)
	}
	if err := writeExamples(closed{}, "", []example{{}}); err == nil {
		t.Error("a closed output is not noticed")
	}
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct{ format, level, want string }{
		{"auto", "info", `"msg":"charter: odd"`},
		{"json", "warn", `"code":"c"`},
		{"text", "warn", `msg="charter: odd"`},
		{"text", "error", ""},
	} {
		var b bytes.Buffer
		o := Options{LogFormat: c.format, LogLevel: c.level}
		logFindings(newLogger(&b, o), diag.List{{Severity: diag.Warning, Code: "c", Message: "odd", Pos: diag.Pos{File: "f", Line: 1}}})
		if !strings.Contains(b.String(), c.want) || c.want == "" && b.Len() > 0 {
			t.Errorf("%+v: %s", c, b.String())
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // a test file
	if terminal(file) {
		t.Error("a file is taken for a terminal")
	}
	if newLogger(file, Options{LogLevel: "nonsense"}).Enabled(t.Context(), slog.LevelDebug) {
		t.Error("an unknown level logs everything")
	}
}

func TestStateMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charter.yaml")
	text := skeleton + "roles: [{name: public, reads: [public]}]\nmetrics: {network: [{id: a, match: [up], access: public}]}\nenforcement: {state: required}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	o := unrecorded()
	o.Charter = path
	if _, err := New(t.Context(), server(), o, slog.New(slog.NewTextHandler(&b, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "requires a state document") {
		t.Errorf("nobody is told why collect is denied: %s", b.String())
	}
}
