package bundlesapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/wire"
)

// shelf is a Source of one bundle that can be replaced, for one node perhaps.
type shelf struct {
	mu       sync.Mutex
	all, own Release // own is what edge-1 gets, unless it has no archive
	changed  chan struct{}
}

func newShelf(r Release) *shelf { return &shelf{all: r, changed: make(chan struct{})} }

func (s *shelf) Current(r Request) (Release, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Node == "edge-1" && s.own.Archive != nil {
		return s.own, s.changed, r.Name == "production"
	}
	return s.all, s.changed, r.Name == "production" && s.all.Archive != nil
}

func (s *shelf) put(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

func release(n int) Release {
	return Release{
		Archive: fmt.Appendf(nil, "archive %d", n), LayerDigest: fmt.Sprintf("sha256:%064d", n),
		Statements: fmt.Appendf(nil, "{\"n\":%d}\n", n), ReleaseDigest: fmt.Sprintf("sha256:f%063d", n),
	}
}

// nodeOf takes the node from a header, which is where the test puts it.
type nodeOf struct{}

func newAPI(t *testing.T, s Source, o Options) (*API, http.Handler) {
	t.Helper()
	o.Source = s
	o.Caller = func(ctx context.Context) Caller {
		node, _ := ctx.Value(nodeOf{}).(string)
		return Caller{Node: node}
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a, a.Routes()[0].Handler
}

func get(path string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const path = "/bundles/production"

func TestServe(t *testing.T) {
	unsigned := release(2)
	unsigned.Statements = nil
	_, signed := newAPI(t, newShelf(release(1)), Options{})
	_, bare := newAPI(t, newShelf(unsigned), Options{})
	etag := `"` + release(1).LayerDigest + `"`
	for name, c := range map[string]struct {
		handler http.Handler
		request *http.Request
		status  int
		body    string
		etag    string
	}{
		"archive":            {signed, get(path), 200, "archive 1", etag},
		"statements":         {signed, get(path + StatementsSuffix), 200, "{\"n\":1}\n", `"sha256:e88edd45a1d2a1a0e4d32f0d4b1f4ac2b8b2a7e5f4a35f5db9e4bf5ea3e25aab"`},
		"nothing new":        {signed, get(path, "If-None-Match", etag), 304, "", etag},
		"one of many":        {signed, get(path, "If-None-Match", `"x", `+etag), 304, "", etag},
		"weak":               {signed, get(path, "If-None-Match", "W/"+etag), 304, "", etag},
		"any":                {signed, get(path, "If-None-Match", "*"), 304, "", etag},
		"something else":     {signed, get(path, "If-None-Match", `"sha256:0"`), 200, "archive 1", etag},
		"no wait when new":   {signed, get(path, "If-None-Match", `"x"`, "Prefer", "modes=snapshot,delta;wait=60"), 200, "archive 1", etag},
		"unsigned":           {bare, get(path + StatementsSuffix), 404, "not_found", ""},
		"another name":       {signed, get("/bundles/staging"), 404, "not_found", ""},
		"no name":            {signed, get("/bundles/"), 404, "not_found", ""},
		"only a suffix":      {signed, get("/bundles/" + StatementsSuffix), 404, "not_found", ""},
		"a path":             {signed, get("/bundles/production/x"), 404, "not_found", ""},
		"a very long name":   {signed, get("/bundles/" + strings.Repeat("x", 300)), 404, "not_found", ""},
		"not UTF-8":          {signed, get("/bundles/%ff"), 404, "not_found", ""},
		"unknown parameters": {signed, get(path + "?revision=1"), 400, "invalid_request", ""},
	} {
		w := ask(c.handler, c.request)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || c.status == 304 && w.Body.Len() > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if got := w.Header().Get("ETag"); c.etag != got && name != "statements" {
			t.Errorf("%s: ETag %s", name, got)
		}
		if w.Code < 400 && (w.Header().Get("Cache-Control") != "private, no-cache" || w.Header().Get(ReleaseHeader) == "") {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	if w := ask(signed, get(path)); w.Header().Get("Content-Type") != TypeBundle || w.Header().Get("Content-Length") != "9" {
		t.Errorf("%v", w.Header())
	}
}

func TestHead(t *testing.T) {
	a, h := newAPI(t, newShelf(release(1)), Options{})
	defer a.Close()
	server := httptest.NewServer(h)
	defer server.Close()
	etag := `"` + release(1).LayerDigest + `"`
	for has, status := range map[string]int{"": 200, etag: 304} {
		r, err := http.NewRequest(http.MethodHead, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-None-Match", has)
		r.Header.Set("Prefer", "wait=60") // HEAD does not wait
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if w.StatusCode != status || w.Header.Get("ETag") != etag || status == 200 && w.ContentLength != 9 {
			t.Errorf("%q: %d %v", has, w.StatusCode, w.Header)
		}
	}
}

// poll asks in the background as OPA does, and sends the answer.
func poll(ctx context.Context, h http.Handler, path, etag, node string) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	r := get(path, "If-None-Match", etag, "Prefer", "modes=snapshot,delta;wait=60").WithContext(context.WithValue(ctx, nodeOf{}, node))
	go func() { answer <- ask(h, r) }()
	return answer
}

func TestLongPoll(t *testing.T) {
	etag := `"` + release(1).LayerDigest + `"`
	for name, c := range map[string]struct {
		path, node string
		end        func(a *API, s *shelf, cancel func())
		status     int
		body       string
		took       time.Duration
	}{
		"nothing comes":           {path, "", func(*API, *shelf, func()) {}, 304, "", time.Minute},
		"a release":               {path, "", func(_ *API, s *shelf, _ func()) { s.put(func(s *shelf) { s.all = release(2) }) }, 200, "archive 2", 0},
		"one for this node":       {path, "edge-1", func(_ *API, s *shelf, _ func()) { s.put(func(s *shelf) { s.own = release(3) }) }, 200, "archive 3", 0},
		"one for another node":    {path, "edge-2", func(_ *API, s *shelf, _ func()) { s.put(func(s *shelf) { s.own = release(3) }) }, 304, "", time.Minute},
		"statements alone":        {path, "", func(_ *API, s *shelf, _ func()) { s.put(func(s *shelf) { s.all.Statements = []byte("{}\n") }) }, 304, "", time.Minute},
		"shutdown":                {path, "", func(a *API, _ *shelf, _ func()) { a.Close() }, 304, "", 0},
		"the client goes away":    {path, "", func(_ *API, _ *shelf, cancel func()) { cancel() }, 200, "", 0}, // what a recorder says that was not written to
		"the bundle is withdrawn": {path, "", func(_ *API, s *shelf, _ func()) { s.put(func(s *shelf) { s.all = Release{} }) }, 404, `{"code":"not_found","message":"there is no bundle \"production\" here","errors":[]}` + "\n", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(release(1))
			a, h := newAPI(t, s, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			begun := time.Now()
			answer := poll(ctx, h, c.path, etag, c.node)
			synctest.Wait()
			if a.Waiting() != 1 {
				t.Errorf("%s: %d wait", name, a.Waiting())
			}
			c.end(a, s, cancel)
			w := <-answer
			if w.Code != c.status || w.Body.String() != c.body || time.Since(begun) != c.took || a.Waiting() != 0 {
				t.Errorf("%s: %d %q after %s, %d wait", name, w.Code, w.Body, time.Since(begun), a.Waiting())
			}
		})
	}
}

// Statements about the same archive wake who waits for statements.
func TestLongPollStatements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(release(1))
		_, h := newAPI(t, s, Options{})
		etag := ask(h, get(path+StatementsSuffix)).Header().Get("ETag")
		answer := poll(t.Context(), h, path+StatementsSuffix, etag, "")
		synctest.Wait()
		s.put(func(s *shelf) { s.all.Statements = []byte("{}\n") })
		if w := <-answer; w.Code != 200 || w.Body.String() != "{}\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := newAPI(t, newShelf(release(1)), Options{MaxWaiters: 2, MaxWait: time.Second})
		etag := `"` + release(1).LayerDigest + `"`
		first, second := poll(t.Context(), h, path, etag, ""), poll(t.Context(), h, path, etag, "")
		synctest.Wait()
		w := <-poll(t.Context(), h, path, etag, "")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), wire.CodeTooMany) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		begun := time.Now()
		<-first
		<-second
		if took := time.Since(begun); took != time.Second { // MaxWait, not the minute that was asked for
			t.Errorf("waited %s", took)
		}
		if a.Waiting() != 0 {
			t.Errorf("%d wait", a.Waiting())
		}
	})
}

