package opaclient_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
)

// ask sends a query and returns the status and the code of the error, if any.
func ask(t *testing.T, diagnostics, parameters, query string, input any) (status int, code, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "input": input})
	if err != nil {
		t.Fatal(err)
	}
	r := request{Method: http.MethodPost, Path: "/v1/query" + parameters}
	got := r.send(t, http.DefaultClient, diagnostics, body)
	var fault struct{ Code string }
	if err := json.Unmarshal([]byte(got.text), &fault); err != nil {
		t.Fatalf("%s: %d %.200s: %v", query, got.status, got.text, err)
	}
	return got.status, fault.Code, got.text
}

// A query can ask for anything, and the server goes on all the same.
func TestQueriesAreBounded(t *testing.T) {
	public, patient := ours(t, charterFile(t), func(o *app.Options) { o.Timeouts.Decide = time.Minute })
	_, hasty := ours(t, charterFile(t), func(o *app.Options) { o.Timeouts.Decide = time.Second })
	doubling := `a := "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; b := concat("", [a, a, a, a, a, a, a, a, a, a]); c := replace(b, "a", b); d := replace(c, "a", c); count(replace(d, "a", d)) > 1`
	for name, c := range map[string]struct {
		parameters, query string
		status            int
		code              string // one of them
	}{
		"answer":              {"", "x := numbers.range(1, 1500000)", 422, "too_large"},
		"many small answers":  {"", "numbers.range(1, 1000)[i] = x; numbers.range(1, 1000)[j] = y", 422, "too_large or too_hungry"},
		"memory":              {"", `count([x | x := sprintf("%0100000d", [numbers.range(1, 100000)[_]])]) > 1`, 422, "too_hungry"},
		"memory by doubling":  {"", doubling, 422, "too_hungry"},
		"memory in one step":  {"", "x := bits.lsh(1, 100000000000)", 400, "invalid_parameter"},
		"time":                {"", `numbers.range(1, 2000)[_] + numbers.range(1, 2000)[_] + numbers.range(1, 2000)[_] < 0`, 503, "timeout"},
		"explanation":         {"?explain=full", "numbers.range(1, 50000)[i] < 0", 422, "too_large"},
		"text":                {"", "x := \"" + strings.Repeat("a", 16<<10) + `"`, 422, "query_too_big"},
		"huge number":         {"", "x := 1e999999999 + 1", 400, "invalid_parameter"},
		"huge computed width": {"", `x := sprintf("%999999999d", [1])`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			start, diagnostics := time.Now(), patient
			if c.code == "timeout" {
				diagnostics = hasty
			}
			status, code, text := ask(t, diagnostics, c.parameters, c.query, nil)
			if status != c.status || (code == "") != (c.code == "") || !strings.Contains(c.code, code) {
				t.Errorf("%d %s: %.200s", status, code, text)
			}
			if took := time.Since(start); c.code == "timeout" && took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if r := (&request{Path: "/health"}).send(t, http.DefaultClient, public, nil); r.status != http.StatusOK {
				t.Errorf("health afterwards: %d", r.status)
			}
		})
	}
	big := &request{Method: http.MethodPost, Path: "/v1/data/charter/decision"}
	if got := big.send(t, http.DefaultClient, patient, []byte(`{"input": "`+strings.Repeat("a", 1<<20)+`"}`)); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d %.200s", got.status, got.text)
	}
	bomb := &request{Method: http.MethodPost, Path: "/v1/data/charter/decision", Gzip: true}
	if got := bomb.send(t, http.DefaultClient, patient, []byte(`{"input": "`+strings.Repeat("a", 1<<24)+`"}`)); got.status != http.StatusRequestEntityTooLarge || !strings.Contains(got.text, "body_too_large") {
		t.Errorf("a bomb: %d %.200s", got.status, got.text)
	}
}

// More evaluations at once than there is room for are refused, and only those.
func TestEvaluationsAtOnceAreBounded(t *testing.T) {
	_, diagnostics := ours(t, charterFile(t), func(o *app.Options) { o.Timeouts.Decide = 2 * time.Second })
	const clients = 12
	statuses := make(chan int, clients)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			res, err := http.Post(diagnostics+"/v1/query", "application/json", strings.NewReader(
				`{"query": "numbers.range(1, 2000)[_] + numbers.range(1, 2000)[_] + numbers.range(1, 2000)[_] < 0"}`))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			statuses <- res.StatusCode
		})
	}
	all.Wait()
	close(statuses)
	count := map[int]int{}
	for s := range statuses {
		count[s]++
	}
	if count[http.StatusServiceUnavailable] == 0 || count[http.StatusTooManyRequests] == 0 || len(count) != 2 {
		t.Errorf("statuses %v, want some 503 (too long) and some 429", count)
	}
	if status, _, text := ask(t, diagnostics, "", "x := 1", nil); status != http.StatusOK {
		t.Errorf("afterwards: %d %s", status, text)
	}
}

// The data of a large charter is refused as a whole before it is read, and served
// in parts.
func TestLargeData(t *testing.T) {
	var text strings.Builder
	text.WriteString("apiVersion: charter/v1\nkind: Charter\nmetadata: {name: large, version: 1.0.0, organization: o, effective: 2026-01-01, expires: 2036-01-01}\n" +
		"access_levels: [public]\npurposes: [operations]\nroles:\n  - {name: operator, reads: [public], collects: [all]}\nmetrics:\n  all:\n    - id: c\n      access: public\n      match:\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "        - metric_with_a_rather_long_name_so_that_tables_are_large_%06d\n", i)
	}
	limits := charter.Limits{DocumentBytes: 64 << 20, TotalBytes: 64 << 20, Nodes: 1_000_000}
	c, findings := charter.Loader{Limits: limits}.Parse("charter.yaml", []byte(text.String()))
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := b.WriteDir(filepath.Join(dir, "large")); err != nil {
		t.Fatal(err)
	}
	_, diagnostics := ours(t, "", func(o *app.Options) { o.Bundle = filepath.Join(dir, "large") })
	for _, document := range []string{"/v1/data", "/v1/data/charter", "/v1/data/charter/tables"} {
		r := request{Path: document}
		start := time.Now()
		got := r.send(t, http.DefaultClient, diagnostics, nil)
		if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.text, "too_large") {
			t.Errorf("%s: %d, %d bytes", document, got.status, len(got.text))
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: refused after %v", document, took)
		}
	}
	r := request{Method: http.MethodPost, Path: "/v1/data/charter/decision"}
	got := r.send(t, http.DefaultClient, diagnostics, []byte(`{"input": {"metric": "metric_with_a_rather_long_name_so_that_tables_are_large_000077", "role": "operator", "node": "n", "operation": "collect", "time": "2026-06-01T00:00:00Z"}}`))
	if got.status != http.StatusOK || !strings.Contains(got.text, `"clause":"c"`) {
		t.Errorf("a decision: %d %.300s", got.status, got.text)
	}
	if status, code, text := ask(t, diagnostics, "", "x := data", nil); status != http.StatusUnprocessableEntity || code != "too_large" && code != "too_hungry" {
		t.Errorf("all data by a query: %d %s %.300s", status, code, text)
	}
}
