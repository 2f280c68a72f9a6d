package decisionapi_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Routes of the embedding process let in whom they say, and no log tells who sent what
// must not be told.
func TestRoutesSayWhoGetsIn(t *testing.T) {
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, decisionapi.IdentityOf(r.Context()).Name+" "+string(body[:min(len(body), 1)]))
	})
	f := &fake{}
	base := start(t, f, func(o *decisionapi.Options) {
		o.InsecureSelfAsserted, o.MaxBody, o.MaxCheckBody = false, 100, 100
		o.Access = decisionapi.Access{
			Authenticate: func(r *http.Request) (*decisionapi.Identity, error) {
				switch token := r.Header.Get("Authorization"); token {
				case "":
					return nil, nil
				case "forged":
					return nil, errors.New("the token is not known")
				default:
					return &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "somebody", Scopes: []string{token}}, nil
				}
			},
			Routes: []wire.Route{
				{Method: http.MethodPost, Path: "/one", Scope: wire.ScopeAudit, Or: []string{wire.ScopeCommittee}, Handler: serve},
				{Method: http.MethodPost, Path: "/any", Scope: wire.AnyScope, Handler: serve, MaxBody: 1000},
				{Method: http.MethodPost, Path: "/guests", Scope: wire.AnyScope, Guests: true, Unlogged: true, Handler: serve},
				{Method: http.MethodPost, Path: "/open", Scope: wire.Public, Handler: serve},
			},
		}
	})
	for _, c := range []struct {
		path, token string
		body        int
		status      int
	}{
		{"/one", "", 0, 401},
		{"/one", "audit", 0, 200},
		{"/one", "committee", 0, 200},
		{"/one", "admin", 0, 403},
		{"/one", "audit", 101, 413},
		{"/any", "", 0, 401},
		{"/any", "metrics", 0, 200},
		{"/any", "metrics", 1000, 200},
		{"/any", "metrics", 1001, 413},
		{"/guests", "", 0, 200},
		{"/guests", "metrics", 0, 200},
		{"/guests", "forged", 0, 401},
		{"/open", "", 0, 200},
		{"/open", "forged", 0, 200},
	} {
		r := request(t, http.MethodPost, base+c.path, strings.Repeat("x", c.body))
		if c.token != "" {
			r.Header.Set("Authorization", c.token)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s as %q with %d bytes: %d %s", c.path, c.token, c.body, res.StatusCode, body)
		}
		if known := strings.HasPrefix(string(body), "somebody"); c.status == http.StatusOK && c.path != "/open" && known != (c.token != "") {
			t.Errorf("%s as %q: the handler is told of %q", c.path, c.token, body)
		}
	}
	for line := range strings.Lines(f.logged()) {
		private := strings.Contains(line, `"/guests"`)
		if told := strings.Contains(line, "remote"); told == private {
			t.Errorf("%s", line)
		}
		if private && strings.Contains(line, "somebody") {
			t.Errorf("%s", line)
		}
	}
}
