package hostile

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/authority"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// Timeouts that the server is given, so that the attacks do not take long.
const (
	headerTimeout = 2 * time.Second
	readTimeout   = 4 * time.Second
	idleTimeout   = 3 * time.Second
	writeTimeout  = 5 * time.Second
)

// token is accepted by the server that speaks TLS.
const token = "hostile-test-token"

// server is a charter-server in a process of its own.
type server struct {
	address     string // of decisions
	diagnostics string // URL
	roots       *x509.CertPool
}

// start serves the charter of these tests until the test ends.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{address: process.FreeAddress(t)}
	diagnostics := process.FreeAddress(t)
	s.diagnostics = "http://" + diagnostics
	p := process.Start(t, process.Options{}, program.Path(t, "charter-server"), append([]string{
		"--charter", "charter.yaml", "--listen", s.address, "--diagnostics", diagnostics, "--data", t.TempDir(), "--watch", "0", "--log-level", "warn",
		"--timeout-read-header", headerTimeout.String(), "--timeout-read", readTimeout.String(),
		"--timeout-idle", idleTimeout.String(), "--timeout-write", writeTimeout.String(), "--timeout-stream", readTimeout.String(),
	}, args...)...)
	t.Cleanup(func() {
		if err := p.End(os.Interrupt); err != nil {
			t.Errorf("the server ended: %v", err)
		}
		if n := len(p.Log()); n > 64<<10 {
			t.Errorf("the server logged %d bytes", n)
		}
	})
	p.Ready(t, func() error {
		_, err := s.scrape(t)
		return err
	})
	return s
}

// usage is what a server has taken, from its own metrics.
type usage struct {
	goroutines, files int
	heap              int // bytes alive after a garbage collection
}

var sample = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|go_memstats_heap_alloc_bytes) (\S+)$`)

func (s *server) scrape(t *testing.T) (usage, error) {
	t.Helper()
	for _, path := range []string{"/debug/pprof/heap?gc=1", "/metrics"} { // the first collects garbage
		text, err := fetch(t, s.diagnostics+path)
		if err != nil || path != "/metrics" {
			if err != nil {
				return usage{}, err
			}
			continue
		}
		var u usage
		for _, m := range sample.FindAllStringSubmatch(text, -1) {
			value, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return usage{}, err
			}
			switch m[1] {
			case "go_goroutines":
				u.goroutines = int(value)
			case "process_open_fds":
				u.files = int(value)
			default:
				u.heap = int(value)
			}
		}
		if u.goroutines == 0 || u.files == 0 || u.heap == 0 {
			return usage{}, fmt.Errorf("metrics lack what is looked for: %.2000s", text)
		}
		return u, nil
	}
	return usage{}, nil
}

// fetch gets a page over a connection of its own, which does not count
// afterwards.
func fetch(t *testing.T, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r.Close = true
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %.200s", url, res.StatusCode, text)
	}
	return string(text), err
}

// secured serves over TLS, to whoever has the token.
func secured(t *testing.T) *server {
	t.Helper()
	dir, ca := t.TempDir(), authority.New(t, "hostile")
	own := ca.Server(t)
	s := start(t, "--tls-cert", file.Write(t, filepath.Join(dir, "server.pem"), own.Cert), "--tls-key", file.Write(t, filepath.Join(dir, "server.key"), own.Key),
		"--token-file", file.Write(t, filepath.Join(dir, "tokens.yaml"), fmt.Sprintf("- {name: gateway, sha256: %x, scopes: [check, assert, metrics, admin]}\n", sha256.Sum256([]byte(token)))))
	s.roots = ca.Pool()
	return s
}

// dial opens a connection, which the test may close, and which is closed when it
// ends.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// secure opens a connection with TLS.
func (s *server) secure(t *testing.T) net.Conn {
	t.Helper()
	return tls.Client(s.dial(t), &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
}
