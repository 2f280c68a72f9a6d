package distribution

import (
	"fmt"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// released is what the Rego policy of somebody who verifies with cosign wants.
const released = `package signature

import rego.v1

default allow := false

allow if {
	input.predicateType == "` + release.PolicyType + `"
	input.predicate.channel == "%s"
	input.predicate.sequence >= 1
}
`

// cosign accepts what we sign and state.
func TestCosignAcceptsOurs(t *testing.T) {
	t.Parallel()
	cosign := judge.Path(t, "cosign")
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		image := host + "/policy/charter:production"
		file := w.release(t, "oci://"+image, 1, "node_load1")
		w.admin(t, "attest", "--type", "provenance", "--key", "release.key", file)
		pushed := strings.TrimSpace(w.admin(t, "push", file, "oci://"+image))
		w.admin(t, "attest", "--type", "summary", "--key", "release.key", "--proposal", release.Digest(nil), pushed)
		w.write(t, "policy.rego", fmt.Sprintf(released, "production"))
		w.write(t, "other.rego", fmt.Sprintf(released, "staging"))
		w.admin(t, "key", "generate", "-o", "stranger")

		const offline = "--insecure-ignore-tlog=true" // the keys of this test are in no log
		process.Output(t, w.options(), cosign, "verify", "--key", "release.pub", offline, image)
		for _, predicate := range []string{release.PolicyType, release.ProvenanceType, release.SummaryType} {
			process.Output(t, w.options(), cosign, "verify-attestation", "--key", "release.pub", offline, "--type", predicate, image)
		}
		process.Output(t, w.options(), cosign, "verify-attestation", "--key", "release.pub", offline, "--type", release.PolicyType, "--policy", "policy.rego", image)

		// It refuses, so that its consent means something.
		for what, args := range map[string][]string{
			"another key":     {"verify", "--key", "stranger.pub", offline, image},
			"another channel": {"verify-attestation", "--key", "release.pub", offline, "--type", release.PolicyType, "--policy", "other.rego", image},
		} {
			if r := process.Run(t, w.options(), cosign, args...); r.Code == 0 {
				t.Errorf("cosign accepts %s: %s", what, r.Stdout)
			}
		}
	})
}

// A release that plain cosign signs and states is accepted here, and by a node.
func TestReleaseByCosignIsAccepted(t *testing.T) {
	t.Parallel()
	cosign := judge.Path(t, "cosign")
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		process.Output(t, w.options(), cosign, "generate-key-pair", "--output-key-prefix", "cosign")
		w.trust(t, "cosign.pub")
		ref := "oci://" + host + "/policy/charter:production"
		file := w.build(t, 1, "node_load1")
		pushed := w.admin(t, "push", "--insecure-unsigned", "--format", "json", file, ref)
		image := strings.TrimPrefix(field(t, pushed, "ref"), "oci://")
		inside := w.admin(t, "bundle", "inspect", "--format", "json", file)
		w.write(t, "predicate.json", fmt.Sprintf(`{"channel": "production", "sequence": 1, "expires": "2099-01-01T00:00:00Z", "revision": %q, "charterDigest": %q}`,
			field(t, inside, "revision"), field(t, inside, "charter_digest")))

		offline := []string{"--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false"}
		process.Output(t, w.options(), cosign, append([]string{"sign"}, append(offline, image)...)...)
		if r := process.Run(t, w.options(), "charter-admin", "verify", "--trust", "trust.yaml", ref); r.Code != 6 || !strings.Contains(r.Stdout, "missing_statement") {
			t.Errorf("signed, and not released: %+v", r)
		}
		process.Output(t, w.options(), cosign, append([]string{"attest", "--type", release.PolicyType, "--predicate", "predicate.json"}, append(offline, image)...)...)
		w.admin(t, "verify", "--trust", "trust.yaml", "--reproduce", ref)

		n := startNode(t, w, ref)
		poll.Until(t, "the node decides", func() error { return n.allows(t, "node_load1", true) })

		// A key that cosign made signs here, too.
		w.admin(t, "attest", "--type", "provenance", "--key", "cosign.key", ref)
		process.Output(t, w.options(), cosign, "verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--type", release.ProvenanceType, image)
	})
}
