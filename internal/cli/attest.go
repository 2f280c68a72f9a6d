package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// Names of what attest states.
const (
	attestRelease    = "release"
	attestProvenance = "provenance"
	attestSummary    = "summary"
)

// URIs that statements of ours name things by.
const (
	projectURI   = "https://westworld-charter.github.io/charter"
	buildType    = projectURI + "/build/v1"
	builderID    = projectURI + "/charter-admin"
	reproduction = "CHARTER_REPRODUCED" // a verified level of summaries
)

// attestFlags are those of attest.
type attestFlags struct {
	signer    signerFlags
	registry  registryFlags
	kind      choice
	release   signFlags // channel, sequence and expires alone
	proposal  string
	policyURI string
	verifier  string
	resource  string
}

func (p *program) attestCommand() *cobra.Command {
	f := attestFlags{kind: choice{values: []string{attestRelease, attestProvenance, attestSummary}}}
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "attest --type TYPE --key KEY FILE|REF",
		Short: "State something about a signed bundle",
		Long: `Signs a statement about a bundle: an in-toto statement whose subject is the manifest.
For a file it is added to FILE.sigstore.json, for a release in a registry it is
attached there. Stating the same again with the same key changes nothing.

  release     for which channel it is released, as which number, and until when:
              what sign says with --channel, for a bundle that others signed;
              in a registry it is named by its digest
  provenance  SLSA provenance 1.0: from which charter (by digest) which version of
              charter-admin made the bundle. It is made again before: what cannot be
              reproduced is not stated
  summary     SLSA verification summary: that you verified the bundle and it passed,
              for the decision in --proposal. It is reproduced before, too; in a
              registry it is named by its digest`,
		Example: `  charter-admin attest --type provenance --key ci.key bundle.tar.gz
  charter-admin attest --type summary --key dao.key --proposal sha256:... bundle.tar.gz
  charter-admin attest --type release --key release.key --channel production --sequence 7 --expires 90d \
      oci://registry.example.org/charter@sha256:...`,
		Args: arguments(1, 1, "one FILE or REF"),
	}
	flags := cmd.Flags()
	f.kind.value = ""
	flags.Var(&f.kind, "type", "`type` of the statement: release, provenance or summary")
	f.signer.add(cmd)
	f.registry.add(cmd)
	flags.StringVar(&f.release.channel, "channel", "", "`name` of the channel (release)")
	flags.Int64Var(&f.release.sequence, "sequence", 0, "`number` of the release in its channel (release)")
	flags.StringVar(&f.release.expires, "expires", "", "`time` from which on it is too old, or how long from now (release)")
	flags.StringVar(&f.proposal, "proposal", "", "`digest` of the decision that the bundle was verified against (summary)")
	flags.StringVar(&f.policyURI, "policy-uri", projectURI+"/proposal", "`URI` of the kind of decision (summary)")
	flags.StringVar(&f.verifier, "verifier", builderID, "`URI` of who verified (summary)")
	flags.StringVar(&f.resource, "resource", "", "`URI` of the bundle (summary; default charter:REVISION)")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if f.kind.value == "" {
			return usagef("attest needs --type release, provenance or summary; see charter-admin attest --help")
		}
		return p.attest(ctx, f, args[0], format)
	})
	return cmd
}

func (p *program) attest(ctx context.Context, f attestFlags, text string, format choice) error {
	ref, options, err := f.registry.open(p, text)
	if err != nil {
		return err
	}
	a, err := p.fetchArchive(ctx, text, f.registry)
	if err != nil {
		return transferError(err)
	}
	predicateType, predicate, err := p.predicate(f, a)
	if err != nil {
		return err
	}
	if predicateType != release.ProvenanceType && strings.Contains(text, "://") && ref.Digest() == "" {
		return usagef("attest: this statement is what makes nodes run what it is about, and %s is whatever a server says now: name it by its digest, oci://HOST/REPOSITORY@%s, after a look at what that is", text, a.manifest.Digest())
	}
	wanted, err := release.NewStatement(a.manifest.Digest(), predicateType, predicate)
	if err != nil {
		return err
	}
	s, err := f.signer.open(ctx, p, "attest")
	if err != nil {
		return err
	}
	made, err := s.signOnce(ctx, a.statements, wanted)
	if err != nil {
		return err
	}
	if made != nil {
		if _, err := distribution.Attach(ctx, ref, a.manifest.Digest(), [][]byte{made.raw}, options); err != nil {
			return transferError(err)
		}
	}
	done := newSignedFile(s, a, text)
	done.add(wanted, made != nil)
	return p.printSigned(done, format)
}

