// Package opaclient_test sends what clients of OPA send to charter-server and to a stock
// `opa run --server` with the same bundle, and compares the answers.
package opaclient_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// request is an entry of corpus.yaml.
type request struct {
	Name, On, Method, Path, Theirs, Body string

	JSON     any `yaml:"json"`
	Header   map[string]string
	Gzip     bool
	Text     bool   // compare the bodies as text, layout included
	Sort     string // the member by which the result, a list, is sorted
	Timeless bool   // our server stamps the time, so stock OPA is told it
	Ours     *struct {
		Status    int
		Code, Why string
	}
}

func corpus(t *testing.T) []request {
	t.Helper()
	text, err := os.ReadFile("corpus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Requests []request }
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file.Requests
}

type reply struct {
	status int
	header http.Header
	text   string
}

// send sends r to one of the servers, without following redirects.
func (r *request) send(t *testing.T, client *http.Client, base string, body []byte) reply {
	t.Helper()
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	if r.Gzip {
		body = compressed(t, body)
	}
	q, err := http.NewRequestWithContext(t.Context(), method, base+r.Path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if r.JSON != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.Header {
		q.Header.Set(name, value)
	}
	if r.Gzip {
		q.Header.Set("Content-Encoding", "gzip")
	}
	once := *client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := once.Do(q)
	if err != nil {
		return reply{text: err.Error()} // stock OPA drops connections, too
	}
	defer res.Body.Close() //nolint:errcheck // the body was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

func compressed(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// payload is the body of r. With a time, the question in it has that time.
func (r *request) payload(t *testing.T, at string) []byte {
	t.Helper()
	if r.JSON == nil {
		return []byte(r.Body)
	}
	text, err := json.Marshal(r.JSON)
	if err != nil || at == "" {
		return text
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	question := whole
	if input, ok := whole["input"].(map[string]any); ok {
		question = input
	}
	question["time"] = at
	text, err = json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStockClientsGetTheAnswersOfOPA(t *testing.T) {
	bundle := production(t)
	opa := stock(t, judge.Path(t, "opa"), bundle)
	public, diagnostics := ours(t, charterFile(t))
	for _, r := range corpus(t) {
		t.Run(r.Name, func(t *testing.T) {
			base, at := diagnostics, ""
			if r.On == "public" {
				base = public
			}
			if r.Timeless {
				at = moment
			}
			got := r.send(t, http.DefaultClient, base, r.payload(t, ""))
			asked := r
			if r.Theirs != "" {
				asked.Path = r.Theirs
			}
			if at != "" && r.JSON == nil {
				asked.Path = strings.Replace(r.Path, "%7D", "%2C%22time%22%3A%22"+at+"%22%7D", 1)
			}
			want := asked.send(t, opa.http, "http://opa", r.payload(t, at))
			judgeReply(t, &r, got, want)
		})
	}
}

// judgeReply compares our reply with that of OPA, or with what it is on purpose.
func judgeReply(t *testing.T, r *request, got, want reply) {
	t.Helper()
	if media := got.header.Get("Content-Type"); media != "application/json" {
		t.Errorf("Content-Type %q", media)
	}
	if r.Ours == nil {
		if got.status != want.status {
			t.Fatalf("status %d, OPA's is %d\nours %.500s\nOPA  %.500s", got.status, want.status, got.text, want.text)
		}
		if r.Text && got.text != want.text {
			t.Errorf("ours %.2000s\nOPA  %.2000s", got.text, want.text)
		}
		a, b := normal(t, r, got.text), normal(t, r, want.text)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("ours %.3000s\nOPA  %.3000s", show(a), show(b))
		}
		return
	}
	if got.status != r.Ours.Status {
		t.Errorf("status %d, documented is %d (%s): %.500s", got.status, r.Ours.Status, r.Ours.Why, got.text)
	}
	if got.status == want.status && reflect.DeepEqual(normal(t, r, got.text), normal(t, r, want.text)) {
		t.Errorf("it does not differ from OPA any more: %s", r.Ours.Why)
	}
	var fault struct {
		Code, Message string
		Errors        []any
	}
	if err := json.Unmarshal([]byte(got.text), &fault); err != nil || fault.Code != r.Ours.Code || got.status >= 400 && (fault.Message == "" || fault.Errors == nil) {
		t.Errorf("error %q, documented is %q: %.500s", fault.Code, r.Ours.Code, got.text)
	}
	if got.status == http.StatusMethodNotAllowed && !strings.Contains(got.header.Get("Allow"), "GET") {
		t.Errorf("Allow: %q", got.header.Get("Allow"))
	}
}

// normal decodes a body without what two servers cannot have in common: ids, what
// program they are, how long things took, and the order in which OPA lists the
// variables of an event.
func normal(t *testing.T, r *request, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	// OPA puts the name of a bundle before its files, and its directory before both.
	text = strings.NewReplacer(bundleName+"/"+bundleName+"/charter/", "charter/", bundleName+"/charter/", "charter/").Replace(text)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var whole map[string]any
	if err := dec.Decode(&whole); err != nil {
		return text // not JSON at all
	}
	delete(whole, "decision_id")
	delete(whole, "source") // what Go adds to decisions
	if d, ok := whole["result"].(map[string]any); ok && r.Timeless {
		delete(d, "source")
		reasons, _ := d["reasons"].([]any)
		for _, reason := range reasons {
			delete(reason.(map[string]any), "source")
		}
	}
	if p, ok := whole["provenance"].(map[string]any); ok {
		for _, name := range []string{"version", "build_commit", "build_timestamp", "build_hostname"} {
			if _, ok := p[name].(string); !ok {
				t.Errorf("provenance lacks %s", name)
			}
			delete(p, name)
		}
	}
	if m, ok := whole["metrics"].(map[string]any); ok {
		whole["metrics"] = names(m)
	}
	if list, ok := whole["errors"].([]any); ok {
		whole["errors"] = sorted(list) // OPA leaves them in any order,
		if len(list) == 0 {
			delete(whole, "errors") // and none out
		}
	}
	events, _ := whole["explanation"].([]any)
	for i, e := range events {
		switch event := e.(type) {
		case map[string]any:
			event["locals"] = sorted(event["locals"])
		case string:
			events[i] = strings.Join(strings.Fields(event), " ") // the layout depends on the names of files
		}
	}
	if list, ok := whole["result"].([]any); ok && r.Sort != "" {
		slices.SortFunc(list, func(a, b any) int {
			return strings.Compare(a.(map[string]any)[r.Sort].(string), b.(map[string]any)[r.Sort].(string))
		})
	}
	return whole
}

// names are those of the metrics that do not depend on what a server keeps between
// requests.
func names(m map[string]any) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool {
		return name != "timer_rego_input_parse_ns" && name != "timer_rego_query_eval_ns"
	})
}

func sorted(list any) any {
	entries, _ := list.([]any)
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = show(e)
	}
	slices.Sort(texts)
	return texts
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
