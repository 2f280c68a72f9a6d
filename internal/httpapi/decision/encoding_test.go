package decisionapi_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGzipBodies(t *testing.T) {
	base := startNames(t, &fake{}, true)
	for path, body := range map[string]string{
		"/v1/check": question, "/": question, "/v1/data/charter/decision": `{"input":` + question + `}`,
		"/v1/check/batch": `{"items":[` + question + `]}`, "/access/v1/evaluations": `{"evaluations":[]}`,
	} {
		header := []string{"Content-Type", "application/json", "Content-Encoding", "GZIP"}
		plain := post(t, base+path, body, header[:2]...)
		got := post(t, base+path, gzipped(t, body), header...)
		if got.status != plain.status || len(got.body) != len(plain.body) { // ids differ
			t.Errorf("%s: %d %s, uncompressed %d %s", path, got.status, got.body, plain.status, plain.body)
		}
	}
	bomb := gzipped(t, strings.Repeat(" ", 64<<10+1))
	parts := strings.Repeat(gzipped(t, ""), 60_000) // nothing, in more than a MiB
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"fits":             {gzipped(t, question+strings.Repeat(" ", 64<<10-len(question))), 200, ""},
		"bomb":             {bomb, 413, "body_too_large"},
		"parts of nothing": {parts, 413, "body_too_large"},
		"not gzip":         {question, 400, "invalid_request"},
		"nothing":          {"", 400, "invalid_request"},
		"cut off":          {gzipped(t, question)[:40], 400, "invalid_request"},
		"damaged":          {strings.Replace(gzipped(t, question), "latency", "latencx", 1)[:30] + "xxxxxxxxxxxx", 400, "invalid_request"},
	} {
		got := post(t, base+"/v1/check", c.body, "Content-Encoding", "gzip")
		if got.status != c.status || c.code != "" && got.fault(t).Code != c.code {
			t.Errorf("%s: %d %.200s", name, got.status, got.body)
		}
	}
}

// Nobody makes the server decompress before it is known who that is.
func TestGzipBodiesOfStrangers(t *testing.T) {
	base := start(t, &fake{}, func(o *decisionapi.Options) {
		o.InsecureSelfAsserted = false
		o.Access.Authenticate = func(*http.Request) (*decisionapi.Identity, error) { return nil, nil }
	})
	if got := post(t, base+"/v1/check", "not gzip", "Content-Encoding", "gzip"); got.status != http.StatusUnauthorized {
		t.Errorf("%d %s", got.status, got.body)
	}
}
