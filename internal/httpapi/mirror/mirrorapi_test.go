package mirrorapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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
	who := &mirrorapi.Caller{Node: "rack 7/edge-1", Scopes: []string{"check", "report"}}
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
		"too large":        {http.MethodPost, "/v1/nodes/edge-1/cosignature", strings.Repeat(" ", mirror.MaxCosignature+1), 413, "body_too_large"},
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
	who := &mirrorapi.Caller{Node: "edge-1", Scopes: []string{"report"}}
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

// A token that uploads decisions for a node, or asks for it, is no identity of its ledger:
// whoever steals one pins no key.
func TestOtherScopesOfTheNodeDoNotDo(t *testing.T) {
	who := &mirrorapi.Caller{Node: "edge-1", Scopes: []string{"check", "upload"}}
	s := server(t, who)
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 2)
	x, err := l.Reader().Since(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	client := mirror.NewClient(s.URL, "edge-1", s.Client(), nil)
	_, held := client.Held(t.Context())
	_, extended := client.Extend(t.Context(), mirror.Upload{Key: signer.VerifierKey(), Extension: x})
	cosigned := client.Cosigned(t.Context(), mirror.Cosignature{})
	for what, err := range map[string]error{"status": held, "upload": extended, "cosignature": cosigned} {
		if refused, ok := errors.AsType[*mirror.Error](err); !ok || refused.Code != "foreign_node" {
			t.Errorf("%s: %v, want foreign_node", what, err)
		}
	}
}

// A node that uploads slowly has one place, whatever it begins beside.
func TestOneUploadOfANodeAtATime(t *testing.T) {
	who := &mirrorapi.Caller{Node: "edge-1", Scopes: []string{"report"}}
	s := server(t, who)
	begin := func() (*io.PipeWriter, chan error) {
		slow, body := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/nodes/edge-1/ledger", slow)
			if err == nil {
				var response *http.Response
				if response, err = s.Client().Do(r); err == nil {
					err = response.Body.Close()
				}
			}
			ended <- err
		}()
		_, _ = body.Write([]byte("{")) // what goes wrong, ended says
		return body, ended
	}
	body, ended := begin()
	client := mirror.NewClient(s.URL, "edge-1", s.Client(), nil)
	for end := time.Now().Add(10 * time.Second); ; {
		_, err := client.Extend(t.Context(), mirror.Upload{})
		refused, ok := errors.AsType[*mirror.Error](err)
		if ok && refused.Code == "too_many_requests" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a second one: %v", err)
		}
		select {
		case <-ended: // the other was there first, and this one was refused
			body, ended = begin()
		default:
		}
	}
	if err := errors.Join(body.Close(), <-ended); err != nil {
		t.Error(err)
	}
	if _, err := client.Extend(t.Context(), mirror.Upload{}); err == nil || strings.Contains(err.Error(), "too_many") {
		t.Errorf("after it: %v", err)
	}
}
