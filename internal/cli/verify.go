package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// trustFlags say whom to believe.
type trustFlags struct {
	key, policy string
	state       bool // it is the key of a server that is given
}

func (f *trustFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "public key `file` whose signature is to be there")
	cmd.Flags().StringVar(&f.policy, "trust", "", "`file` that says whom to trust for what: the trust.yaml of nodes")
}

func (f *trustFlags) given() bool { return f.key != "" || f.policy != "" }

// open returns whom to trust, once the flags fit together.
func (f *trustFlags) open(p *program, command string) (*signing.Trust, error) {
	switch {
	case f.key != "" && f.policy != "":
		return nil, usagef("%s: --key and --trust exclude each other", command)
	case f.policy != "":
		trust, err := signing.ReadTrust(f.policy)
		var wrong *signing.InvalidTrust
		if errors.As(err, &wrong) {
			return nil, errors.Join(p.printFindings(wrong.Findings), usagef("--trust: %s is not a valid trust policy: %s", f.policy, tally(wrong.Findings)))
		}
		if err != nil {
			return nil, usagef("--trust: %w", err)
		}
		return trust, nil
	case f.key != "":
		data, err := os.ReadFile(f.key)
		if err != nil {
			return nil, usagef("--key: %w", err)
		}
		read := signing.TrustKey
		if f.state {
			read = signing.TrustStateKey
		}
		trust, err := read(data)
		if err != nil {
			return nil, usagef("--key %s: %w; verifying takes the public key, NAME.pub", f.key, err)
		}
		return trust, nil
	default:
		return nil, usagef("%s needs --trust FILE or --key NAME.pub: nobody is trusted by default; see charter-admin %s --help", command, command)
	}
}

// releaseVerifyFlags are those of verify.
type releaseVerifyFlags struct {
	trust     trustFlags
	registry  registryFlags
	state     stateFlags
	reproduce bool
	at        string
	format    choice
}

