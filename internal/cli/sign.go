package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// signFlags are those of sign.
type signFlags struct {
	signer     signerFlags
	channel    string
	sequence   int64
	expires    string
	rollbackOf string
	jwt        bool
	keyID      string
	output     string
}

func (p *program) signCommand() *cobra.Command {
	var f signFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "sign --key KEY FILE",
		Short: "Sign a bundle, and say for which channel it is released",
		Long: `Computes the manifest under which the bundle is distributed and signs its digest.
The signature goes to FILE.sigstore.json, which push sends along. Signing again what
was signed with the same key changes nothing.

--channel, --sequence and --expires add the release statement without which no node
activates a bundle. Sequences of a channel only grow, in pairs: a release is 1, 3, 5,
..., and the number after it is kept for its rollback. Sign that at once, into a file
of its own that stays unpublished: --rollback-of NEW says that OLD, the bundle that
runs now, follows NEW when NEW has to go. From --expires on (a time, or 90d from now)
nodes without a newer release go on, and say that they are degraded.

KEY is a file of key generate or of cosign, or a key that never leaves where it is:
NAME://..., for which a plugin of Sigstore, sigstore-kms-NAME, is on the path (cloud
key management, PKCS#11 tokens). Who has no key signs as an OIDC identity, with the
token in --identity-token: Fulcio certifies it, Rekor logs it, a timestamp authority
says when. These URLs and --trusted-root have no defaults.

--opa-jwt writes another archive, with a signature inside that stock opa verifies. It
is for stock opa alone: nodes refuse it.`,
		Example: `  charter-admin sign --key release.key --channel production --sequence 7 --expires 90d new.tar.gz
  charter-admin sign --key release.key --rollback-of new.tar.gz -o rollback.tar.gz old.tar.gz
  charter-admin sign --identity-token token --fulcio-url https://fulcio.example.org --rekor-url https://log.example.org \
      --timestamp-url https://tsa.example.org/api/v1/timestamp --trusted-root trusted_root.json new.tar.gz
  charter-admin sign --key release.key --opa-jwt -o new-opa.tar.gz new.tar.gz`,
		Args: arguments(1, 1, "one FILE"),
	}
	f.signer.add(cmd)
	cmd.Flags().StringVar(&f.channel, "channel", "", "`name` of the channel that it is released to, such as production")
	cmd.Flags().Int64Var(&f.sequence, "sequence", 0, "`number` of the release in its channel")
	cmd.Flags().StringVar(&f.expires, "expires", "", "`time` from which on it is too old, or how long from now")
	cmd.Flags().StringVar(&f.rollbackOf, "rollback-of", "", "signed bundle `file` that this one replaces if need be")
	cmd.Flags().BoolVar(&f.jwt, "opa-jwt", false, "write an archive for stock opa instead, signed inside; needs -o")
	cmd.Flags().StringVar(&f.keyID, "key-id", "charter", "`name` by which opa's configuration knows the key, with --opa-jwt")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "archive `file` to write, with --rollback-of or --opa-jwt")
	format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		switch {
		case (f.output != "") != (f.jwt || f.rollbackOf != ""):
			return usagef("sign: -o FILE goes with --rollback-of or --opa-jwt, which need it; see charter-admin sign --help")
		case f.jwt:
			return p.signJWT(ctx, f, args[0], format)
		default:
			return p.signArchive(ctx, f, args[0], format)
		}
	})
	return cmd
}

// signedFile is what `sign` and `attest` print as JSON.
type signedFile struct {
	digests
	ReleaseDigest string   `json:"release_digest"`
	Signer        string   `json:"signer"`
	Statements    []stated `json:"statements"`
	File          string   `json:"file"` // or the reference that they were attached to
}

func newSignedFile(s *signer, a archive, file string) signedFile {
	return signedFile{digests: a.digests(), ReleaseDigest: a.manifest.Digest(), Signer: s.Describe(), File: file}
}

func (f *signedFile) add(s release.Statement, added bool) {
	st := newStated(s)
	st.Added = &added
	f.Statements = append(f.Statements, st)
}

func (p *program) signArchive(ctx context.Context, f signFlags, path string, format choice) error {
	a, err := readArchive(path)
	if err != nil {
		return err
	}
	wanted, err := release.NewStatement(a.manifest.Digest(), release.SignatureType, struct{}{})
	if err != nil {
		return err
	}
	statements := []release.Statement{wanted}
	policy, err := p.releasePolicy(f, a)
	if err != nil {
		return err
	}
	if policy != nil {
		if wanted, err = release.NewStatement(a.manifest.Digest(), release.PolicyType, policy); err == nil {
			_, err = wanted.Policy()
		}
		if err != nil {
			return usagef("sign: %w", err)
		}
		statements = append(statements, wanted)
	}
	signer, err := f.signer.open(ctx, p, "sign")
	if err != nil {
		return err
	}
	if f.rollbackOf != "" {
		if a, err = a.copyTo(f.output); err != nil {
			return err
		}
	}
	done, err := p.addStatements(ctx, signer, &a, statements)
	if err != nil {
		return err
	}
	if err := p.printSigned(done, format); err != nil {
		return err
	}
	switch {
	case policy == nil && newest(a.statements).Sequence == 0:
		fmt.Fprintf(p.stderr, "%s has no release statement, which nodes want: see --channel, --sequence and --expires\n", path)
	case policy != nil && f.rollbackOf == "":
		p.explainSequence(*policy, path)
	}
	return nil
}

