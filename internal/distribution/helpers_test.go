package distribution

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/release"
)

// newRelease returns a release whose archive differs by revision, with n statements.
func newRelease(t testing.TB, revision string, n int) Release {
	t.Helper()
	b, err := bundle.New(map[string][]byte{
		".manifest":    fmt.Appendf(nil, `{"revision":%q,"roots":["charter"],"rego_version":1}`, revision),
		"charter.yaml": []byte("# " + revision + "\n"),
		"data.json":    []byte(`{"charter":{}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := b.WriteTar(&archive); err != nil {
		t.Fatal(err)
	}
	layer := archive.Bytes()
	manifest := release.NewManifest(release.Digest(layer), int64(len(layer)), revision)
	r := Release{Manifest: manifest, Layer: layer}
	for i := range n {
		r.Statements = append(r.Statements, newStatement(t, manifest.Digest(), i))
	}
	return r
}

// newStatement returns what looks like a Sigstore bundle. Nothing here looks at the
// signature.
func newStatement(t testing.TB, digest string, i int) []byte {
	t.Helper()
	s, err := release.NewStatement(digest, release.SignatureType, map[string]int{"number": i})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"mediaType":%q,"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":"AA=="}]}}`,
		BundleType, base64.StdEncoding.EncodeToString(payload), release.PayloadType)
	return []byte(text)
}

// counted is a server that remembers what it was asked.
type counted struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // METHOD path status
	bytes    int64    // of bodies of answers
}

// serve runs a handler and counts.
func serve(t testing.TB, h http.Handler) *counted {
	t.Helper()
	c := &counted{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.requests = append(c.requests, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, rec.status))
			c.bytes += rec.bytes
		}()
		h.ServeHTTP(rec, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// reset forgets the requests and returns them.
func (c *counted) reset() (requests []string, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	requests, bytes = c.requests, c.bytes
	c.requests, c.bytes = nil, 0
	return requests, bytes
}

type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) { r.status = status; r.ResponseWriter.WriteHeader(status) }

func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// inProcess returns a registry, with the referrers API or without.
func inProcess(api bool) http.Handler {
	return registry.New(registry.WithReferrersSupport(api), registry.Logger(log.New(io.Discard, "", 0)))
}

// ref returns a reference into a server.
func (c *counted) ref(t testing.TB, rest string) Ref {
	t.Helper()
	return mustRef(t, "oci://"+strings.TrimPrefix(c.URL, "http://")+"/"+rest)
}

func mustRef(t testing.TB, text string) Ref {
	t.Helper()
	ref, err := ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// quiet returns options that neither read the user's configuration nor retry.
func quiet(t testing.TB) Options {
	return Options{DockerConfig: filepath.Join(t.TempDir(), "config.json"), Limits: Limits{Retries: -1}}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	if got := codeOf(err); got != code {
		t.Fatalf("code %s, want %s: %v", got, code, err)
	}
}

func publish(t testing.TB, ref Ref, r Release, o Options) Result {
	t.Helper()
	result, err := Push(t.Context(), ref, r.Manifest, r.Layer, r.Statements, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func open(t testing.TB, ref Ref, o Options) Source {
	t.Helper()
	source, err := Open(ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func resolve(t testing.TB, source Source, previous Resolved) Resolved {
	t.Helper()
	r, err := source.Resolve(t.Context(), previous, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sameRelease checks that a reference holds exactly a release.
func sameRelease(t testing.TB, ref Ref, o Options, want Release) {
	t.Helper()
	got, err := Fetch(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Manifest.Digest() != want.Manifest.Digest() || !bytes.Equal(got.Layer, want.Layer) || !sameStatements(got.Statements, want.Statements) {
		t.Errorf("%s holds %s with %d bytes and %d statements, want %s, %d and %d", ref, got.Manifest.Digest(), len(got.Layer), len(got.Statements),
			want.Manifest.Digest(), len(want.Layer), len(want.Statements))
	}
}

func decode(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func manifestFor(layer []byte) release.Manifest {
	return release.NewManifest(release.Digest(layer), int64(len(layer)), "r")
}
