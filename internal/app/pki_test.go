package app

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/authority"
)

// fortress is a running server with TLS.
type fortress struct {
	*process
	dir string
	ca  authority.Authority
}

// fortified launches a server with a certificate of its authority, which vouches
// for clients, too.
func fortified(t *testing.T, args ...string) *fortress {
	t.Helper()
	f := &fortress{dir: t.TempDir(), ca: authority.New(t, "mesh")}
	put(t, f.path("tokens.yaml"), tokenFile())
	own := f.ca.Server(t)
	put(t, f.path("server.pem"), own.Cert)
	put(t, f.path("server.key"), own.Key)
	put(t, f.path("clients.pem"), f.ca.PEM())
	all := []string{"--charter", example1, "--tls-cert", f.path("server.pem"), "--tls-key", f.path("server.key"), "--watch", "0"}
	for _, a := range args {
		all = append(all, strings.ReplaceAll(a, "$DIR", f.dir))
	}
	f.process = launch(t, all...)
	return f
}

func (f *fortress) path(name string) string { return filepath.Join(f.dir, name) }

// client speaks to the server, with a certificate when there is one. Its
// connections are its own.
func (f *fortress) client(t *testing.T, certs ...tls.Certificate) *http.Client {
	t.Helper()
	return f.ca.Client(t, certs...)
}

// send asks and returns status 0 and the error when there is no answer.
func send(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close() //nolint:errcheck // the body was read
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}