func releaseFlagsMissing() error {
	return usagef("a release statement needs --channel, --sequence and --expires, such as --channel production --sequence 1 --expires 90d")
}

// releasePolicy is the predicate of the release statement, nil when none is wanted.
func (p *program) releasePolicy(f signFlags, a archive) (*release.Policy, error) {
	policy := release.Policy{Channel: f.channel, Sequence: f.sequence, Revision: a.bundle.Manifest().Revision, CharterDigest: a.digests().CharterDigest}
	switch {
	case f.rollbackOf != "":
		if f.channel != "" || f.sequence != 0 {
			return nil, usagef("--rollback-of brings channel and sequence; leave --channel and --sequence away")
		}
		replaced, err := lastRelease(f.rollbackOf)
		if err != nil {
			return nil, err
		}
		policy.Channel, policy.Sequence, policy.Expires = replaced.Channel, replaced.Sequence+1, replaced.Expires
	case f.channel == "" && f.sequence == 0 && f.expires == "":
		return nil, nil
	case f.channel == "" || f.sequence == 0 || f.expires == "":
		return nil, releaseFlagsMissing()
	}
	if f.expires != "" {
		when, err := point("--expires", f.expires, p.now())
		if err != nil {
			return nil, err
		}
		policy.Expires = when.UTC().Truncate(time.Second)
	}
	if !policy.Expires.After(p.now()) {
		return nil, usagef("the release would have expired at %s; give a later --expires", policy.Expires.Format(time.RFC3339))
	}
	return &policy, nil
}

// lastRelease is the newest release statement beside the archive at path, which is to
// be rolled back.
func lastRelease(path string) (release.Policy, error) {
	a, err := readArchive(path)
	if err != nil {
		return release.Policy{}, err
	}
	a.keepOwn()
	last := newest(a.statements)
	switch {
	case last.Sequence == 0:
		return last, usagef("--rollback-of %s: it has no release statement; sign it first, with --channel, --sequence and --expires", path)
	case last.Sequence%2 == 0:
		return last, usagef("--rollback-of %s: its sequence %d is that of a rollback; a release has an odd one", path, last.Sequence)
	}
	return last, nil
}

// newest is the release statement with the highest sequence, the zero value if there is
// none.
func newest(all []statement) release.Policy {
	var last release.Policy
	for _, s := range all {
		if policy, err := s.claim.Statement.Policy(); err == nil && policy.Sequence > last.Sequence {
			last = policy
		}
	}
	return last
}

// explainSequence says what the pair of a release is kept for.
func (p *program) explainSequence(policy release.Policy, path string) {
	n := policy.Sequence
	if n%2 == 0 {
		fmt.Fprintf(p.stderr, "sequence %d is even, which is kept for the rollback of release %d; releases have odd ones\n", n, n-1)
		return
	}
	fmt.Fprintf(p.stderr, "sequence %d is kept for its rollback: charter-admin sign --rollback-of %s -o ROLLBACK OLD; the next release is %d\n", n+1, path, n+2)
}

// addStatements signs what the file beside the archive does not hold yet, and drops
// from it what is about another archive that had this name.
func (p *program) addStatements(ctx context.Context, s *signer, a *archive, wanted []release.Statement) (signedFile, error) {
	done := newSignedFile(s, *a, distribution.StatementsPath(a.from))
	others := a.keepOwn()
	if others > 0 {
		fmt.Fprintf(p.stderr, "%s: dropped %s about something else, such as another archive of this name\n", done.File, plural(others, "statement"))
	}
	changed := others > 0
	for _, w := range wanted {
		made, err := s.signOnce(ctx, a.statements, w)
		if err != nil {
			return done, err
		}
		if made != nil {
			a.statements, changed = append(a.statements, *made), true
		}
		done.add(w, made != nil)
	}
	if !changed {
		return done, nil
	}
	return done, a.writeStatements(a.from)
}

func (p *program) printSigned(done signedFile, format choice) error {
	if format.is(formatJSON) {
		return p.printJSON(done)
	}
	fmt.Fprint(p.stdout, done.digests)
	fmt.Fprintf(p.stdout, "release digest  %s\nsigner          %s\n", done.ReleaseDigest, printable(done.Signer))
	for _, s := range done.Statements {
		verb := "signed"
		if s.Added != nil && !*s.Added {
			verb = "signed before"
		}
		fmt.Fprintf(p.stdout, "%-15s %s\n", verb, s)
	}
	_, err := fmt.Fprintf(p.stdout, "written to      %s\n", printable(done.File))
	return err
}
