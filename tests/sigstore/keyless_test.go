package sigstore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/cli"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/online"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

// ci is who signs.
const ci = "ci@example.org"

// Everything with one private Sigstore.
func TestPrivateSigstore(t *testing.T) {
	s := start(t)
	t.Run("identity", s.identity)
	t.Run("failures", s.failures)
	t.Run("key", s.key)
	t.Run("charter-admin", s.program)
	t.Run("cosign", s.cosign)
}

// digest is that of the manifest of these tests.
func digest() string { return manifest().Digest() }

func manifest() release.Manifest {
	return release.NewManifest(release.Digest(layer()), int64(len(layer())), "production-1.0.0+0123456789ab")
}

// layer is what the manifest is over; here nobody looks into it.
func layer() []byte { return []byte("a bundle") }

func payload(t *testing.T, predicateType string) []byte {
	t.Helper()
	var predicate any = struct{}{}
	if predicateType == release.PolicyType {
		predicate = release.Policy{
			Channel: "production", Sequence: 1, Expires: time.Now().Add(time.Hour), Revision: manifest().Revision, CharterDigest: release.Digest(nil),
		}
	}
	statement, err := release.NewStatement(digest(), predicateType, predicate)
	must(t, err)
	data, err := statement.Encode()
	must(t, err)
	return data
}

func sign(t *testing.T, services online.Services, payload []byte) []byte {
	t.Helper()
	signer, err := online.NewKeylessSigner(services)
	must(t, err)
	made, err := signer.Sign(t.Context(), payload)
	must(t, err)
	return made
}

// policy is a trust.yaml for one identity.
func (s *instance) policy(by *issuer) string {
	return "apiVersion: charter/v1\nkind: Trust\nchannel: production\ntrusted_root: trusted_root.json\n" +
		fmt.Sprintf("signers: [{name: ci, identity: {issuer: %q, subject: %s}}]\n", by.url, ci) +
		"insecure_ignore_sct: true # the private Fulcio has no certificate transparency log\n"
}

func (s *instance) trust(t *testing.T, text string, root []byte) *signing.Trust {
	t.Helper()
	parsed, err := signing.ParseTrust("trust.yaml", []byte(text), func(name string) ([]byte, error) {
		if name == "trusted_root.json" {
			return root, nil
		}
		return os.ReadFile(s.path(name))
	})
	must(t, err)
	return parsed
}

func (s *instance) identity(t *testing.T) {
	services := s.services(s.issuer, ci)
	bundles := [][]byte{sign(t, services, payload(t, release.SignatureType)), sign(t, services, payload(t, release.PolicyType))}
	v, err := s.trust(t, s.policy(s.issuer), s.root).Verify(t.Context(), digest(), bundles)
	if err != nil || len(v.Statements) != 2 || strings.Join(v.Statements[1].Signers, ",") != "ci" {
		t.Errorf("Verify returned %+v, %v", v, err)
	}
	if claims, err := signing.Describe(bundles[0]); err != nil || claims.Issuer != s.issuer.url || claims.Identity != ci || claims.LogEntries != 1 || claims.Timestamps != 1 {
		t.Errorf("Describe returned %+v, %v", claims, err)
	}
	_, err = s.trust(t, strings.Replace(s.policy(s.issuer), "insecure_ignore_sct: true", "threshold: 1", 1), s.rootWithCT(t)).Verify(t.Context(), digest(), bundles)
	if signing.CodeOf(err) != signing.CodeNoSCT {
		t.Errorf("without SCT: %v, want %s", err, signing.CodeNoSCT)
	}
}

// rootWithCT names a certificate transparency log, which nobody has entered anything in.
func (s *instance) rootWithCT(t *testing.T) []byte {
	t.Helper()
	return s.trustedRoot(t, "ct.json", "", "--ctfe", "url=http://127.0.0.1:9,public-key=rekor.pub,start-time="+since())
}