// A long poll outlives the timeouts of the server, over HTTP/1 and HTTP/2, for many at
// once.
func TestLongPollOutlivesTimeouts(t *testing.T) {
	const many, timeout = 100, 500 * time.Millisecond
	for version := 1; version <= 2; version++ {
		s := newShelf(release(1))
		a, h := newAPI(t, s, Options{})
		server := httptest.NewUnstartedServer(h)
		server.Config.ReadTimeout, server.Config.WriteTimeout = timeout, timeout
		if server.EnableHTTP2 = version == 2; server.EnableHTTP2 {
			server.Config.ReadTimeout = 0 // which is for handshakes, too
			server.StartTLS()
			if w, err := server.Client().Head(server.URL + path); err != nil { // then there is a connection for all
				t.Fatal(err)
			} else {
				_ = w.Body.Close()
			}
		} else {
			server.Start()
		}
		answers := make(chan error, many)
		for range many {
			go func() { answers <- await(t.Context(), server, version) }()
		}
		for full := (<-chan time.Time)(nil); ; {
			if full == nil && a.Waiting() == many {
				full = time.After(2 * timeout)
			}
			select {
			case <-time.After(timeout / 50):
				continue
			case err := <-answers:
				t.Fatalf("HTTP/%d: %v", version, err)
			case <-full:
			}
			break
		}
		s.put(func(s *shelf) { s.all = release(2) })
		for range many {
			if err := <-answers; err != nil {
				t.Errorf("HTTP/%d: %v", version, err)
			}
		}
		server.Close()
	}
}

