package hostile

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Timeouts that the server is given, so that the attacks do not take long.
const (
	headerTimeout = 2 * time.Second
	readTimeout   = 4 * time.Second
	idleTimeout   = 3 * time.Second
	writeTimeout  = 5 * time.Second
)

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

// token is accepted by the server that speaks TLS.
const token = "hostile-test-token"

// server is a charter-server in a process of its own.
type server struct {
	address     string // of decisions
	diagnostics string // URL
	roots       *x509.CertPool
}

// build makes the program once for all servers.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "charter-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/charter-server").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// start serves the charter of these tests until the test ends.
func start(t *testing.T, program string, args ...string) *server {
	t.Helper()
	s := &server{address: free(t)}
	diagnostics := free(t)
	s.diagnostics = "http://" + diagnostics
	var log bytes.Buffer // read when the process has ended
	cmd := exec.Command(program, append([]string{
		"--charter", "charter.yaml", "--listen", s.address, "--diagnostics", diagnostics, "--data", t.TempDir(), "--watch", "0", "--log-level", "warn",
		"--timeout-read-header", headerTimeout.String(), "--timeout-read", readTimeout.String(),
		"--timeout-idle", idleTimeout.String(), "--timeout-write", writeTimeout.String(), "--timeout-stream", readTimeout.String(),
	}, args...)...)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have died
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended: %v", err)
		}
		if t.Failed() || log.Len() > 64<<10 {
			t.Errorf("the server logged %d bytes: %.5000s", log.Len(), log.String())
		}
	})
	eventually(t, "the server is healthy", func() error {
		_, err := s.scrape(t)
		return err
	})
	return s
}

// free returns a loopback address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was served
	return l.Addr().String()
}

// eventually polls until there is no error, or patience ends.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never came true: %s: %v", what, err)
		}
	}
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
func secured(t *testing.T, program string) *server {
	t.Helper()
	dir := t.TempDir()
	roots := certificate(t, dir)
	put(t, dir, "tokens.yaml", fmt.Appendf(nil, "- {name: gateway, sha256: %x, scopes: [check, assert, metrics, admin]}\n", sha256.Sum256([]byte(token))))
	s := start(t, program, "--tls-cert", filepath.Join(dir, "server.pem"), "--tls-key", filepath.Join(dir, "server.key"), "--token-file", filepath.Join(dir, "tokens.yaml"))
	s.roots = roots
	return s
}

// certificate writes a certificate for loopback and its key into dir.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hostile"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	put(t, dir, "server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return roots
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
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
