package distribution

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// bundleServer serves a release as the bundle API of OPA does.
type bundleServer struct {
	mu      sync.Mutex
	release Release
	changed chan struct{} // closed when the release changes
	waiting chan string   // the Prefer header of a request that waits
	seen    []http.Header
}

func newBundleServer(r Release) *bundleServer {
	return &bundleServer{release: r, changed: make(chan struct{}), waiting: make(chan string, 10)}
}

func (s *bundleServer) set(r Release) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release = r
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *bundleServer) current(r *http.Request) (Release, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Header.Clone())
	return s.release, s.changed
}

func (s *bundleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	release, changed := s.current(r)
	if strings.HasSuffix(r.URL.Path, ".sigstore.json") {
		body := EncodeStatements(release.Statements)
		answer(w, r, fmt.Sprintf(`"%d-%s"`, len(release.Statements), release.Manifest.Digest()), body)
		return
	}
	etag := `"` + release.Manifest.Layer.Digest + `"`
	if prefer := r.Header.Get("Prefer"); strings.Contains(prefer, "wait=") && r.Header.Get("If-None-Match") == etag {
		s.waiting <- prefer
		<-changed
		release, _ = s.current(r)
		etag = `"` + release.Manifest.Layer.Digest + `"`
	}
	answer(w, r, etag, release.Layer)
}

func answer(w http.ResponseWriter, r *http.Request, etag string, body []byte) {
	w.Header().Set("Etag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
	_, _ = w.Write(body)
}

func TestAServerOfBundles(t *testing.T) {
	first, second := newRelease(t, "r1", 2), newRelease(t, "r2", 1)
	server := newBundleServer(first)
	c, o := serve(t, server), quiet(t)
	ref := mustRef(t, c.URL+"/bundles/charter")
	source := open(t, ref, o)
	got := resolve(t, source, Resolved{})
	if got.Digest != first.Manifest.Digest() || !sameStatements(got.Statements, first.Statements) {
		t.Fatalf("got %s with %d statements", got.Digest, len(got.Statements))
	}
	c.reset()
	if layer, err := source.Layer(t.Context(), got); err != nil || !bytes.Equal(layer, first.Layer) {
		t.Fatalf("layer: %v", err)
	}
	if requests, _ := c.reset(); len(requests) != 0 {
		t.Errorf("the archive was downloaded twice: %q", requests)
	}

	again := resolve(t, source, got)
	requests, size := c.reset()
	want := []string{"GET /bundles/charter 304", "GET /bundles/charter.sigstore.json 304"}
	if !again.Unchanged || !slices.Equal(requests, want) || size != 0 {
		t.Errorf("unchanged %t with %d bytes in %q, want 304 twice", again.Unchanged, size, requests)
	}

	server.set(second)
	if changed := resolve(t, source, again); changed.Unchanged || changed.Digest != second.Manifest.Digest() || len(changed.Statements) != 1 {
		t.Errorf("the second release was not seen: %+v", changed)
	}
	second.Statements = append(second.Statements, newStatement(t, second.Manifest.Digest(), 5))
	server.set(second)
	if changed := resolve(t, source, again); len(changed.Statements) != 2 {
		t.Errorf("%d statements, want the new one too", len(changed.Statements))
	}
	sameRelease(t, ref, o, second)
}

func TestAServerAfterARestart(t *testing.T) {
	r := newRelease(t, "r1", 2)
	c := serve(t, newBundleServer(r))
	source := open(t, mustRef(t, c.URL+"/bundles/charter"), quiet(t))
	got := resolve(t, source, Resolved{Digest: r.Manifest.Digest(), Manifest: r.Manifest.Bytes(), Statements: r.Statements})
	requests, _ := c.reset()
	if !got.Unchanged || requests[0] != "GET /bundles/charter 304" {
		t.Errorf("unchanged %t, %q: the archive on disk was downloaded again", got.Unchanged, requests)
	}
	if layer, err := source.Layer(t.Context(), got); err != nil || !bytes.Equal(layer, r.Layer) {
		t.Errorf("and cannot be had when it is needed after all: %v", err)
	}
}

func TestLongPolling(t *testing.T) {
	first, second := newRelease(t, "r1", 1), newRelease(t, "r2", 1)
	server := newBundleServer(first)
	c, o := serve(t, server), quiet(t)
	o.Limits.Stall = 200 * time.Millisecond // waiting is no stalling
	source := open(t, mustRef(t, c.URL+"/bundles/charter"), o)
	got := resolve(t, source, Resolved{})
	type result struct {
		Resolved
		err error
	}
	answered := make(chan result, 1)
	go func() {
		r, err := source.Resolve(t.Context(), got, 20*time.Second)
		answered <- result{r, err}
	}()
	if prefer := <-server.waiting; prefer != "modes=snapshot;wait=20" {
		t.Errorf("Prefer: %s", prefer)
	}
	select {
	case r := <-answered:
		t.Fatalf("answered before anything changed: %+v", r)
	default:
	}
	server.set(second)
	if r := <-answered; r.err != nil || r.Digest != second.Manifest.Digest() {
		t.Errorf("got %s (%v), want the release that came meanwhile", r.Digest, r.err)
	}
}

// A server with too many who wait is asked without waiting.
func TestNoPlaceToWait(t *testing.T) {
	r := newRelease(t, "r1", 1)
	c := serve(t, tampered(newBundleServer(r), func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Header.Get("Prefer"), "wait=") {
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	}))
	source := open(t, mustRef(t, c.URL+"/charter"), quiet(t))
	if got, err := source.Resolve(t.Context(), resolve(t, source, Resolved{}), time.Minute); err != nil || !got.Unchanged {
		t.Errorf("unchanged %t, %v", got.Unchanged, err)
	}
}

