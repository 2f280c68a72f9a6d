package openapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/tests/openapi/document"
)

var update = flag.Bool("update", false, "write the answers into the document")

const specification = "../../internal/httpapi/decision/openapi.yaml"

// spec is a document with the requests and answers that it shows.
type spec struct{ *document.Document }

func readSpec(t *testing.T, path string) spec {
	t.Helper()
	return spec{document.Read(t, path)}
}

// service is the API over the charter of the examples.
func service(t *testing.T) string {
	t.Helper()
	c, findings := charter.Load("charter.yaml")
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.WithCharter(c); err != nil {
		t.Fatal(err)
	}
	e := engine.New()
	e.Swap(p)
	h, err := decisionapi.New(decisionapi.Options{
		Decider: decisionapi.Batching(e), Reporter: reporter{p}, InsecureSelfAsserted: true, PublicURL: "https://charter.example.org",
		Policy:    func() decisionapi.Policy { return p },
		Explainer: explain.New(func() []*engine.Policy { return []*engine.Policy{p} }),
		Now:       func() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) },
		Metrics:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

type reporter struct{ policy *engine.Policy }

func (r reporter) Status() decisionapi.Status {
	return decisionapi.Status{Charter: r.policy.Charter().Metadata.Name, Revision: r.policy.Revision()}
}

// operation is one method of one path.
type operation struct {
	path, method string
	node         *yaml.Node
}

func (d spec) operations() []operation {
	var list []operation
	document.Each(document.At(d.Root, "paths"), func(path string, methods *yaml.Node) {
		document.Each(methods, func(method string, node *yaml.Node) {
			list = append(list, operation{path, strings.ToUpper(method), node})
		})
	})
	return list
}

// example is a request with the answer that is documented for it.
type example struct {
	operation
	name, media, body string // of the request
	query             url.Values
	answer            *yaml.Node // the example of the answer; nil when it is not written down
	status, answers   string     // status and media type of the answer
	response          []string   // where the response is described
	situation         string     // what the request meets, see situations; "" is the plain service
	header            http.Header
}

// examples joins the examples of requests and answers by their names.
func (d spec) examples(t *testing.T) []example {
	t.Helper()
	var list []example
	for _, op := range d.operations() {
		found := map[string]*example{}
		get := func(name string) *example {
			if found[name] == nil {
				found[name] = &example{operation: op, name: name, query: url.Values{}}
			}
			return found[name]
		}
		document.Each(document.At(op.node, "requestBody", "content"), func(media string, content *yaml.Node) {
			document.Each(document.At(content, "examples"), func(name string, e *yaml.Node) {
				x := get(name)
				x.media, x.situation = media, situationOf(e)
				x.body, _ = document.Plain(t, document.At(e, "value")).(string)
				if media == "application/json" {
					text, _ := json.Marshal(document.Plain(t, document.At(e, "value")))
					x.body = string(text)
				}
			})
		})
		if parameters := document.At(op.node, "parameters"); parameters != nil {
			for _, p := range parameters.Content {
				document.Each(document.At(p, "examples"), func(name string, e *yaml.Node) {
					get(name).query.Set(document.At(p, "name").Value, document.At(e, "value").Value)
				})
			}
		}
		document.Each(document.At(op.node, "responses"), func(status string, response *yaml.Node) {
			where := []string{"paths", op.path, strings.ToLower(op.method), "responses", status}
			shared := document.At(response, "$ref")
			if shared != nil {
				where = strings.Split(strings.TrimPrefix(shared.Value, "#/"), "/")
				response = document.At(d.Root, where...)
			}
			document.Each(document.At(response, "content"), func(media string, content *yaml.Node) {
				document.Each(document.At(content, "examples"), func(name string, e *yaml.Node) {
					if shared != nil && found[name] == nil {
						return // the example of another operation
					}
					x := get(name)
					x.answer, x.status, x.answers, x.response = document.At(e, "value"), status, media, append(where, "content", media, "schema")
					if x.situation == "" {
						x.situation = situationOf(e)
					}
				})
			})
		})
		for _, x := range found {
			list = append(list, *x)
		}
	}
	slices.SortFunc(list, func(a, b example) int { return strings.Compare(a.path+a.method+a.name, b.path+b.method+b.name) })
	return list
}

// situationOf is what an example of the document says about its circumstances.
func situationOf(e *yaml.Node) string {
	if s := document.At(e, "x-situation"); s != nil {
		return s.Value
	}
	return ""
}

func send(t *testing.T, base string, x example) (status string, media string, body []byte) {
	t.Helper()
	target := base + x.path
	if len(x.query) > 0 {
		target += "?" + x.query.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), x.method, target, strings.NewReader(x.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range x.header {
		r.Header[name] = values
	}
	if x.media != "" {
		r.Header.Set("Content-Type", x.media)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return http.StatusText(res.StatusCode), strings.Split(res.Header.Get("Content-Type"), ";")[0], body
}

// anyID stands in the document for the ids that are new in every answer.
const anyID = "019e8301-5c00-7000-8000-000000000000"

var ids = regexp.MustCompile(`("(?:batch_)?decision_id":)"[^"]*"`)

// since stands for the moment something began to be wrong.
var since = regexp.MustCompile(`("since": ?)"[^"]*"`)

func decodeLines(t *testing.T, text string) (lines []any) {
	t.Helper()
	for line := range strings.Lines(text) {
		lines = append(lines, document.Decode(t, []byte(line)))
	}
	return lines
}

// Whoever copies a request out of the document gets the answer that is written
// beside it, and a client that is generated from the schemas can read it.
func TestExamples(t *testing.T) {
	d, base := readSpec(t, specification), service(t)
	examples := d.examples(t)
	if len(examples) < 50 {
		t.Fatalf("only %d examples were found", len(examples))
	}
	for _, x := range examples {
		t.Run(strings.Trim(x.path, "/")+" "+x.method+" "+x.name, func(t *testing.T) {
			if x.answer == nil {
				t.Fatal("the answer is not documented")
			}
			base := base
			if x.situation != "" {
				base = x.meet(t)
			}
			status, media, body := send(t, base, x)
			if want := statusText(t, x.status); status != want || media != x.answers {
				t.Fatalf("%s %s, documented are %s %s: %s", status, media, want, x.answers, body)
			}
			var got any
			raw := ids.ReplaceAllString(strings.TrimSpace(string(body)), `${1}"`+anyID+`"`)
			raw = since.ReplaceAllString(raw, `${1}"2026-06-01T12:00:00Z"`)
			if media == "application/json" {
				got = document.Decode(t, []byte(raw))
				raw = oneLine(t, raw)
				if err := d.Fits(t, got, x.response...); err != nil {
					t.Errorf("%s: %v", body, err)
				}
			} else {
				lines := decodeLines(t, raw)
				got = raw + "\n"
				text, _ := json.Marshal(got)
				raw = string(text)
				for _, line := range lines {
					if err := d.Fits(t, line, "components", "schemas", "BatchResult"); err != nil {
						t.Errorf("%v: %v", line, err)
					}
				}
			}
			if *update {
				d.Replace(x.answer, raw)
			} else if want := document.Plain(t, x.answer); !reflect.DeepEqual(want, got) {
				t.Errorf("the answer is not the documented one:\n%s", body)
			}
			d.checkRequest(t, x)
		})
	}
	if *update {
		d.Write(t)
	}
}

// oneLine is JSON as examples have it.
func oneLine(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func statusText(t *testing.T, code string) string {
	t.Helper()
	for i := range 600 {
		if code == strings.TrimSpace(strings.Join([]string{string(rune('0' + i/100)), string(rune('0' + i/10%10)), string(rune('0' + i%10))}, "")) {
			return http.StatusText(i)
		}
	}
	t.Fatalf("status %q", code)
	return ""
}

// checkRequest holds the request against its schema: what the schema takes is
// answered, and what is refused as a whole does not fit.
func (d spec) checkRequest(t *testing.T, x example) {
	t.Helper()
	if x.media != "application/json" {
		return
	}
	err := d.Fits(t, document.Decode(t, []byte(x.body)), "paths", x.path, strings.ToLower(x.method), "requestBody", "content", x.media, "schema")
	if ok := x.status == "200" || x.status == "207"; ok && err != nil {
		t.Errorf("the request does not fit its schema: %v", err)
	}
}

// Everything that is documented exists, under exactly the documented methods,
// and everything that is listed at / is documented.
func TestPaths(t *testing.T) {
	d, base := readSpec(t, specification), whole(t)
	methods := map[string][]string{}
	for _, op := range d.operations() {
		methods[op.path] = append(methods[op.path], op.method)
		if op.method == http.MethodGet && op.path != "/v1/allowed" && op.path != "/v1/data/charter/decision" {
			methods[op.path] = append(methods[op.path], http.MethodHead)
		}
	}
	for path, want := range methods {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodOptions, base+path, nil)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		want = append(slices.Clone(want), http.MethodOptions)
		slices.Sort(want)
		got := strings.Split(res.Header.Get("Allow"), ", ")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, documented are %q", path, got, want)
		}
	}
	_, _, index := send(t, base, example{operation: operation{path: "/", method: http.MethodGet}})
	for line := range strings.Lines(string(index)) {
		if words := strings.Fields(line); len(words) > 1 && (words[0] == "GET" || words[0] == "POST") {
			if !slices.Contains(methods[words[1]], words[0]) {
				t.Errorf("%s %s is not documented", words[0], words[1])
			}
		}
	}
}

// Every answer of the service's own endpoints fits its schema as well.
func TestPlainAnswers(t *testing.T) {
	d, base := readSpec(t, specification), service(t)
	for _, op := range d.operations() {
		if op.method != http.MethodGet || op.path == "/v1/allowed" || op.path == "/v1/data/charter/decision" {
			continue
		}
		status, media, body := send(t, base, example{operation: op})
		content := document.At(op.node, "responses", "200", "content", media)
		if status != "OK" || content == nil || len(body) == 0 {
			t.Errorf("%s: %s %s %s", op.path, status, media, body)
		}
	}
	if d.Text() != string(decisionapi.Specification()) {
		t.Error("the served document is another one")
	}
}

// Parameters and errors beyond the examples fit their schemas, too.
func TestFurtherAnswers(t *testing.T) {
	d, base := readSpec(t, specification), service(t)
	const read = `{"input":{"metric":"latency_p50","role":"auditor","operation":"read"}}`
	for _, c := range []struct{ method, path, query, body, status string }{
		{http.MethodPost, "/v1/data/charter/decision", "metrics=true&provenance=true", read, "200"},
		{http.MethodPost, "/v1/data/charter/decision", "explain=fails", read, "400"},
		{http.MethodPost, "/v1/data/charter/decision", "explain=full", read, "200"},
		{http.MethodPost, "/v1/batch/data/charter/decision", "metrics=true&provenance=true", `{"inputs":{"a":` + read[9:len(read)-1] + `}}`, "200"},
		{http.MethodPost, "/v1/check", "pretty=true", `[`, "400"},
		{http.MethodPost, "/access/v1/evaluation", "", `{"subject":{"type":"role","id":"auditor"},"action":{"name":"read"},"resource":{"type":"metric","id":"x"}}`, "200"},
	} {
		query, _ := url.ParseQuery(c.query)
		x := example{operation: operation{path: c.path, method: c.method}, query: query, body: c.body, media: "application/json"}
		status, media, body := send(t, base, x)
		if status != statusText(t, c.status) {
			t.Errorf("%s: %s %s", c.path, status, body)
			continue
		}
		if err := d.Fits(t, document.Decode(t, body), "paths", c.path, strings.ToLower(c.method), "responses", c.status, "content", media, "schema"); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Clients switch on the codes of errors: docs/api.md lists every one.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\tcode\w+ += "(\w+)"`)
	files, _ := filepath.Glob("../../internal/httpapi/decision/*.go")
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllSubmatch(source, -1) {
			found++
			if !strings.Contains(string(page), "`"+string(m[1])+"`") {
				t.Errorf("%s of %s is not in docs/api.md", m[1], file)
			}
		}
	}
	if found < 9 {
		t.Errorf("only %d codes were found", found)
	}
}
