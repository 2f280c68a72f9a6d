package releases

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// Repository is where releases are published.
const Repository = "charter/policy"

// Registry is an OCI registry on this machine.
type Registry struct {
	Host string // and port

	mu   sync.Mutex
	next http.Handler
	lie  func(w http.ResponseWriter, r *http.Request, truth http.Handler)
	gets map[string]int
	asks map[string]int
}

// NewRegistry starts a registry. It ends with the test.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{gets: map[string]int{}, asks: map[string]int{}}
	r.next = registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.Host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	lie := r.lie
	r.asks[req.URL.Path]++
	if req.Method == http.MethodGet {
		r.gets[req.URL.Path]++
	}
	r.mu.Unlock()
	if lie != nil {
		lie(w, req, r.next)
		return
	}
	r.next.ServeHTTP(w, req)
}

// Lie has lie answer instead of the registry, whose truth it can ask; nil ends it.
func (r *Registry) Lie(lie func(w http.ResponseWriter, req *http.Request, truth http.Handler)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lie = lie
}

// Gets returns how often a path that contains part was asked for with GET.
func (r *Registry) Gets(part string) int { return r.sum(r.gets, part) }

// Asks returns how often a path that contains part was asked for, in any way.
func (r *Registry) Asks(part string) int { return r.sum(r.asks, part) }

func (r *Registry) sum(counts map[string]int, part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for path, count := range counts {
		if strings.Contains(path, part) {
			n += count
		}
	}
	return n
}

// Ref returns the reference of a tag.
func (r *Registry) Ref(t testing.TB, tag string) distribution.Ref {
	t.Helper()
	ref, err := distribution.ParseRef("oci://" + r.Host + "/" + Repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Source returns the source of a reference.
func (r *Registry) Source(t testing.TB, ref distribution.Ref) distribution.Source {
	t.Helper()
	source, err := distribution.Open(ref, distribution.Options{Limits: distribution.Limits{Retries: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// Publish pushes a release and has the tag name it.
func (r *Registry) Publish(t testing.TB, tag string, m *Made) {
	t.Helper()
	manifest, err := release.ParseManifest(m.Manifest.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := distribution.Push(t.Context(), r.Ref(t, tag), manifest, m.Archive, m.Statements, distribution.Options{}); err != nil {
		t.Fatal(err)
	}
}