// predicate is what is stated. Statements about how a bundle was made are only made of
// what can be made again.
func (p *program) predicate(f attestFlags, a archive) (string, any, error) {
	if f.kind.is(attestRelease) {
		policy, err := p.releasePolicy(f.release, a)
		if err == nil && policy == nil {
			err = releaseFlagsMissing()
		}
		return release.PolicyType, policy, err
	}
	if f.kind.is(attestSummary) && !release.ValidDigest(f.proposal) {
		return "", nil, usagef("attest: --type summary needs --proposal sha256:..., the digest of the decision that the bundle was verified against")
	}
	if err := p.reproduce(a.data); err != nil {
		return "", nil, &exitError{ExitVerify, fmt.Errorf("%s: %w", a.from, err)}
	}
	if f.kind.is(attestProvenance) {
		return release.ProvenanceType, provenance(a), nil
	}
	if f.resource == "" {
		f.resource = "charter:" + a.bundle.Manifest().Revision
	}
	return release.SummaryType, f.summary(f.verifiedAt(a, p.now())), nil
}

// verifiedAt is when the same was stated before, or now: a summary that differs in its
// time alone is not stated again.
func (f attestFlags) verifiedAt(a archive, now time.Time) time.Time {
	for _, s := range a.statements {
		var said struct {
			TimeVerified time.Time `json:"timeVerified"`
		}
		if s.claim.Statement.Type != release.SummaryType || json.Unmarshal(s.claim.Statement.Predicate, &said) != nil {
			continue
		}
		if same, err := json.Marshal(f.summary(said.TimeVerified)); err == nil && bytes.Equal(same, s.claim.Statement.Predicate) {
			return said.TimeVerified
		}
	}
	return now
}

// resource is a ResourceDescriptor of in-toto.
type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

func sha256Set(digest string) map[string]string {
	return map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}
}

// provenance is a predicate of type [release.ProvenanceType]
// (https://slsa.dev/spec/v1.0/provenance). It depends on the charter and the program
// alone, so that it can be stated twice.
func provenance(a archive) any {
	d := a.digests()
	type object = map[string]any
	return object{
		"buildDefinition": object{
			"buildType":            buildType,
			"externalParameters":   object{"charterDigest": d.CharterDigest, "revision": d.Revision},
			"resolvedDependencies": []resource{{Name: "charter.yaml", Digest: sha256Set(d.CharterDigest)}},
		},
		"runDetails": object{
			"builder":    object{"id": builderID, "version": builtWith()},
			"byproducts": []resource{{Name: release.LayerTitle, Digest: sha256Set(d.LayerDigest)}},
		},
	}
}

// builtWith are versions of what decides the bytes of a bundle.
func builtWith() map[string]string {
	v := currentVersion()
	versions := map[string]string{"charter-admin": v.Version, "form": strconv.Itoa(compile.Form), "go": v.Go, "opa": v.OPA}
	if v.Revision != "" {
		versions["revision"] = v.Revision
	}
	return versions
}

// summary is a predicate of type [release.SummaryType]
// (https://slsa.dev/spec/v1.0/verification_summary).
func (f attestFlags) summary(now time.Time) any {
	type object = map[string]any
	return object{
		"verifier":           object{"id": f.verifier, "version": builtWith()},
		"timeVerified":       now.UTC().Format(time.RFC3339),
		"resourceUri":        f.resource,
		"policy":             resource{URI: f.policyURI, Digest: sha256Set(f.proposal)},
		"verificationResult": "PASSED",
		"verifiedLevels":     []string{reproduction},
		"slsaVersion":        "1.0",
	}
}
