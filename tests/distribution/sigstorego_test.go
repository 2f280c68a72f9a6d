package distribution

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

const sigstoreBundle = "application/vnd.dev.sigstore.bundle.v0.3+json"

// The same as with cosign, by the library below it and another client of registries:
// what we state is found and verified by both.
func TestSigstoreGoAcceptsOurs(t *testing.T) {
	t.Parallel()
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		ref := "oci://" + host + "/policy/charter:production"
		file := w.release(t, ref, 1, "node_load1")
		w.admin(t, "attest", "--type", "provenance", "--key", "release.key", ref)
		digest := field(t, w.admin(t, "inspect", "--format", "json", file), "release_digest")
		w.admin(t, "key", "generate", "-o", "stranger")

		found := referrers(t, "http://"+host+"/v2/policy/charter", digest)
		var stated []string
		for _, b := range found {
			result, err := verifyWith(t, w.read(t, "release.pub"), digest, b)
			if err != nil {
				t.Fatal(err)
			}
			stated = append(stated, result.Statement.GetPredicateType())
			if _, err := verifyWith(t, w.read(t, "stranger.pub"), digest, b); err == nil {
				t.Error("sigstore-go accepts another key")
			}
			if _, err := verifyWith(t, w.read(t, "release.pub"), release.Digest(nil), b); err == nil {
				t.Error("sigstore-go accepts the statement for another manifest")
			}
		}
		for _, want := range []string{release.SignatureType, release.PolicyType, release.ProvenanceType} {
			if !strings.Contains(strings.Join(stated, " "), want) {
				t.Errorf("%s is not among %v", want, stated)
			}
		}
	})
}

// referrers returns the Sigstore bundles that refer to a manifest, as the OCI
// distribution specification says: from the referrers API, or without one from the tag
// that replaces it.
func referrers(t *testing.T, repository, digest string) []*bundle.Bundle {
	t.Helper()
	list, err := ask(t.Context(), http.MethodGet, repository+"/referrers/"+digest, "")
	if err != nil {
		list = get(t, repository+"/manifests/"+strings.Replace(digest, ":", "-", 1))
	}
	type descriptor struct{ Digest, MediaType string }
	var index struct{ Manifests []descriptor }
	decode(t, list, &index)
	var all []*bundle.Bundle
	for _, d := range index.Manifests {
		var manifest struct {
			ArtifactType string
			Subject      descriptor
			Layers       []descriptor
		}
		decode(t, get(t, repository+"/manifests/"+d.Digest), &manifest)
		if manifest.ArtifactType != sigstoreBundle || manifest.Subject.Digest != digest || len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != sigstoreBundle {
			t.Errorf("a referrer %+v to %s", manifest, digest)
			continue
		}
		var b bundle.Bundle
		if err := b.UnmarshalJSON(get(t, repository+"/blobs/"+manifest.Layers[0].Digest)); err != nil {
			t.Fatal(err)
		}
		all = append(all, &b)
	}
	return all
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	body, err := ask(t.Context(), http.MethodGet, url, "")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}

// verifyWith verifies with a key, as sigstore-go does for whoever uses it.
func verifyWith(t *testing.T, publicPEM, digest string, b *bundle.Bundle) (*verify.VerificationResult, error) {
	t.Helper()
	public, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(publicPEM))
	if err != nil {
		t.Fatal(err)
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		v, err := signature.LoadVerifier(public, crypto.SHA256)
		return root.NewExpiringKey(v, time.Time{}, time.Time{}), err
	})
	verifier, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), verify.WithKey()))
}

// A release that others sign with sigstore-go is accepted.
func TestReleaseBySigstoreGoIsAccepted(t *testing.T) {
	t.Parallel()
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		keys, err := sign.NewEphemeralKeypair(nil)
		if err != nil {
			t.Fatal(err)
		}
		public, err := keys.GetPublicKeyPem()
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, "other.pub", public)
		w.trust(t, "other.pub")
		ref := "oci://" + host + "/policy/charter:production"
		file := w.build(t, 1, "node_load1")
		digest := field(t, w.admin(t, "inspect", "--format", "json", file), "release_digest")
		inside := w.admin(t, "bundle", "inspect", "--format", "json", file)
		w.write(t, file+".sigstore.json", signWith(t, keys, digest, release.SignatureType, struct{}{})+"\n"+
			signWith(t, keys, digest, release.PolicyType, release.Policy{
				Channel: "production", Sequence: 1, Expires: time.Now().Add(time.Hour), Revision: field(t, inside, "revision"), CharterDigest: field(t, inside, "charter_digest"),
			}))
		w.admin(t, "push", file, ref)
		w.admin(t, "verify", "--trust", "trust.yaml", "--reproduce", ref)
		n := startNode(t, w, ref)
		poll.Until(t, "the node decides", func() error { return n.allows(t, "node_load1", true) })
	})
}

func signWith(t *testing.T, keys sign.Keypair, digest, predicateType string, predicate any) string {
	t.Helper()
	s, err := release.NewStatement(digest, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: release.PayloadType}, keys, sign.BundleOptions{Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := protojson.MarshalOptions{Multiline: true}.Marshal(b) // as people write it
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
