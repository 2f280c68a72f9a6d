package decisionapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

// snapshot is a fake whose batches are answered on one snapshot.
type snapshot struct {
	*fake
	batch func(ctx context.Context, in []decision.Input) []decision.Decision
}

func (s snapshot) DecideBatch(ctx context.Context, in []decision.Input) ([]decision.Decision, error) {
	s.mu.Lock()
	s.asked = append(s.asked, in...)
	s.mu.Unlock()
	if s.batch != nil {
		return s.batch(ctx, in), nil
	}
	answers := make([]decision.Decision, len(in))
	for i := range in {
		answers[i], _ = s.fake.byName(in[i])
	}
	return answers, nil
}

// byName allows, denies and fails by the name of the metric.
func (f *fake) byName(in decision.Input) (decision.Decision, error) {
	d := decision.Decision{
		Allow: true, Outcome: decision.Allowed, DecisionID: "id-" + in.Metric, Revision: "r-7", Clause: "net.latency",
		Severity: "none", Reasons: []decision.Reason{}, Mode: decision.Enforce,
	}
	switch {
	case strings.HasPrefix(in.Metric, "deny"):
		d.Allow, d.Outcome, d.Clause = false, decision.Denied, decision.ClauseDefault
	case strings.HasPrefix(in.Metric, "oblige"):
		d.Obligations = decision.Obligations{Retention: "30d", DropLabels: []string{"address"}}
	case strings.HasPrefix(in.Metric, "refuse"):
		return decision.Decision{Outcome: decision.InvalidRequest, Revision: "r-7", Reasons: []decision.Reason{
			{Code: decision.CodeInvalidValue, Clause: decision.ClauseRequest, Message: "no such unit", Field: "retention"},
		}}, nil
	case strings.HasPrefix(in.Metric, "fail"):
		return decision.Undetermined("r-7", "the policy gave no answer"), errors.New("secret detail")
	}
	return d, nil
}

// startNames serves a fake that decides by name, with and without batches.
func startNames(t *testing.T, f *fake, batches bool, change ...func(*decisionapi.Options)) string {
	t.Helper()
	f.decide = func(_ context.Context, in decision.Input) (decision.Decision, error) { return f.byName(in) }
	return start(t, f, append([]func(*decisionapi.Options){func(o *decisionapi.Options) {
		if batches {
			o.Decider = snapshot{fake: f}
		}
	}}, change...)...)
}

const batchPath = "/v1/check/batch"

// results splits the answer of a batch.
func results(t *testing.T, body string) (revision string, list []map[string]any) {
	t.Helper()
	var a struct {
		Revision string
		Results  []map[string]any
	}
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil || a.Results == nil {
		t.Fatalf("%v: %s", err, body)
	}
	return a.Revision, a.Results
}