// await asks for another release than the first, and wants the second.
func await(ctx context.Context, server *httptest.Server, version int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("If-None-Match", `"`+release(1).LayerDigest+`"`)
	r.Header.Set("Prefer", "modes=snapshot,delta;wait=60")
	w, err := server.Client().Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close() //nolint:errcheck // only read
	if body, err := io.ReadAll(w.Body); err != nil || string(body) != "archive 2" || w.ProtoMajor != version {
		return fmt.Errorf("%s %q: %w", w.Proto, body, err)
	}
	return nil
}

func TestPreferredWait(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"modes=snapshot,delta;wait=60": time.Minute, "wait=5": 5 * time.Second, "respond-async, wait=10": 10 * time.Second,
		`Wait = "7"`: 7 * time.Second, "": 0, "wait": 0, "wait=": 0, "wait=-1": 0, "wait=1e9": 0, "wait=99999999999999999999": 0, "await=5": 0,
	} {
		if got := preferredWait(http.Header{"Prefer": {value}}); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	s := newShelf(release(1))
	a, err := New(Options{Source: s})
	if err != nil {
		f.Fatal(err)
	}
	a.Close() // nobody waits
	f.Add("/bundles/production.sigstore.json", `"x", W/"y"`, "modes=snapshot,delta;wait=5")
	f.Add("/bundles/", "*", "wait=")
	f.Fuzz(func(t *testing.T, path, has, prefer string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		r.Header["If-None-Match"], r.Header["Prefer"] = []string{has}, []string{prefer}
		if wait := preferredWait(r.Header); wait < 0 {
			t.Fatalf("wait %s", wait)
		}
		w := ask(a.Routes()[0].Handler, r)
		if w.Code != 200 && w.Code != 304 && w.Code != 404 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{{}, {Source: newShelf(Release{}), MaxWait: -1}, {Source: newShelf(Release{}), MaxWaiters: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
