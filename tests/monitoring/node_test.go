package monitoring

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/program"
	"github.com/westworld-charter/charter/tests/releases"
)

// keyPassword is that of the key which signs state.
const keyPassword = "correct-horse"

// stateKey makes the key that the server signs state with.
func (s *stack) stateKey(t *testing.T) (path string) {
	t.Helper()
	private, public, err := signing.GenerateKey([]byte(keyPassword))
	if err != nil {
		t.Fatal(err)
	}
	file.Write(t, s.path("trust", "state.pub"), string(public))
	file.Write(t, s.path("secrets", "state-password"), keyPassword)
	return file.Write(t, s.path("secrets", "state.key"), string(private))
}

// release signs the charter of the mesh as a release, beside a trust policy for it.
func (s *stack) release(t *testing.T) (archive string) {
	t.Helper()
	b := releases.Compile(t, s.path("charter.yaml"))
	key := releases.TrustedKey(t)
	key.TrustFile(t, s.path("trust"), "state: {keys: [state.pub]}\n")
	m := releases.Release{Bundle: b, Sequence: 1, Key: key}.Make(t)
	file.Write(t, s.path("releases", "bundle.tar.gz.sigstore.json"), string(bytes.Join(m.Statements, []byte("\n")))+"\n")
	return file.Write(t, s.path("releases", "bundle.tar.gz"), string(m.Archive))
}

// follow runs a node of the mesh: it obeys the server's state, reports to
// it, and is then shown a release whose signatures are gone.
func (s *stack) follow(t *testing.T) {
	t.Helper()
	archive := s.release(t)
	_, cert, key := s.ca.issue(t, "scout", "scout")
	s.ca.run(t, program.Path(t, "charter-node"), "--bundle", archive, "--trust", s.path("trust", "trust.yaml"), "--listen", s.node,
		"--data", s.path("scout"), "--node", "scout", "--poll", "500ms", "--state-bundle", s.url+"/bundles/state", "--server", s.url, "--server-ca", s.ca.file,
		"--server-cert", cert, "--server-key", key, "--report-interval", "1s", "--insecure-self-asserted", "--log-level", "warn")
	poll.Until(t, "the node runs the release", func() error {
		text, err := fetch.Text(t.Context(), http.DefaultClient, "POST", "http://"+s.node+"/v1/check", `{"metric":"home_location","node":"scout","role":"node_operator","operation":"collect"}`)
		if err == nil && !strings.Contains(text, `"forbidden"`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	if err := os.Remove(archive + ".sigstore.json"); err != nil {
		t.Fatal(err)
	}
}