// One bad item must not cost the others their answer, and each answer must stand
// where its question stood.
func TestBatch(t *testing.T) {
	for _, batches := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot %v", batches), func(t *testing.T) {
			f := &fake{}
			base := startNames(t, f, batches)
			got := post(t, base+batchPath, `{
				"items": [
					{"metric": "a"},
					{"metric": "deny", "operation": "read", "labels": {"x": "1", "shared": "own"}},
					{"metrc": "b"},
					7,
					{"metric": "c", "node": 7},
					{"metric": "d", "time": "2026-01-01"},
					{"metric": "refuse"},
					{"role": "auditor"},
					{"metric": "e", "role": ""}
				],
				"common": {"role": "node_operator", "node": "edge-1", "operation": "collect", "labels": {"shared": "common"}, "claims": ["mtls"]}
			}`)
			if got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			revision, list := results(t, got.body)
			if revision != "r-7" || len(list) != 9 {
				t.Fatalf("revision %q, %d results", revision, len(list))
			}
			for i, want := range []string{
				"allowed", "denied", "metrc:unknown_field", "input:wrong_type", "node:wrong_type", "time:invalid_value",
				"retention:invalid_value", "metric:missing_field", "role:missing_field",
			} {
				var have string
				if fault, ok := list[i]["error"].(map[string]any); ok {
					if len(list[i]) != 1 || fault["code"] != decision.InvalidRequest || fault["message"] == "" {
						t.Errorf("item %d: %v", i, list[i])
					}
					first := fault["errors"].([]any)[0].(map[string]any)
					have = fmt.Sprint(first["location"], ":", first["code"])
				} else {
					have = list[i]["outcome"].(string)
				}
				if have != want {
					t.Errorf("item %d: %s, want %s", i, have, want)
				}
			}
			asked := slices.SortedFunc(slices.Values(f.asked), func(a, b decision.Input) int { return strings.Compare(a.Metric, b.Metric) })
			if len(asked) != 3 || asked[0].Operation != "collect" || asked[1].Operation != "read" || asked[1].Role != "node_operator" || asked[0].Claims[0] != "mtls" {
				t.Fatalf("asked %+v", asked)
			}
			if l := asked[1].Labels; l["x"] != "1" || l["shared"] != "own" || len(l) != 2 || asked[0].Labels["shared"] != "common" || len(asked[0].Labels) != 1 {
				t.Errorf("labels %v and %v", asked[0].Labels, l)
			}
			if asked[0].Time != "2026-06-01T12:00:00.123456789Z" || asked[0].Time != asked[2].Time {
				t.Errorf("stamped %q and %q", asked[0].Time, asked[2].Time)
			}
			if !slices.Contains(f.decided, "denied read") || !slices.Contains(f.decided, "invalid_request ") || len(f.decided) != 9 {
				t.Errorf("counted %q", f.decided)
			}
			if !strings.Contains(f.logged(), `"items":9,"allowed":1,"refused":7,"failed":0`) {
				t.Errorf("log: %s", f.logged())
			}
		})
	}
}

func TestBatchEnvelope(t *testing.T) {
	base := startNames(t, &fake{}, true)
	many := strings.Repeat(`{},`, 10_000) + `{}`
	for name, c := range map[string]struct{ body, code, location string }{
		"empty":              {``, "wrong_type", "input"},
		"not JSON":           {`items=1`, "wrong_type", "input"},
		"array":              {`[]`, "wrong_type", "input"},
		"null":               {`null`, "wrong_type", "input"},
		"cut off":            {`{"items":[{}`, "wrong_type", "input"},
		"two values":         {`{"items":[]} {}`, "wrong_type", "input"},
		"no items":           {`{}`, "missing_field", "items"},
		"null items":         {`{"items":null}`, "wrong_type", "items"},
		"object of items":    {`{"items":{}}`, "wrong_type", "items"},
		"misspelt":           {`{"itmes":[]}`, "unknown_field", "itmes"},
		"a bare question":    {question, "unknown_field", "metric"},
		"items twice":        {`{"items":[],"items":[]}`, "invalid_value", "items"},
		"common of text":     {`{"common":"x","items":[]}`, "wrong_type", "common"},
		"misspelt in common": {`{"common":{"rol":"x"},"items":[]}`, "unknown_field", "common.rol"},
		"time in common":     {`{"common":{"time":"2026-01-01"},"items":[]}`, "invalid_value", "common.time"},
		"bad in common":      {`{"common":{"operation":"peek"},"items":[]}`, "invalid_value", "common.operation"},
		"number in common":   {`{"common":{"node":1},"items":[]}`, "wrong_type", "common.node"},
		"too many":           {`{"items":[` + many + `]}`, "invalid_value", "items"},
		"invalid UTF-8":      {"{\"items\":[{\"metric\":\"\xff\"}]}", "invalid_value", "input"},
		"deep":               {`{"items":[` + strings.Repeat("[", 1000), "wrong_type", "input"},
	} {
		got := post(t, base+batchPath, c.body)
		if got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %.200s", name, got.status, got.body)
			continue
		}
		e := got.fault(t)
		if e.Code != decision.InvalidRequest || len(e.Errors) == 0 || e.Errors[0].Code != c.code || e.Errors[0].Location != c.location {
			t.Errorf("%s: %.300s", name, got.body)
		}
	}
	for name, body := range map[string]string{"no questions": `{"items":[]}`, "only common": `{"items":[],"common":{}}`} {
		if got := post(t, base+batchPath, body); got.status != http.StatusOK || got.body != `{"revision":"r-1","results":[]}`+"\n" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := post(t, base+batchPath, `{"items":[`+strings.Repeat(question+",", 9_999)+question+`]}`); got.status != http.StatusOK {
		t.Errorf("10,000 items: %d %.200s", got.status, got.body)
	}
}

