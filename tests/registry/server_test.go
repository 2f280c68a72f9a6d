package registry

import (
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/distribution"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/tests/releases"
)

// shelf is what charter-server has to hand out.
type shelf struct {
	mu      sync.Mutex
	release bundlesapi.Release
	changed chan struct{}
}

func (s *shelf) put(m *releases.Made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
	s.release = bundlesapi.Release{
		Archive: m.Archive, LayerDigest: m.Manifest.Layer.Digest, ReleaseDigest: m.Digest(), Statements: distribution.EncodeStatements(m.Statements),
	}
}

func (s *shelf) Current(r bundlesapi.Request) (bundlesapi.Release, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release, s.changed, r.Name == "charter"
}

// What charter-server serves is what nodes ask for: without a change nothing is sent,
// and with long polling a change is seen at once.
func TestBundlesOfCharterServer(t *testing.T) {
	first, second := made(t, 1), made(t, 2)
	s := &shelf{}
	s.put(first)
	api, err := bundlesapi.New(bundlesapi.Options{Source: s})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	e := echo.New()
	for _, route := range api.Routes() {
		e.Add(route.Method, route.Path, echo.WrapHandler(route.Handler))
	}
	server := httptest.NewServer(e)
	defer server.Close()

	from := ref(t, server.URL+"/bundles/charter")
	holds(t, from, first, len(first.Statements), distribution.Options{})
	downloads := 0
	source, err := distribution.Open(from, distribution.Options{Progress: func(string, int64, int64) { downloads++ }})
	if err != nil {
		t.Fatal(err)
	}
	known := distribution.Resolved{Digest: first.Digest(), Manifest: first.Manifest.Bytes(), Statements: first.Statements}
	got, err := source.Resolve(t.Context(), known, 0)
	if err != nil || !got.Unchanged {
		t.Fatalf("what is on disk: unchanged %t, %v", got.Unchanged, err)
	}
	downloads = 0
	if got, err = source.Resolve(t.Context(), got, 0); err != nil || !got.Unchanged || downloads != 0 {
		t.Errorf("unchanged %t after %d pieces of downloads, %v", got.Unchanged, downloads, err)
	}

	type answer struct {
		distribution.Resolved
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		r, err := source.Resolve(t.Context(), got, time.Minute)
		answered <- answer{r, err}
	}()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for tick := time.NewTicker(5 * time.Millisecond); api.Waiting() == 0; {
		select {
		case <-tick.C:
		case a := <-answered:
			t.Fatalf("did not wait: %+v, %v", a.Resolved, a.err)
		case <-deadline.C:
			t.Fatal("nobody waits")
		}
	}
	s.put(second)
	select {
	case a := <-answered:
		if a.err != nil || a.Digest != second.Digest() || len(a.Statements) != len(second.Statements) {
			t.Errorf("got %s with %d statements, %v", a.Digest, len(a.Statements), a.err)
		}
	case <-deadline.C:
		t.Fatal("nobody was woken")
	}
	if _, err := distribution.Fetch(t.Context(), ref(t, server.URL+"/bundles/other"), distribution.Options{}); err == nil {
		t.Error("a bundle that is not there")
	}
}
