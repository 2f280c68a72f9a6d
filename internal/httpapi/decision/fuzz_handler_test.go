package decisionapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// recorder is a Decider that keeps what it was asked, and allows it.
type recorder struct{ asked []decision.Input }

func (r *recorder) Decide(_ context.Context, in decision.Input) (decision.Decision, error) {
	r.asked = append(r.asked, in)
	return decision.Decision{
		Allow: true, Outcome: decision.Allowed, DecisionID: "d", Revision: "r", Clause: "c", Severity: "none", Reasons: []decision.Reason{}, Mode: decision.Enforce,
	}, nil
}

func (r *recorder) Status() Status { return Status{Charter: "example", Revision: "r"} }

// handler is the whole API over r.
func handler(f testing.TB, r *recorder, change ...func(*Options)) http.Handler {
	f.Helper()
	o := Options{
		Decider: r, Reporter: r, InsecureSelfAsserted: true, StreamIdle: time.Second,
		Now: func() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) },
	}
	for _, c := range change {
		c(&o)
	}
	h, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	return h
}

func localRequest(method, target string, body []byte) *http.Request {
	r := httptest.NewRequest(method, "http://localhost/", bytes.NewReader(body))
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	r.RemoteAddr = "127.0.0.1:4000"
	return r
}

// FuzzHandler sends anything to any route: no request is the server's fault,
// every refusal has a code and says what is wrong, every answer is one JSON
// value, and nothing is decided that is not a valid question.
func FuzzHandler(f *testing.F) {
	const question = `{"metric":"m","node":"n","role":"r","operation":"collect"}`
	const media = "application/json"
	for _, s := range []struct {
		method, target, media, body string
	}{
		{"POST", "/v1/check", media, question},
		{"POST", "/", "", question},
		{"POST", "/v1/check?pretty", "application/x-www-form-urlencoded", question},
		{"POST", "/v1/data/charter/decision?metrics&provenance=true&explain=off", media, `{"input":` + question + `}`},
		{"GET", "/v1/data/charter/decision?input=%7B%22metric%22:1%7D", "", ""},
		{"GET", "/v1/allowed?metric=m&node=n&labels=a,b", "", ""},
		{"POST", "/v1/check/batch", media, `{"common":{"role":"r"},"items":[` + question + `,7]}`},
		{"POST", "/v1/check/batch", "application/x-ndjson", question + "\n{}\n"},
		{"POST", "/v1/batch/data/charter/decision", media, `{"inputs":{"a":` + question + `},"common_input":{}}`},
		{"POST", "/access/v1/evaluations", media, `{"evaluations":[{}]}`},
		{"POST", "/access/v1/evaluation", media, `{"subject":{"type":"role","id":"r"},"action":{"name":"read"},"resource":{"type":"metric","id":"m"}}`},
		{"GET", "/.well-known/authzen-configuration", "", ""},
		{"GET", "/health?bundles&pretty", "", ""},
		{"PUT", "/nowhere/\x00", "\xff", "\xff"},
		{"GET", "/v1/allowed?a=%zz;b", "", ""},
		{"POST", "/v1/check", "text/plain; charset=\"", question},
		{"POST", "/v1/check", "application/json; charset=latin1", question},
	} {
		f.Add(s.method, s.target, s.media, []byte(s.body), false)
		f.Add(s.method, s.target, s.media, []byte(s.body), true)
	}
	asked := &recorder{}
	h := handler(f, asked)
	f.Fuzz(func(t *testing.T, method, target, media string, body []byte, compressed bool) {
		if _, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/", nil); err != nil || !strings.HasPrefix(target, "/") {
			return // net/http refuses it
		}
		if compressed {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write(body)
			_ = w.Close()
			body = b.Bytes()
		}
		r := localRequest(method, target, body)
		r.Header.Set("Content-Type", media)
		if compressed {
			r.Header.Set("Content-Encoding", "gzip")
		}
		asked.asked = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for _, in := range asked.asked {
			if err := in.Validate(); err != nil || in.Time != "2026-06-01T12:00:00Z" {
				t.Fatalf("decided %+v: %v", in, err)
			}
		}
		checkAnswer(t, w)
	})
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= http.StatusInternalServerError {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w.Code < http.StatusBadRequest || w.Body.Len() == 0 { // HEAD has no body
		return
	}
	if w.Body.Len() > 256<<10 {
		t.Fatalf("a refusal of %d bytes", w.Body.Len())
	}
	var e struct {
		Code, Message string
		Errors        *[]wire.Problem
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Message == "" || e.Errors == nil || !utf8.Valid(w.Body.Bytes()) {
		t.Fatalf("%d without the error shape: %q", w.Code, w.Body)
	}
	for _, p := range *e.Errors {
		if p.Code == "" || p.Message == "" {
			t.Fatalf("%d with a problem without words: %q", w.Code, w.Body)
		}
	}
}

// FuzzStream makes sure that every line of a stream is answered by one line, and
// that it is understood like a question that comes alone.
func FuzzStream(f *testing.F) {
	const question = `{"metric":"m","node":"n","role":"r","operation":"collect"}`
	for _, s := range []string{
		question, question + "\n\n" + question + "\r\n", "{\"common\":{\"role\":\"r\"}}\n{\"metric\":\"m\",\"operation\":\"read\"}\n7\n", "{\"common\":7}\n", "\n\n", "", "{\"common\":{}} {}\n",
		strings.Repeat(" ", 1025) + "\n" + question, "\xff\n" + question, question + question + "\n", `{"common":{}}` + "\n" + `{"common":{}}`,
	} {
		f.Add([]byte(s))
	}
	asked := &recorder{}
	const longest = 1 << 10
	h := handler(f, asked, func(o *Options) { o.MaxCheckBody = longest })
	f.Fuzz(func(t *testing.T, body []byte) {
		r := localRequest(http.MethodPost, batchPath, body)
		r.Header.Set("Content-Type", ndjson)
		asked.asked = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			checkAnswer(t, w)
			if len(asked.asked) > 0 {
				t.Fatalf("%q was refused, and %+v decided", body, asked.asked)
			}
			return
		}
		lines := slices.Collect(strings.Lines(string(body)))
		lines = slices.DeleteFunc(lines, func(l string) bool { return len(l) <= longest && strings.TrimSpace(l) == "" })
		answers := slices.Collect(strings.Lines(w.Body.String()))
		if len(lines) == len(answers)+1 && strings.Contains(lines[0], commonKey) {
			lines = lines[1:]
			if common(t, body, lines, answers) {
				return
			}
		}
		if len(lines) != len(answers) && !utf8.Valid(body) {
			return // white space is counted otherwise there
		}
		if len(lines) != len(answers) {
			t.Fatalf("%q: %d lines, %d answers: %s", body, len(lines), len(answers), w.Body)
		}
		next := 0
		for i, line := range lines {
			var a struct {
				Error *wire.Error
				Allow bool
			}
			if err := json.Unmarshal([]byte(answers[i]), &a); err != nil || (a.Error == nil) != a.Allow {
				t.Fatalf("%q: %s: %v", line, answers[i], err)
			}
			want, err := decision.ParseInput([]byte(line))
			if a.Error != nil {
				if err == nil && want.Time == "" && len(line) < longest && strings.Count(line, "[")+strings.Count(line, "{") < maxDepth {
					t.Fatalf("%q: refused with %s", line, answers[i])
				}
				continue
			}
			got := asked.asked[next]
			next++
			if got.Time = ""; err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: decided %+v, alone it is %+v, %v", line, got, want, err)
			}
		}
	})
}