func TestBatchLimits(t *testing.T) {
	base := startNames(t, &fake{}, true, func(o *decisionapi.Options) { o.MaxBatchBody = 3 << 20 })
	body := `{"items":[]}`
	if got := post(t, base+batchPath, body+strings.Repeat(" ", 3<<20-len(body))); got.status != http.StatusOK {
		t.Errorf("3 MiB: %d %s", got.status, got.body)
	}
	if got := post(t, base+batchPath, body+strings.Repeat(" ", 3<<20)); got.status != http.StatusRequestEntityTooLarge || got.fault(t).Code != "body_too_large" {
		t.Errorf("beyond: %d %s", got.status, got.body)
	}
	if got := post(t, base+batchPath, body, "Content-Type", "text/csv"); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("CSV: %d", got.status)
	}
}

// What a batch decider fails to answer must never look like an answer.
func TestBatchWithoutAnswers(t *testing.T) {
	f := &fake{}
	s := snapshot{fake: f, batch: func(context.Context, []decision.Input) []decision.Decision { return nil }}
	base := start(t, f, func(o *decisionapi.Options) { o.Decider = s })
	if got := post(t, base+batchPath, `{"items":[`+question+`]}`); got.status != http.StatusInternalServerError || got.fault(t).Code != "internal_error" {
		t.Errorf("no answers: %d %s", got.status, got.body)
	}
	s.batch = func(ctx context.Context, in []decision.Input) []decision.Decision {
		<-ctx.Done()
		return []decision.Decision{decision.Undetermined("r-1", "too slow")}
	}
	base = start(t, f, func(o *decisionapi.Options) { o.Decider, o.BatchTimeout = s, time.Millisecond })
	if got := post(t, base+batchPath, `{"items":[`+question+`]}`); got.status != http.StatusOK || !strings.Contains(got.body, `"code":"timeout"`) {
		t.Errorf("too slow: %d %s", got.status, got.body)
	}
	base = startNames(t, f, false)
	got := post(t, base+batchPath, `{"items":[`+question+`,`+strings.Replace(question, "latency_p50", "fail", 1)+`]}`)
	if !strings.Contains(got.body, `"code":"internal_error"`) || !strings.Contains(got.body, `"allow":true`) || strings.Contains(got.body, "secret") {
		t.Errorf("one failure: %d %s", got.status, got.body)
	}
}

// lines sends a stream and returns the lines of the answer.
func lines(t *testing.T, url, body string) (answer, []string) {
	t.Helper()
	got := post(t, url, body, "Content-Type", "application/x-ndjson")
	return got, strings.Split(strings.TrimSuffix(got.body, "\n"), "\n")
}

func TestStream(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true, func(o *decisionapi.Options) { o.MaxCheckBody = 200 })
	got, list := lines(t, base+batchPath, `{"common":{"role":"r","node":"n","operation":"collect"}}`+"\n"+
		`{"metric":"a"}`+"\r\n"+
		"\n   \n"+
		`{"metric":"`+strings.Repeat("x", 100_000)+`"}`+"\n"+
		`{"metrc":"a"}`+"\n"+
		`{"metric":"deny"} trailing`+"\n"+
		`{"common":{}}`+"\n"+
		"{\"metric\":\"\xff\"}\n"+
		`{"metric":"refuse"}`+"\n"+
		`{"metric":"fail"}`+"\n"+
		`{"metric":"deny"}`)
	want := []string{
		`"allow":true`, `"code":"body_too_large"`, `"location":"metrc"`, `more than one JSON value`, `"location":"common"`,
		`not valid UTF-8`, `"location":"retention"`, `"code":"internal_error"`, `"outcome":"denied"`,
	}
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/x-ndjson" || len(list) != len(want) {
		t.Fatalf("%d %v\n%s", got.status, got.header, got.body)
	}
	for i, line := range list {
		if !strings.Contains(line, want[i]) || !json.Valid([]byte(line)) || strings.Contains(line, "secret") {
			t.Errorf("line %d: %s, want %s", i, line, want[i])
		}
	}
	if !strings.Contains(f.logged(), `"items":9,"allowed":1,"refused":6,"failed":1`) {
		t.Errorf("log: %s", f.logged())
	}
}

