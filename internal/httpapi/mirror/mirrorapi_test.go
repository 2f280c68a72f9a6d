package mirrorapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	mirrorapi "github.com/westworld-charter/charter/internal/httpapi/mirror"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/mirror"
)

func nobody(context.Context) mirrorapi.Caller { return mirrorapi.Caller{} }

// server serves mirrors of an empty directory to a caller.
func server(t *testing.T, who *mirrorapi.Caller) *httptest.Server {
	t.Helper()
	m, err := mirror.Open(mirror.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := mirrorapi.Routes(mirrorapi.Options{Mirrors: m, Caller: func(context.Context) mirrorapi.Caller { return *who }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.Method+" "+strings.ReplaceAll(r.Path, ":node", "{node}"), r.Handler)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A node behind a firewall has its ledger on the server, whatever its name is.
func TestPushOverHTTP(t *testing.T) {
	who := &mirrorapi.Caller{Node: "rack 7/edge-1"}
	s := server(t, who)
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 300)
	client := mirror.NewClient(s.URL, who.Node, s.Client(), nil)
	for range 2 {
		p := &mirror.Pusher{Ledger: l.Reader, Key: signer.VerifierKey, Server: client}
		if n, err := p.Push(t.Context()); n != 300 || err != nil {
			t.Fatalf("%d entries, %v", n, err)
		}
	}
	if n, err := client.Held(t.Context()); n != 300 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestRefusals(t *testing.T) {
	who := &mirrorapi.Caller{Node: "edge-1", Scopes: []string{"report"}}
	s := server(t, who)
	tests := map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"another node":     {http.MethodPost, "/v1/nodes/edge-2/ledger", `{}`, 403, "foreign_node"},
		"a node of nobody": {http.MethodPost, "/v1/nodes//ledger", `{}`, 404, ""},
		"not JSON":         {http.MethodPost, "/v1/nodes/edge-1/ledger", `{`, 400, mirror.CodeInvalidUpload},
		"unknown field":    {http.MethodPost, "/v1/nodes/edge-1/ledger", `{"keys":""}`, 400, mirror.CodeInvalidUpload},
		"no key":           {http.MethodPost, "/v1/nodes/edge-1/ledger", `{"key":"x","extension":{}}`, 400, mirror.CodeInvalidKey},
		"no copy":          {http.MethodGet, "/v1/nodes/edge-1/ledger", ``, 404, "not_found"},
		"no ledger":        {http.MethodPost, "/v1/nodes/edge-1/cosignature", `{}`, 503, mirror.CodeUnavailable},
		"too large":        {http.MethodPost, "/v1/nodes/edge-1/cosignature", strings.Repeat(" ", mirror.MaxCosignature+1), 413, "too_large"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			client := *s.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var text strings.Builder
			if err := response.Write(&text); err != nil {
				t.Fatal(err)
			}
			if tt.code != "" && (response.StatusCode != tt.status || !strings.Contains(text.String(), `"code":"`+tt.code+`"`)) {
				t.Errorf("%s\nwant %d %s", text.String(), tt.status, tt.code)
			}
		})
	}
}

// What refuses on the server is told apart by the node.
func TestClientKeepsCodes(t *testing.T) {
	who := &mirrorapi.Caller{Node: "edge-1"}
	s := server(t, who)
	signer, thief := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	client := mirror.NewClient(s.URL, "edge-1", s.Client(), nil)
	for i, key := range []ledger.Signer{signer, thief} {
		l := ledgertest.NewLog(t, nil, key, nil)
		ledgertest.Append(t, l, 2+i)
		_, err := (&mirror.Pusher{Ledger: l.Reader, Key: key.VerifierKey, Server: client}).Push(t.Context())
		refused, ok := errors.AsType[*mirror.Error](err)
		if i == 0 && err != nil || i == 1 && (!ok || refused.Code != mirror.CodeKeyMismatch) {
			t.Errorf("upload %d: %v", i, err)
		}
	}
}
