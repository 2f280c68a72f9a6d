package fleet

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/tests/releases"
)

// repository is where releases are, in the registry.
const repository = "policy/fleet"

// registries are one registry under many addresses of this machine, one for each node.
type registries struct {
	port string

	mu    sync.Mutex
	blobs map[string]int // downloads, by "host digest"; guarded by mu
	bytes map[string]int64
	cut   map[string]bool // hosts whose network is cut; guarded by mu
}

func startRegistry(t *testing.T) *registries {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "0.0.0.0:0") // all of 127.0.0.0/8 among them
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &registries{port: port, blobs: map[string]int{}, bytes: map[string]int64{}, cut: map[string]bool{}}
	backend := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.serve(w, q, backend) })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return r
}

func (r *registries) serve(w http.ResponseWriter, q *http.Request, backend http.Handler) {
	host, _, _ := net.SplitHostPort(q.Host)
	r.mu.Lock()
	cut := r.cut[host]
	r.mu.Unlock()
	if cut || !net.ParseIP(host).IsLoopback() {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	counted := &counter{ResponseWriter: w}
	backend.ServeHTTP(counted, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes[host] += counted.n
	if _, digest, ok := strings.Cut(q.URL.Path, "/blobs/"); ok && q.Method == http.MethodGet {
		r.blobs[host+" "+digest]++
	}
}

// counter counts the bytes of an answer.
type counter struct {
	http.ResponseWriter

	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// downloads is how often a host has got a blob.
func (r *registries) downloads(host, digest string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blobs[host+" "+digest]
}

func (r *registries) sent(host string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes[host]
}

// partition cuts the network of hosts, or heals it.
func (r *registries) partition(cut bool, hosts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range hosts {
		r.cut[h] = cut
	}
}

// ref is the reference of the channel under a host.
func (r *registries) ref(host string) string {
	return fmt.Sprintf("oci://%s/%s:production", net.JoinHostPort(host, r.port), repository)
}

// publish makes a release the newest of the channel.
func (r *registries) publish(ctx context.Context, t *testing.T, m *releases.Made) {
	t.Helper()
	ref, err := distribution.ParseRef(r.ref("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := distribution.Push(ctx, ref, m.Manifest, m.Archive, m.Statements, distribution.Options{}); err != nil {
		t.Fatal(err)
	}
}