// common reports that a stream with common fields has an answer for each line;
// what they mean is FuzzBatch's.
func common(t *testing.T, body []byte, lines, answers []string) bool {
	t.Helper()
	for _, a := range answers {
		if !json.Valid([]byte(a)) {
			t.Fatalf("%q: %s", body, a)
		}
	}
	return len(lines) == len(answers)
}

// FuzzLocal makes sure that with self-asserted identity only requests that are
// meant for this machine pass, and none from a page of another origin.
func FuzzLocal(f *testing.F) {
	for _, s := range [][3]string{
		{"localhost:8000", "", ""},
		{"127.0.0.1", "http://127.0.0.1", "same-origin"},
		{"[::1]:80", "", "none"},
		{"evil.example", "", ""},
		{"localhost.", "", ""},
		{"127.1", "", ""},
		{"localhost", "null", ""},
		{"localhost", "http://localhost.evil.example", ""},
		{"localhost", "", "cross-site"},
		{"[::ffff:127.0.0.1]", "", ""},
		{"127.0.0.1.nip.io", "", ""},
		{"localhost@evil", "", ""},
		{"::1", "", ""},
		{"", "", ""},
		{"LOCALHOST", "", "same-site"},
		{"localhost:80:80", "", ""},
		{"[localhost]", "", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	asked := &recorder{}
	h := handler(f, asked)
	f.Fuzz(func(t *testing.T, host, origin, site string) {
		r := localRequest(http.MethodPost, "/v1/check", []byte(`{"metric":"m","node":"n","role":"r","operation":"collect"}`))
		r.Host = host
		for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		asked.asked = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			checkAnswer(t, w)
			return
		}
		if !thisMachine(host) {
			t.Fatalf("Host %q was taken for this machine", host)
		}
		if site != "" && site != "same-origin" && site != "none" {
			t.Fatalf("Sec-Fetch-Site %q passed", site)
		}
		if origin != "" && site == "" {
			if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, host) {
				t.Fatalf("Origin %q passed for Host %q", origin, host)
			}
		}
	})
}

// thisMachine is another way to read a Host header: a name or address before at
// most one port, addresses of version 6 with or without brackets.
func thisMachine(host string) bool {
	name := host
	if end := strings.LastIndexByte(host, ']'); end > 0 && host[0] == '[' {
		name = host[1:end]
	} else if strings.Count(host, ":") == 1 {
		name, _, _ = strings.Cut(host, ":")
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(name, "."), "localhost")
}