func (s *instance) failures(t *testing.T) {
	services := s.services(s.issuer, ci)
	elsewhere := signingtest.New(t)
	statement := payload(t, release.PolicyType)
	good, foreign := sign(t, services, statement), sign(t, elsewhere.Services(ci), statement)
	onlyRelease := "require: [" + release.PolicyType + "]\n"
	type failure struct {
		signingtest.Failure
		policy string
	}
	all := []failure{
		{signingtest.Failure{Name: "wrong identity", Code: signing.CodeUntrustedIdentity, Bundle: sign(t, s.services(s.issuer, "eve@example.org"), statement)}, ""},
		{signingtest.Failure{Name: "wrong issuer", Code: signing.CodeUntrustedIssuer, Bundle: sign(t, s.services(s.other, ci), statement)}, ""},
		{signingtest.Failure{
			Name: "the authority had ended", Code: signing.CodeCertificateExpired, Bundle: good,
			Root: s.trustedRoot(t, "ended.json", ",end-time="+since()),
		}, ""},
		{signingtest.Failure{Name: "everything of another Sigstore", Code: signing.CodeUntrustedTimestamp, Bundle: foreign}, strings.Replace(s.policy(s.issuer), s.issuer.url, signingtest.Issuer, 1)},
	}
	for _, f := range signingtest.Tampered(t, good, sign(t, services, statement), foreign) {
		all = append(all, failure{f, ""})
	}
	for _, f := range all {
		t.Run(f.Name, func(t *testing.T) {
			if f.Root == nil {
				f.Root = s.root
			}
			if f.policy == "" {
				f.policy = s.policy(s.issuer)
			}
			_, err := s.trust(t, f.policy+onlyRelease, f.Root).Verify(t.Context(), digest(), [][]byte{f.Bundle})
			if signing.CodeOf(err) != f.Code {
				t.Errorf("got %v, want %s", err, f.Code)
			}
		})
	}
	if _, err := s.trust(t, s.policy(s.issuer)+onlyRelease, s.root).Verify(t.Context(), digest(), [][]byte{foreign, good}); err != nil {
		t.Errorf("the genuine one, and one that is not: %v", err)
	}
}

// A key whose signatures are entered in the log and timestamped.
func (s *instance) key(t *testing.T) {
	private, public, err := signing.GenerateKey([]byte("secret"))
	must(t, err)
	key, err := signing.LoadKey(private, []byte("secret"))
	must(t, err)
	s.write(t, "release.pub", public)
	policy := "apiVersion: charter/v1\nkind: Trust\nchannel: production\ntrusted_root: trusted_root.json\nsigners: [{name: release, key: release.pub}]\n" +
		"require: [" + release.PolicyType + "]\nlog: {threshold: 1}\ntimestamps: {threshold: 1}\n"
	logged, err := online.NewKeySigner(key, online.Services{TrustedRoot: s.root, RekorURL: rekorURL, TSAURL: tsaURL})
	must(t, err)
	plain, err := signing.NewKeySigner(key)
	must(t, err)
	for signer, want := range map[signing.Signer]signing.Code{logged: "", plain: signing.CodeNoTimestamp} {
		for range 2 { // the log would refuse the same signature twice
			made, err := signer.Sign(t.Context(), payload(t, release.PolicyType))
			must(t, err)
			if _, err := s.trust(t, policy, s.root).Verify(t.Context(), digest(), [][]byte{made}); signing.CodeOf(err) != want || (err == nil) != (want == "") {
				t.Errorf("%s: %v, want %q", signer.Describe(), err, want)
			}
		}
	}
}

// program signs and verifies with charter-admin, as an identity.
func (s *instance) program(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	token, err := s.issuer.token(ci)
	must(t, err)
	for name, data := range map[string][]byte{"token": []byte(token), "trusted_root.json": s.root, "trust.yaml": []byte(s.policy(s.issuer))} {
		must(t, os.WriteFile(in(name), data, 0o600))
	}
	admin := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := cli.Main(t.Context(), args, strings.NewReader(""), &out, &out, func(string) string { return "" }); code != want {
			t.Fatalf("charter-admin %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out.String())
		}
		return out.String()
	}
	admin(0, "bundle", "build", filepath.Join(judge.Root(t), "policies", "production", "charter.yaml"), "-o", in("bundle.tar.gz"))
	admin(0, "sign", "--identity-token", in("token"), "--fulcio-url", fulcioURL, "--rekor-url", rekorURL, "--timestamp-url", tsaURL,
		"--trusted-root", in("trusted_root.json"), "--channel", "production", "--sequence", "1", "--expires", "90d", in("bundle.tar.gz"))
	admin(0, "verify", "--trust", in("trust.yaml"), in("bundle.tar.gz"))
	must(t, os.WriteFile(in("trust.yaml"), []byte(s.policy(s.other)), 0o600))
	if out := admin(6, "verify", "--trust", in("trust.yaml"), in("bundle.tar.gz")); !strings.Contains(out, string(signing.CodeUntrustedIssuer)) {
		t.Errorf("verified with another issuer: %s", out)
	}
}

func since() string { return time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) }
