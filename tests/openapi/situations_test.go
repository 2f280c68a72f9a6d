package openapi_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/app"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/policytest"
)

// An example with the extension x-situation is sent into that situation: to the
// server as a process serves it, in which callers prove who they are, or to a
// service that is in trouble.
func situations() map[string]func(t *testing.T, x *example) (base string) {
	as := func(name string) func(*testing.T, *example) string {
		return func(t *testing.T, x *example) string {
			x.bear(name)
			return guarded(t).url
		}
	}
	return map[string]func(*testing.T, *example) string{
		"nobody": func(t *testing.T, _ *example) string { return guarded(t).url },
		"edge-1": as("edge-1"), "gateway": as("gateway"), "operator": as("operator"),
		"busy":            busy,
		"another_charter": func(t *testing.T, x *example) string { return changed(t, x, "version: 1.0.0", "version: 1.0.1") },
		"broken_charter":  func(t *testing.T, x *example) string { return changed(t, x, "access: public", "acess: public") },
		"degraded":        degraded,
		"other_origin":    header("Origin", "https://example.com"),
		"compressed":      header("Content-Encoding", "br"),
		"padded":          padded,
		"failing":         deciding(func(context.Context) error { return errors.New("the cause, which is for the log") }),
		"slow":            deciding(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
		"crowded":         crowded,
		"no_policy":       trouble("no_policy", "no policy is active"),
		"shutting_down":   trouble("shutting_down", "the server is shutting down"),
	}
}

// Who is refused learns from the documented headers what to do about it.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for situation, want := range map[string]struct{ path, header, value string }{
		"nobody":   {"/v1/check", "WWW-Authenticate", `^Bearer realm="charter"$`},
		"operator": {"/v1/check", "WWW-Authenticate", `error="insufficient_scope", scope="check"`},
		"busy":     {"/v1/check", "Retry-After", `^[1-9][0-9]*$`},
		"crowded":  {"/v1/check/batch", "Retry-After", `^1$`},
	} {
		t.Run(situation, func(t *testing.T) {
			x := example{operation: operation{path: want.path, method: http.MethodPost}, situation: situation, body: `{"items":[]}`}
			base := x.meet(t)
			r, err := http.NewRequestWithContext(t.Context(), x.method, base+x.path, strings.NewReader(x.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = x.header
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close() // the header is there
			if got := res.Header.Get(want.header); !regexp.MustCompile(want.value).MatchString(got) {
				t.Errorf("%d %s: %q", res.StatusCode, want.header, got)
			}
		})
	}
}

// meet prepares the situation of an example and returns where to send it.
func (x *example) meet(t *testing.T) string {
	t.Helper()
	prepare := situations()[x.situation]
	if prepare == nil {
		t.Fatalf("there is no situation %q", x.situation)
	}
	x.header = http.Header{}
	return prepare(t, x)
}

func (x *example) bear(name string) { x.header.Set("Authorization", "Bearer "+name+"-token") }

// live is a server as a process serves it.
type live struct {
	url     string
	charter string // its path
}

// serve runs the server over a charter of its own, in the directory of the test,
// so that its path in messages is the same everywhere.
func serve(t *testing.T, change func(*app.Options)) live {
	t.Helper()
	text, err := os.ReadFile("charter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var tokens strings.Builder
	for name, rights := range map[string]string{
		"edge-1":   "scopes: [check], node: edge-1, roles: [node_operator], claims: [owns_node]",
		"edge-7":   "scopes: [check], node: edge-7, roles: [node_operator], claims: [owns_node]",
		"gateway":  "scopes: [check, assert]",
		"operator": "scopes: [admin]",

		"auditor":      "scopes: [audit]",
		"member":       "scopes: [committee]",
		"alertmanager": "scopes: [alerts]",
		"agent":        "scopes: [upload], node: edge-7",
	} {
		fmt.Fprintf(&tokens, "- {name: %s, sha256: %x, %s}\n", name, sha256.Sum256([]byte(name+"-token")), rights)
	}
	put(t, "charter.yaml", string(text))
	put(t, "tokens.yaml", tokens.String())
	o := app.Defaults()
	o.Charter, o.TokenFile, o.Listen, o.Watch = "charter.yaml", "tokens.yaml", "127.0.0.1:0", 0
	change(&o)
	s, err := app.New(t.Context(), app.CharterServer(app.Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint}), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	address, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return live{"http://" + address.String(), "charter.yaml"}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// guarded is the server whose callers have tokens.
func guarded(t *testing.T) live {
	t.Helper()
	return serve(t, func(*app.Options) {})
}

// whole is the server that believes everybody.
func whole(t *testing.T) string {
	t.Helper()
	return serve(t, func(o *app.Options) { o.TokenFile, o.InsecureSelfAsserted = "", true }).url
}

// busy is a server on which the caller has asked so much that it has to wait.
func busy(t *testing.T, x *example) string {
	t.Helper()
	s := serve(t, func(o *app.Options) { o.Rate = 1 })
	x.bear("gateway")
	batch := example{operation: operation{path: "/v1/check/batch", method: http.MethodPost}, header: x.header, body: `{"items":[{}` + strings.Repeat(",{}", 9_999) + `]}`}
	if status, _, body := send(t, s.url, batch); status != "OK" {
		t.Fatalf("%s %.300s", status, body)
	}
	return s.url
}

// changed is a server whose charter was changed since it was loaded.
func changed(t *testing.T, x *example, old, by string) string {
	t.Helper()
	s := guarded(t)
	text, err := os.ReadFile(s.charter)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%v: %q is not in the charter", err, old)
	}
	put(t, s.charter, strings.Replace(string(text), old, by, 1))
	x.bear("operator")
	return s.url
}

// degraded is a server that was told to load a charter with an error.
func degraded(t *testing.T, x *example) string {
	t.Helper()
	base := changed(t, x, "access: public", "acess: public")
	reload := example{operation: operation{path: "/v1/reload", method: http.MethodPost}, header: x.header}
	if status, _, body := send(t, base, reload); status != http.StatusText(http.StatusUnprocessableEntity) {
		t.Fatalf("%s %s", status, body)
	}
	return base
}

func header(name, value string) func(*testing.T, *example) string {
	return func(t *testing.T, x *example) string {
		x.header.Set(name, value)
		return service(t)
	}
}

// padded sends more white space than a question may have.
func padded(t *testing.T, x *example) string {
	t.Helper()
	x.body += strings.Repeat(" ", decisionapi.DefaultMaxCheckBody)
	return service(t)
}

// troubled is a service that cannot decide.
type troubled struct {
	decide func(context.Context) error
	status decisionapi.Status
}

func (s troubled) Decide(ctx context.Context, _ decision.Input) (decision.Decision, error) {
	return decision.Decision{}, s.decide(ctx)
}

func (s troubled) Status() decisionapi.Status { return s.status }

func (s troubled) serve(t *testing.T) string {
	t.Helper()
	h, err := decisionapi.New(decisionapi.Options{Decider: s, Reporter: s, InsecureSelfAsserted: true, DecideTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}

func deciding(decide func(context.Context) error) func(*testing.T, *example) string {
	return func(t *testing.T, _ *example) string { return troubled{decide: decide}.serve(t) }
}

func trouble(code, message string) func(*testing.T, *example) string {
	return func(t *testing.T, _ *example) string {
		return troubled{status: decisionapi.Status{Code: code, Message: message}}.serve(t)
	}
}

// crowded is a service that decides as many batches as it can at once.
func crowded(t *testing.T, _ *example) string {
	t.Helper()
	entered, release := make(chan struct{}, 100), make(chan struct{})
	base := troubled{decide: func(context.Context) error {
		entered <- struct{}{}
		<-release
		return nil
	}}.serve(t)
	done := make(chan struct{})
	others := max(2, runtime.GOMAXPROCS(0))
	for range others {
		go func() {
			defer func() { done <- struct{}{} }()
			body := strings.NewReader(`{"items":[{"metric":"m","role":"auditor","operation":"read"}]}`)
			if res, err := http.Post(base+"/v1/check/batch", "application/json", body); err == nil { //nolint:noctx // it ends with the server
				_ = res.Body.Close()
			}
		}()
		<-entered
	}
	t.Cleanup(func() {
		close(release)
		for range others {
			<-done
		}
	})
	return base
}