// Statements may be put there before or after the archive.
func TestAReleaseThatChangesBetweenTwoRequests(t *testing.T) {
	first, second := newRelease(t, "r1", 1), newRelease(t, "r2", 1)
	server := newBundleServer(first)
	switched := false
	c := serve(t, tampered(server, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".sigstore.json") && !switched {
			switched = true
			server.set(second)
		}
		return false
	}))
	got := resolve(t, open(t, mustRef(t, c.URL+"/charter.tar.gz"), quiet(t)), Resolved{})
	if got.Digest != second.Manifest.Digest() || !sameStatements(got.Statements, second.Statements) {
		t.Errorf("the archive of one release with the statements of another: %s", got.Digest)
	}
}

func TestAServerOfFiles(t *testing.T) {
	dir, o := t.TempDir(), quiet(t)
	r := newRelease(t, "r1", 2)
	publish(t, mustRef(t, filepath.Join(dir, "charter.tar.gz")), r, o)
	c := serve(t, http.FileServer(http.Dir(dir)))
	ref := mustRef(t, c.URL+"/charter.tar.gz")
	sameRelease(t, ref, o, r)
	if err := os.Remove(filepath.Join(dir, "charter.tar.gz.sigstore.json")); err != nil {
		t.Fatal(err)
	}
	r.Statements = nil
	sameRelease(t, ref, o, r)
}

