package sigstore

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// cosign and we agree about identities, by way of a registry.
func (s *instance) cosign(t *testing.T) {
	c := &cosign{instance: s, program: judge.Path(t, "cosign"), registry: newRegistry(t)}
	c.signingConfig(t)
	t.Run("verifies ours", c.verifiesOurs)
	t.Run("is verified by us", c.isVerified)
	t.Run("shares keys", c.sharesKeys)
}

type cosign struct {
	*instance
	program  string
	registry string // HOST:PORT
}

func newRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// signingConfig says where the private services are.
func (c *cosign) signingConfig(t *testing.T) {
	t.Helper()
	at := ",start-time=" + since() + ",operator=example.org"
	process.Output(t, c.options(), c.program, "signing-config", "create", "--out", "signing_config.json",
		"--fulcio", "url="+fulcioURL+",api-version=1"+at, "--rekor", "url="+rekorURL+",api-version=2"+at, "--rekor-config", "ANY",
		"--tsa", "url="+tsaURL+",api-version=1"+at, "--tsa-config", "ANY", "--oidc-provider", "url="+c.issuer.url+",api-version=1"+at)
}

// push uploads the manifest of these tests under a name of its own.
func (c *cosign) push(t *testing.T, name string, statements ...[]byte) (image string, ref distribution.Ref) {
	t.Helper()
	image = c.registry + "/" + name
	ref, err := distribution.ParseRef("oci://" + image + ":1")
	must(t, err)
	_, err = distribution.Push(t.Context(), ref, manifest(), layer(), statements, distribution.Options{})
	must(t, err)
	return image + "@" + digest(), ref
}

// fetch returns the statements that are attached to a release.
func (c *cosign) fetch(t *testing.T, ref distribution.Ref) [][]byte {
	t.Helper()
	got, err := distribution.Fetch(t.Context(), ref, distribution.Options{})
	must(t, err)
	return got.Statements
}

func (c *cosign) verifiesOurs(t *testing.T) {
	services := c.services(c.issuer, ci)
	image, _ := c.push(t, "ours", sign(t, services, payload(t, release.SignatureType)), sign(t, services, payload(t, release.PolicyType)))
	as := func(email string) []string {
		return []string{
			"--certificate-identity", email, "--certificate-oidc-issuer", c.issuer.url, "--trusted-root", "trusted_root.json",
			"--insecure-ignore-sct=true", "--use-signed-timestamps=true",
		}
	}
	process.Output(t, c.options(), c.program, append(append([]string{"verify"}, as(ci)...), image)...)
	process.Output(t, c.options(), c.program, append(append([]string{"verify-attestation", "--type", release.PolicyType}, as(ci)...), image)...)
	if r := process.Run(t, c.options(), c.program, append(append([]string{"verify"}, as("eve@example.org")...), image)...); r.Code == 0 {
		t.Errorf("cosign accepts somebody else: %s", r.Stdout)
	}
}

func (c *cosign) isVerified(t *testing.T) {
	image, ref := c.push(t, "theirs")
	token, err := c.issuer.token(ci)
	must(t, err)
	statement, err := release.ParseStatement(payload(t, release.PolicyType))
	must(t, err)
	c.write(t, "predicate.json", statement.Predicate)
	c.write(t, "token", []byte(token))
	how := []string{"--yes", "--identity-token", "token", "--signing-config", "signing_config.json", "--trusted-root", "trusted_root.json"}
	trust := c.trust(t, c.policy(c.issuer), c.root)

	process.Output(t, c.options(), c.program, append(append([]string{"sign"}, how...), image)...)
	if _, err := trust.Verify(t.Context(), digest(), c.fetch(t, ref)); signing.CodeOf(err) != signing.CodeMissingStatement {
		t.Errorf("signed and not released: %v, want %s", err, signing.CodeMissingStatement)
	}
	process.Output(t, c.options(), c.program, append(append([]string{"attest", "--type", release.PolicyType, "--predicate", "predicate.json"}, how...), image)...)
	v, err := trust.Verify(t.Context(), digest(), c.fetch(t, ref))
	if err != nil || len(v.Statements) != 2 {
		t.Fatalf("signed and attested by cosign: %+v, %v", v, err)
	}
	for _, st := range v.Statements {
		if st.Type == release.PolicyType {
			if p, err := st.Policy(); err != nil || p.Sequence != 1 {
				t.Errorf("the release statement of cosign: %+v, %v", p, err)
			}
		}
	}
}

// A key that we made signs with cosign, and the other way round.
func (c *cosign) sharesKeys(t *testing.T) {
	const secret, password = "secret", "COSIGN_PASSWORD=secret"
	private, public, err := signing.GenerateKey([]byte(secret))
	must(t, err)
	c.write(t, "ours.key", private)
	if out := process.Output(t, c.options(password), c.program, "public-key", "--key", "ours.key"); strings.TrimSpace(out) != strings.TrimSpace(string(public)) {
		t.Errorf("cosign reads from our key\n%s\nwant\n%s", out, public)
	}
	image, ref := c.push(t, "keys")
	process.Output(t, c.options(password), c.program, "sign", "--yes", "--key", "ours.key", "--signing-config", "signing_config.json", "--trusted-root", "trusted_root.json", image)
	trust, err := signing.TrustKey(public)
	must(t, err)
	if _, err := trust.Verify(t.Context(), digest(), c.fetch(t, ref)); err != nil {
		t.Errorf("signed by cosign with our key: %v", err)
	}

	process.Output(t, c.options(password), c.program, "generate-key-pair", "--output-key-prefix", "theirs")
	key, err := signing.LoadKey([]byte(file.Read(t, c.path("theirs.key"))), []byte(secret))
	must(t, err)
	signer, err := signing.NewKeySigner(key)
	must(t, err)
	made, err := signer.Sign(t.Context(), payload(t, release.SignatureType))
	must(t, err)
	image, _ = c.push(t, "keys2", made)
	process.Output(t, c.options(), c.program, "verify", "--key", "theirs.pub", "--insecure-ignore-tlog=true", image)
}
