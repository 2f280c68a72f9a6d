package wire

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func asked(t *testing.T, query string) *http.Request {
	t.Helper()
	return &http.Request{URL: &url.URL{Path: "/", RawQuery: query}}
}

func TestParameters(t *testing.T) {
	for _, c := range []struct{ query, want, message string }{
		{"", "", ""},
		{"node=a&limit=3&kind=x&kind=y", "", ""},
		{"nodes=a", `400 invalid_request unknown_field "nodes"`, `unknown parameter "nodes"; kind, node, limit are known`},
		{"node=a&node=b", `400 invalid_request invalid_value "node"`, "node is given twice"},
		{"node=%zz", `400 invalid_request invalid_value ""`, "the query is malformed"},
		{"a;b", `400 invalid_request invalid_value ""`, "the query is malformed"},
		{strings.Repeat("x", 500) + "=", `400 invalid_request unknown_field "` + strings.Repeat("x", maxEcho) + `…"`, ""},
	} {
		_, err := Lists(asked(t, c.query), []string{"kind"}, "node", "limit")
		if said(err) != c.want || c.message != "" && err.Error() != "invalid request: "+c.message {
			t.Errorf("%.60s: %s, %v", c.query, said(err), err)
		}
	}
	if _, err := Parameters(asked(t, "x=1")); err == nil || !strings.HasSuffix(err.Error(), `unknown parameter "x"; there are none here`) {
		t.Error(err)
	}
	if _, err := Parameters(asked(t, "x=1&x=2"), "x"); err == nil {
		t.Error("a parameter is given twice")
	}
}

// Each way of reading a parameter: the value, or where the refusal says that it is wrong.
func TestValues(t *testing.T) {
	reads := map[string]func(url.Values) (any, error){
		"state":  func(q url.Values) (any, error) { return OneOf(q, "state", "on", "off") },
		"n":      func(q url.Values) (any, error) { return Number("n", q.Get("n"), 7) },
		"limit":  func(q url.Values) (any, error) { return Limit(q, 5, 10) },
		"before": func(q url.Values) (any, error) { return Before(q) },
		"since": func(q url.Values) (any, error) {
			at, err := Time(q, "since")
			return at.UTC().Format(time.RFC3339Nano), err
		},
	}
	for _, c := range []struct {
		name, value string
		want        any // nil is refused
	}{
		{"state", "", ""},
		{"state", "on", "on"},
		{"state", "up", nil},
		{"n", "", uint64(7)},
		{"n", "0", uint64(0)},
		{"n", "9223372036854775807", uint64(1<<63 - 1)},
		{"n", "9223372036854775808", nil},
		{"n", "-1", nil},
		{"n", "+1", nil},
		{"n", "1.5", nil},
		{"n", "007", nil},
		{"limit", "", 5},
		{"limit", "1", 1},
		{"limit", "10", 10},
		{"limit", "0", nil},
		{"limit", "11", nil},
		{"limit", "x", nil},
		{"before", "", uint64(0)},
		{"before", "3", uint64(3)},
		{"before", "0", nil},
		{"before", "x", nil},
		{"since", "", "0001-01-01T00:00:00Z"},
		{"since", "2026-06-01T14:00:00.5+02:00", "2026-06-01T12:00:00.5Z"},
		{"since", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z"},
		{"since", "9999-12-31T23:59:59Z", "2262-04-11T23:47:16.854775807Z"},
		{"since", "2026-06-01", nil},
		{"since", "yesterday", nil},
	} {
		got, err := reads[c.name](url.Values{c.name: {c.value}})
		if c.want == nil && !strings.HasSuffix(said(err), ` invalid_value "`+c.name+`"`) || c.want != nil && (err != nil || got != c.want) {
			t.Errorf("%s=%s: %v, %v, want %v", c.name, c.value, got, err, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	w, q := httptest.NewRecorder(), url.Values{"node": {"a b"}, "before": {"9"}, "kind": {"x", "y"}}
	const want = "/v1/x?before=3&kind=x&kind=y&node=a+b"
	if got := Next(w, "/v1/x", q, "before", "3"); got != want || w.Header().Get("Link") != "<"+want+`>; rel="next"` || q.Get("before") != "9" {
		t.Errorf("%s, %v, %v", got, w.Header(), q)
	}
}

func TestSegment(t *testing.T) {
	for _, c := range []struct{ path, suffix, want string }{
		{"/v1/nodes/edge-1", "", "edge-1"},
		{"/v1/nodes/edge-1/restore", "/restore", "edge-1"},
		{"/v1/nodes/rack%207%2F%C3%BC/restore", "/restore", "rack 7/ü"},
		{"/v1/nodes/edge-1/restore", "", ""},
		{"/v1/nodes/edge-1/x/restore", "/restore", ""},
		{"/v1/nodes/edge-1", "/restore", ""},
		{"/v1/nodes/", "", ""},
		{"/v1/nodes//restore", "/restore", ""},
		{"/v1/nodes", "", ""},
		{"/v1/fleet/edge-1", "", ""},
	} {
		u, err := url.Parse(c.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Segment(&http.Request{URL: u}, "/v1/nodes", c.suffix)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && said(err) != "404 not_found" {
			t.Errorf("%s %s: %q, %v", c.path, c.suffix, got, err)
		}
	}
}