func TestWhatAServerCannotPassOff(t *testing.T) {
	r := newRelease(t, "r1", 1)
	for name, tc := range map[string]struct {
		archive, statements func(http.Handler, http.ResponseWriter, *http.Request)
		code                string
	}{
		"an endless archive":       {archive: endless, code: CodeTooLarge},
		"endless statements":       {statements: endless, code: CodeTooLarge},
		"a web page":               {archive: text("<html>"), code: CodeBadArchive},
		"nothing":                  {archive: text(""), code: CodeBadArchive},
		"a web page as statements": {statements: text("<html>"), code: CodeBadStatements},
		"a number as statements":   {statements: text("1"), code: CodeBadStatements},
		"too many statements":      {statements: text(many(201)), code: CodeTooManyStatements},
		"a large statement":        {statements: text(`{"a":"` + strings.Repeat("x", 2<<20) + `"}`), code: CodeTooLarge},
		"no archive":               {archive: status(http.StatusNotFound), code: CodeNotFound},
		"who are you":              {archive: status(http.StatusUnauthorized), code: CodeUnauthorized},
		"no statements for you":    {statements: status(http.StatusForbidden), code: CodeUnauthorized},
		"trouble":                  {archive: status(http.StatusServiceUnavailable), code: CodeUnreachable},
		"trouble with statements":  {statements: status(http.StatusServiceUnavailable), code: CodeUnreachable},
		"304 for nothing":          {archive: status(http.StatusNotModified), code: CodeBadResponse},
		"half an archive":          {archive: cutOff, code: CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			honest := newBundleServer(r)
			c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
				instead := tc.archive
				if strings.HasSuffix(r.URL.Path, ".sigstore.json") {
					instead = tc.statements
				}
				if instead != nil {
					instead(honest, w, r)
				}
				return instead != nil
			}))
			o := quiet(t)
			o.Limits.Layer = 1 << 20
			_, err := Fetch(t.Context(), mustRef(t, c.URL+"/charter"), o)
			wantCode(t, err, tc.code)
		})
	}
}

func text(body string) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(_ http.Handler, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return b.String()
}

func TestTheLayerIsWhatTheManifestNames(t *testing.T) {
	first, second := newRelease(t, "r1", 1), newRelease(t, "r2", 1)
	server := newBundleServer(first)
	c, o := serve(t, server), quiet(t)
	file := filepath.Join(t.TempDir(), "charter.tar.gz")
	publish(t, mustRef(t, file), first, o)
	for _, ref := range []Ref{mustRef(t, c.URL+"/charter"), mustRef(t, file)} {
		old := resolve(t, open(t, ref, o), Resolved{})
		server.set(second)
		if ref.kind == kindArchive {
			publish(t, ref, second, o)
		}
		_, err := open(t, ref, o).Layer(t.Context(), old)
		wantCode(t, err, CodeLayerDigestMismatch)
		old.Digest = second.Manifest.Digest()
		_, err = open(t, ref, o).Layer(t.Context(), old)
		wantCode(t, err, CodeManifestDigestMismatch)
	}
}

func TestWhoAsks(t *testing.T) {
	server := newBundleServer(newRelease(t, "r1", 1))
	c, o := serve(t, server), quiet(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "one\n")
	o.TokenFile, o.UserAgent, o.Header = token, "charter-node/1", http.Header{"Charter-Node": {"n1"}}
	source := open(t, mustRef(t, c.URL+"/charter"), o)
	resolve(t, source, Resolved{})
	write(t, token, "two\n")
	resolve(t, source, Resolved{})
	first, last := server.seen[0], server.seen[len(server.seen)-1]
	if first.Get("Authorization") != "Bearer one" || last.Get("Authorization") != "Bearer two" {
		t.Errorf("tokens %q and %q, want the file read again", first.Get("Authorization"), last.Get("Authorization"))
	}
	if last.Get("User-Agent") != "charter-node/1" || last.Get("Charter-Node") != "n1" || last.Get("Prefer") != "modes=snapshot" {
		t.Errorf("header: %v", last)
	}

	// Elsewhere the token is not shown.
	var elsewhere http.Header
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere = r.Header.Clone() }))
	defer thief.Close()
	moved := serve(t, http.RedirectHandler(thief.URL+"/charter", http.StatusFound))
	_, err := open(t, mustRef(t, moved.URL+"/charter"), o).Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeBadArchive)
	if elsewhere == nil || elsewhere.Get("Authorization") != "" || elsewhere.Get("Charter-Node") != "" {
		t.Errorf("another server was shown who asks: %v", elsewhere)
	}

	write(t, token, "two words")
	_, err = source.Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeIO)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
