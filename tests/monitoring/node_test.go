package monitoring

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// keyPassword is that of keys which sign releases and state.
const keyPassword = "correct-horse"

// stateKey makes the key that the server signs state with.
func (s *stack) stateKey(t *testing.T) (path string) {
	t.Helper()
	private, public, err := signing.GenerateKey([]byte(keyPassword))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.path("trust", "state.pub"), string(public))
	write(t, s.path("secrets", "state-password"), keyPassword)
	return write(t, s.path("secrets", "state.key"), string(private))
}

// release signs the charter of the mesh as a release, beside a trust policy for it.
func (s *stack) release(t *testing.T) (archive string) {
	t.Helper()
	private, public, err := signing.GenerateKey([]byte(keyPassword))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.LoadKey(private, []byte(keyPassword))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signing.NewKeySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.path("trust", "release.pub"), string(public))
	write(t, s.path("trust", "trust.yaml"), "apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners:\n  - {name: release, key: release.pub}\nstate: {keys: [state.pub]}\n")
	c, findings := charter.Load(s.path("charter.yaml"))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	if err := b.WriteTar(&layer); err != nil {
		t.Fatal(err)
	}
	manifest := release.NewManifest(b.LayerDigest(), int64(layer.Len()), b.Manifest().Revision)
	var statements []byte
	for predicateType, predicate := range map[string]any{
		release.SignatureType: struct{}{},
		release.PolicyType: release.Policy{
			Channel: "production", Sequence: 1, Expires: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second), Revision: b.Manifest().Revision, CharterDigest: c.Digest(),
		},
	} {
		st, err := release.NewStatement(manifest.Digest(), predicateType, predicate)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := st.Encode()
		if err != nil {
			t.Fatal(err)
		}
		line, err := signer.Sign(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		statements = append(append(statements, line...), '\n')
	}
	archive = write(t, s.path("releases", "bundle.tar.gz"), layer.String())
	write(t, archive+".sigstore.json", string(statements))
	return archive
}

// follow runs a node of the mesh: it obeys the server's state, reports to
// it, and is then shown a release whose signatures are gone.
func (s *stack) follow(t *testing.T) {
	t.Helper()
	archive := s.release(t)
	_, cert, key := s.ca.issue(t, "scout", "scout")
	server, err := program()
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.ca, filepath.Join(filepath.Dir(server), "charter-node"), "--bundle", archive, "--trust", s.path("trust", "trust.yaml"), "--listen", s.node,
		"--data", s.path("scout"), "--node", "scout", "--poll", "500ms", "--state-bundle", s.url+"/bundles/state", "--server", s.url, "--server-ca", s.ca.file,
		"--server-cert", cert, "--server-key", key, "--report-interval", "1s", "--insecure-self-asserted", "--log-level", "warn")
	eventually(t, "the node runs the release", func() error {
		text, err := fetch(t.Context(), http.DefaultClient, "POST", "http://"+s.node+"/v1/check", `{"metric":"home_location","node":"scout","role":"node_operator","operation":"collect"}`)
		if err == nil && !bytes.Contains([]byte(text), []byte(`"forbidden"`)) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	if err := os.Remove(archive + ".sigstore.json"); err != nil {
		t.Fatal(err)
	}
}