func (p *program) verifyReleaseCommand() *cobra.Command {
	f := releaseVerifyFlags{format: choice{values: []string{formatPretty, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "verify --trust FILE | --key NAME.pub FILE|REF",
		Short: "Say whether a bundle is released as it should be, and who signed what; or a state bundle",
		Long: `With --trust, checks a bundle as a node does before it activates it: signatures,
logs and timestamps, required statements, channel, expiry, revision, and that the
policy loads and answers. What a node remembers, the highest sequence it has seen, is
not known here. With --key, checks that this key signed it, and what it stated.

--reproduce compiles the charter in the bundle again and requires identical bytes:
then no rule in it is anything but the charter.

--state verifies a state bundle, of a server or in a file, by the state keys: its
statements, sequence and expiry. With --charter, also what the committee has to sign:
overrides, and what lifts a restriction. With --after, that it follows that earlier
state bundle, and lifts no restriction of it by itself.

FILE is a bundle beside FILE.sigstore.json. REF is oci://HOST/REPOSITORY:TAG, an
https:// URL, or an OCI layout, as save writes it. Verifying FILE, and a layout,
needs no network.

Exit code 6 says that it does not hold, and the output why, with a code.`,
		Example: `  charter-admin verify --trust trust.yaml bundle.tar.gz
  charter-admin verify --trust trust.yaml --reproduce oci://registry.example.org/charter:production
  charter-admin verify --key release.pub --format json bundle.tar.gz
  charter-admin verify --state --trust trust.yaml --charter charter.yaml https://charter.example.org/bundles/state
  charter-admin verify --state --key state.pub --charter charter.yaml --after yesterday.tar.gz state.tar.gz`,
		Args: arguments(1, 1, "one FILE or REF"),
	}
	f.trust.add(cmd)
	f.registry.add(cmd)
	f.registry.addMirrors(cmd)
	f.state.add(cmd)
	cmd.Flags().BoolVar(&f.reproduce, "reproduce", false, "compile the charter inside again and require identical bytes")
	cmd.Flags().StringVar(&f.at, "at", "", "verify as of that `time` (default now)")
	f.format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error { return p.verifyBundle(ctx, f, args[0]) })
	return cmd
}

func (p *program) verifyBundle(ctx context.Context, f releaseVerifyFlags, ref string) error {
	when := p.now()
	if f.at != "" {
		var err error
		if when, err = point("--at", f.at, when); err != nil {
			return err
		}
	}
	if err := f.state.check(f.reproduce); err != nil {
		return err
	}
	f.trust.state = f.state.wanted
	whom, err := f.trust.open(p, "verify")
	if err != nil {
		return err
	}
	if f.state.wanted {
		return p.verifyState(ctx, f, ref, whom, when)
	}
	return p.verifyRelease(ctx, f, ref, whom, when)
}

func (p *program) verifyRelease(ctx context.Context, f releaseVerifyFlags, text string, whom *signing.Trust, when time.Time) error {
	ref, options, err := f.registry.open(p, text)
	if err != nil {
		return err
	}
	r, err := distribution.Fetch(ctx, ref, options)
	j := judgement{Ref: text}
	if err == nil {
		err = p.judge(ctx, &j, whom, f.trust.policy != "", r, when)
	}
	if err != nil && isState(r.Layer) {
		j.Fix = "this is a state bundle: charter-admin verify --state"
	}
	if err == nil && f.reproduce {
		err = p.reproduce(r.Layer)
		j.Reproduced = err == nil
	}
	return p.printJudgement(&j, err, f.format)
}

// judgement is what `verify --format json` prints.
type judgement struct {
	OK            bool   `json:"ok"`
	Code          string `json:"code,omitempty"`
	Message       string `json:"message,omitempty"`
	Fix           string `json:"fix,omitempty"`
	Ref           string `json:"ref"`
	ReleaseDigest string `json:"release_digest,omitempty"`
	digests
	Channel    string     `json:"channel,omitempty"`
	Sequence   int64      `json:"sequence,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`
	Statements []stated   `json:"statements"`
	Ignored    []ignored  `json:"ignored"`
	Reproduced bool       `json:"reproduced"`
}

// ignored is a statement that does not count.
type ignored struct {
	Type    string `json:"type,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// judge verifies a release and fills in what is known of it, also when it does not
// hold.
func (p *program) judge(ctx context.Context, j *judgement, trust *signing.Trust, asNode bool, r distribution.Release, when time.Time) error {
	j.ReleaseDigest, j.LayerDigest, j.Revision = r.Manifest.Digest(), r.Manifest.Layer.Digest, r.Manifest.Revision
	found, err := trust.Verify(ctx, j.ReleaseDigest, r.Statements)
	for _, i := range found.Ignored {
		j.Ignored = append(j.Ignored, ignored{i.Type, string(i.Err.Code), i.Err.Err.Error()})
	}
	var last release.Policy
	for _, s := range found.Statements {
		st := newStated(s.Statement)
		st.Signers = s.Signers
		j.Statements = append(j.Statements, st)
		if policy, err := s.Policy(); err == nil && policy.Sequence > last.Sequence {
			last = policy
			j.Channel, j.Sequence, j.Expires = st.Channel, st.Sequence, st.Expires
		}
	}
	if err != nil {
		return err
	}
	a, err := newArchive(j.Ref, r.Layer, r.Manifest, nil)
	if err != nil {
		return err
	}
	j.digests = a.digests()
	if asNode {
		v, err := activation.VerifyRelease(ctx, trust, distribution.Resolved{Digest: j.ReleaseDigest, Manifest: r.Manifest.Bytes(), Statements: r.Statements}, r.Layer, when)
		if err == nil { // among statements for several channels, the one that counts
			expires := v.Release.Expires.UTC()
			j.Channel, j.Sequence, j.Expires = v.Release.Channel, v.Release.Sequence, &expires
		}
		return err
	}
	return checkStated(last, j.digests, when)
}

// checkStated compares what a release statement says with the bundle. There need be
// none for one key.
func checkStated(s release.Policy, d digests, when time.Time) error {
	refuse := func(code, format string, args ...any) error {
		return &activation.Error{Code: code, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case s.Sequence == 0:
		return nil
	case s.Revision != d.Revision:
		return refuse(activation.CodeRevisionMismatch, "released as revision %s, and the bundle is %s", s.Revision, d.Revision)
	case s.CharterDigest != d.CharterDigest:
		return refuse(activation.CodeCharterMismatch, "released with the charter %s, and the bundle holds %s", s.CharterDigest, d.CharterDigest)
	case !s.Expires.After(when):
		return refuse(activation.CodeExpired, "release %d of %s expired at %s", s.Sequence, s.Channel, s.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

func (p *program) printJudgement(j *judgement, refusal error, format choice) error {
	if j.OK = refusal == nil; !j.OK {
		j.Code, j.Message = activation.CodeOf(refusal), messageOf(refusal)
		if j.Fix == "" {
			j.Fix = fixOf(j.Code)
		}
	}
	var err error
	if format.is(formatJSON) {
		if j.Statements == nil {
			j.Statements = []stated{}
		}
		if j.Ignored == nil {
			j.Ignored = []ignored{}
		}
		err = p.printJSON(j)
	} else {
		err = p.showJudgement(j)
	}
	if err == nil && refusal != nil {
		err = silent(ExitVerify)
	}
	return err
}

// messageOf is the text of an error without its code, which is shown for itself.
func messageOf(err error) string {
	return strings.TrimSuffix(err.Error(), " ["+activation.CodeOf(err)+"]")
}

// line shows what a judgement says under a name, if it says anything.
func (p *program) line(name, text string) {
	if text != "" {
		fmt.Fprintf(p.stdout, "%-15s %s\n", name, printable(text))
	}
}

func (p *program) showJudgement(j *judgement) error {
	p.line("release digest", j.ReleaseDigest)
	p.line("layer digest", j.LayerDigest)
	p.line("revision", j.Revision)
	p.line("charter digest", j.CharterDigest)
	for _, s := range j.Statements {
		p.line("stated by", strings.Join(s.Signers, ", ")+": "+s.String())
	}
	for _, i := range j.Ignored {
		p.line("ignored", fmt.Sprintf("%s: %s [%s]", i.Type, i.Message, i.Code))
	}
	if j.Reproduced {
		p.line("reproduced", "the bytes are those that its charter compiles to")
	}
	if j.OK {
		p.line("verified", j.Ref)
		return nil
	}
	p.line("NOT verified", fmt.Sprintf("%s [%s]", j.Message, j.Code))
	p.line("fix", j.Fix)
	return nil
}