// A preamble that is not understood would change the meaning of every line.
func TestStreamThatStartsBadly(t *testing.T) {
	base := startNames(t, &fake{}, true)
	for body, location := range map[string]string{
		`{"common":{"rol":"x"}}` + "\n" + question:      "common.rol",
		`{"common":[]}` + "\n" + question:               "common",
		`{"common":{},"metric":"a"}` + "\n" + question:  "metric",
		`{"common":{"time":"2026-01-01"}}` + "\n":       "common.time",
		"{\"common\":{\"role\":\"\xff\"}}\n" + question: "input",
	} {
		got, _ := lines(t, base+batchPath, body)
		if got.status != http.StatusBadRequest || got.fault(t).Errors[0].Location != location {
			t.Errorf("%q: %d %s", body, got.status, got.body)
		}
	}
	for body, want := range map[string]string{"": "", "\n\n": "", `{"common":{}}`: ""} {
		if got, _ := lines(t, base+batchPath, body); got.status != http.StatusOK || got.body != want {
			t.Errorf("%q: %d %q", body, got.status, got.body)
		}
	}
	if got := post(t, base+batchPath, question, "Content-Type", "application/x-ndjson", "Content-Encoding", "gzip"); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("compressed: %d", got.status)
	}
	if got, list := lines(t, base+batchPath, strings.Repeat(" ", 100_000)+"\n"+question); got.status != http.StatusOK || len(list) != 2 || !strings.Contains(list[0], "body_too_large") {
		t.Errorf("an endless first line: %d %s", got.status, got.body)
	}
}

// A caller may wait for each answer before it asks on, also when it has begun
// the next line already.
func TestStreamIsInteractive(t *testing.T) {
	base := startNames(t, &fake{}, true)
	in, ask := io.Pipe()
	r := request(t, http.MethodPost, base+batchPath, "", "Content-Type", "application/x-ndjson")
	r.Body, r.ContentLength = in, -1
	go func() { _, _ = io.WriteString(ask, question+"\n{\"metric\"") }()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	dec := json.NewDecoder(res.Body)
	for i := range 3 {
		var d decision.Decision
		if err := dec.Decode(&d); err != nil || !d.Allow {
			t.Fatalf("answer %d: %+v, %v", i, d, err)
		}
		if i < 2 {
			_, _ = io.WriteString(ask, question[len(`{"metric"`):]+"\n{\"metric\"")
		}
	}
	_ = ask.CloseWithError(io.EOF)
	if rest, err := io.ReadAll(dec.Buffered()); err != nil {
		t.Errorf("%s, %v", rest, err)
	}
}

// A client that stops in mid-line must not hold the server for ever.
func TestStreamThatStalls(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true, func(o *decisionapi.Options) { o.StreamIdle = 20 * time.Millisecond })
	for name, begin := range map[string]string{"later": question + "\n{", "at once": "{"} {
		in, ask := io.Pipe()
		r := request(t, http.MethodPost, base+batchPath, "", "Content-Type", "application/x-ndjson")
		r.Body, r.ContentLength = in, -1
		go func() { _, _ = io.WriteString(ask, begin) }()
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		_ = ask.Close()
		if !strings.Contains(string(body), `"code":"request_timeout"`) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

// Memory must not grow with the length of a stream, nor its throughput die.
func TestStreamIsLong(t *testing.T) {
	base := startNames(t, &fake{}, true)
	in, ask := io.Pipe()
	r := request(t, http.MethodPost, base+batchPath, "", "Content-Type", "application/x-ndjson")
	r.Body, r.ContentLength = in, -1
	const n = 20_000 // 2.6 MB: beyond what any other body may be
	go func() {
		for range n {
			_, _ = io.WriteString(ask, question+"\n")
		}
		_ = ask.Close()
	}()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	body, err := io.ReadAll(res.Body)
	if got := strings.Count(string(body), `"allow":true`); err != nil || got != n {
		t.Errorf("%d answers, %v", got, err)
	}
}
