package monitoring

import (
	"crypto/tls"
	"path/filepath"
	"testing"

	"github.com/westworld-charter/charter/tests/authority"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// mesh is the authority of a test with a directory for what it issues.
type mesh struct {
	authority.Authority
	dir  string
	file string // PEM of the certificate
}

func newMesh(t *testing.T) mesh {
	t.Helper()
	m := mesh{Authority: authority.New(t, "mesh"), dir: t.TempDir()}
	m.file = file.Write(t, filepath.Join(m.dir, "ca.pem"), m.PEM())
	return m
}

// issue makes a certificate: for this machine when node is "", else for a node. The
// files are NAME.pem and NAME.key.
func (m mesh) issue(t *testing.T, name, node string) (pair tls.Certificate, cert, key string) {
	t.Helper()
	l := m.Server(t)
	if node != "" {
		l = m.Node(t, node)
	}
	return l.Pair, file.Write(t, filepath.Join(m.dir, name+".pem"), l.Cert), file.Write(t, filepath.Join(m.dir, name+".key"), l.Key)
}

// run starts a program that trusts the authority and no other.
func (m mesh) run(t *testing.T, path string, args ...string) *process.Process {
	t.Helper()
	return process.Start(t, process.Options{Env: []string{"SSL_CERT_FILE=" + m.file, "SSL_CERT_DIR=" + m.dir}}, path, args...)
}
