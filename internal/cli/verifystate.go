package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
)

// stateFlags are those of `verify --state`.
type stateFlags struct {
	wanted         bool
	charter, after string
}

func (f *stateFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wanted, "state", false, "verify a state bundle, such as /bundles/state of charter-server")
	cmd.Flags().StringVar(&f.charter, "charter", "", "with --state: the `file` of the charter in force, or its bundle: what its committee has to sign is verified, too")
	cmd.Flags().StringVar(&f.after, "after", "", "with --state: the `file` or reference of an earlier state bundle, which has been accepted")
}

// check refuses flags that mean nothing together.
func (f *stateFlags) check(reproduce bool) error {
	switch {
	case !f.wanted && (f.charter != "" || f.after != ""):
		return usagef("verify: --charter and --after are about state bundles: add --state")
	case f.wanted && reproduce:
		return usagef("verify: --reproduce is about bundles of a charter; a state bundle is compiled from nothing")
	}
	return nil
}

// stateJudgement is what `verify --state --format json` prints.
type stateJudgement struct {
	OK            bool       `json:"ok"`
	Code          string     `json:"code,omitempty"`
	Message       string     `json:"message,omitempty"`
	Fix           string     `json:"fix,omitempty"`
	Ref           string     `json:"ref"`
	ReleaseDigest string     `json:"release_digest,omitempty"`
	LayerDigest   string     `json:"layer_digest,omitempty"`
	Revision      string     `json:"revision,omitempty"`
	Charter       string     `json:"charter,omitempty"` // metadata.name
	Sequence      int64      `json:"sequence,omitempty"`
	Issued        *time.Time `json:"issued,omitempty"`
	Expires       *time.Time `json:"expires,omitempty"`
	Statements    []stated   `json:"statements"`
	Ignored       []ignored  `json:"ignored"`
	// Sections are how many rows each section of the document has, NotBelieved those
	// that nodes with this trust policy do not take from the server.
	Sections    map[string]int `json:"sections"`
	NotBelieved []string       `json:"not_believed"`
	// Verified says that what the committee has to sign was verified, with --charter.
	Verified  bool             `json:"requests_verified"`
	Overrides []string         `json:"overrides_in_force"`
	Requests  []stateRequest   `json:"requests"`
	document  map[string]any   // nil: it was not read
	trust     *signing.Trust   // whom the user believes
	committee *charter.Charter // whose committee counts, nil when that is not asked
}

// stateRequest is a signed request in proofs.json.
type stateRequest struct {
	Kind     string   `json:"kind,omitempty"`
	Node     string   `json:"node,omitempty"`
	Override string   `json:"override,omitempty"` // id
	Signers  []string `json:"signers"`            // members of the committee whose signatures hold
	Proven   bool     `json:"proven"`             // a quorum of the committee of --charter signed it
	Code     string   `json:"code,omitempty"`
	Message  string   `json:"message,omitempty"`
}

// verifyState verifies the state bundle that a reference names.
func (p *program) verifyState(ctx context.Context, f releaseVerifyFlags, ref string, trust *signing.Trust, when time.Time) error {
	j := stateJudgement{Ref: ref, trust: trust}
	check := activation.StateCheck{Trust: trust, Now: when}
	if f.state.charter != "" {
		c, err := p.charterInForce(f.state.charter)
		if err != nil {
			return err
		}
		check.Charter, j.committee = c, c
	}
	offered, err := p.fetchState(ctx, ref, f.registry)
	if err == nil && f.state.after != "" {
		var before activation.StateBundle
		if before, err = p.fetchState(ctx, f.state.after, f.registry); err != nil {
			err = fmt.Errorf("--after: %w", err)
		}
		check.After = &before
	}
	if stopped(err) {
		return err
	}
	if err == nil {
		err = j.judge(ctx, check, offered)
	}
	return p.printStateJudgement(ctx, &j, err, f.format)
}

// stopped tells a command line that cannot be from a bundle that does not hold.
func stopped(err error) bool {
	var e *exitError
	return errors.As(err, &e)
}

func (p *program) fetchState(ctx context.Context, text string, registry registryFlags) (activation.StateBundle, error) {
	ref, options, err := registry.open(p, text)
	if err != nil {
		return activation.StateBundle{}, err
	}
	r, err := distribution.Fetch(ctx, ref, options)
	if err != nil {
		return activation.StateBundle{}, err
	}
	resolved := distribution.Resolved{Digest: r.Manifest.Digest(), Manifest: r.Manifest.Bytes(), Statements: r.Statements}
	return activation.StateBundle{Resolved: resolved, Archive: r.Layer}, nil
}

// judge verifies a state bundle and fills in what is known of it, also when it does not
// hold.
func (j *stateJudgement) judge(ctx context.Context, check activation.StateCheck, b activation.StateBundle) error {
	found, err := j.trust.VerifyState(ctx, b.Resolved.Digest, b.Resolved.Statements)
	if ctx.Err() != nil {
		return err
	}
	for _, i := range found.Ignored {
		j.Ignored = append(j.Ignored, ignored{i.Type, string(i.Err.Code), i.Err.Err.Error()})
	}
	for _, s := range found.Statements {
		st := newStated(s.Statement)
		st.Signers = s.Signers
		j.Statements = append(j.Statements, st)
	}
	v, err := activation.VerifyState(ctx, check, b)
	j.ReleaseDigest, j.LayerDigest, j.Revision = v.Digest, v.LayerDigest, v.Revision
	if j.Charter, j.Sequence = v.Charter, v.Sequence; v.Sequence > 0 {
		issued, expires := v.Issued.UTC(), v.Expires.UTC()
		j.Issued, j.Expires = &issued, &expires
	}
	j.Overrides, j.document = v.InForce, v.Document
	j.Verified = check.Charter != nil && v.Document != nil
	for _, raw := range v.Proofs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j.Requests = append(j.Requests, newStateRequest(raw, check.Charter))
	}
	return err
}

// newStateRequest reads a request, and verifies it when there is a charter.
func newStateRequest(raw json.RawMessage, c *charter.Charter) stateRequest {
	s, err := committee.Decode(raw)
	r := stateRequest{Kind: s.Request.Kind, Node: s.Request.Node, Override: s.Request.Override, Signers: []string{}}
	if r.Kind == committee.Override {
		r.Override, _ = s.Request.ID() // it could be decoded, so it has one
	}
	if err == nil && c != nil {
		var tally committee.Tally
		tally, err = committee.Attested(c, s)
		for _, v := range tally.Signers {
			r.Signers = append(r.Signers, v.Member)
		}
		r.Proven = err == nil
	}
	var e *committee.Error
	if errors.As(err, &e) {
		r.Code, r.Message = e.Code, e.Message
	}
	return r
}

// complete makes lists of what is none, and counts what the document says.
func (j *stateJudgement) complete() {
	if j.Statements == nil {
		j.Statements = []stated{}
	}
	if j.Ignored == nil {
		j.Ignored = []ignored{}
	}
	if j.Overrides == nil {
		j.Overrides = []string{}
	}
	if j.Requests == nil {
		j.Requests = []stateRequest{}
	}
	j.Sections, j.NotBelieved = map[string]int{}, []string{}
	for _, name := range stateSections() {
		rows, _ := j.document[name].(map[string]any)
		if len(rows) > 0 {
			j.Sections[name] = len(rows)
		}
		if what := loosens(name); what != "" && len(rows) > 0 && !j.trust.StateMay(what) {
			j.NotBelieved = append(j.NotBelieved, name)
		}
	}
}

// stateSections are those of the document that are counted, in the order in which they
// are shown.
func stateSections() []string {
	return []string{statedoc.StandingSection, statedoc.RevocationsSection, statedoc.OverridesSection, statedoc.GrantsSection, statedoc.NodesSection}
}

// loosens names what trust.yaml has to allow (state.may) before a section counts.
func loosens(section string) string {
	switch section {
	case statedoc.GrantsSection:
		return signing.StateGrants
	case statedoc.NodesSection:
		return signing.StateLabels
	default:
		return ""
	}
}

func (p *program) printStateJudgement(ctx context.Context, j *stateJudgement, refusal error, format choice) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if j.OK = refusal == nil; !j.OK {
		j.Code, j.Message = activation.CodeOf(refusal), messageOf(refusal)
		j.Fix = stateFixOf(j.Code)
	}
	j.complete()
	var err error
	if format.is(formatJSON) {
		err = p.printJSON(j)
	} else {
		p.showStateJudgement(j)
	}
	if err == nil && refusal != nil {
		err = silent(ExitVerify)
	}
	return err
}

// mostRequests is how many requests are shown to people.
const mostRequests = 20

func (p *program) showStateJudgement(j *stateJudgement) {
	p.line("release digest", j.ReleaseDigest)
	p.line("layer digest", j.LayerDigest)
	p.line("revision", j.Revision)
	p.line("charter", j.Charter)
	if j.Issued != nil {
		p.line("issued", j.Issued.Format(time.RFC3339))
		p.line("expires", j.Expires.Format(time.RFC3339))
	}
	for _, s := range j.Statements {
		p.line("stated by", strings.Join(s.Signers, ", ")+": "+s.String())
	}
	for _, i := range j.Ignored {
		p.line("ignored", fmt.Sprintf("%s: %s [%s]", i.Type, i.Message, i.Code))
	}
	for _, name := range stateSections() {
		if n := j.Sections[name]; n > 0 {
			p.line("says", fmt.Sprintf("%s: %s", name, plural(n, "row")))
		}
	}
	for _, name := range j.NotBelieved {
		p.line("not believed", fmt.Sprintf("%s: trust.yaml does not have state: {may: [%s]}", name, loosens(name)))
	}
	for i, r := range j.Requests {
		if i == mostRequests {
			p.line("request", fmt.Sprintf("and %d more; --format json has all", len(j.Requests)-i))
			break
		}
		p.line("request", r.describe(j.Verified))
	}
	for _, id := range j.Overrides {
		p.line("in force", id)
	}
	if j.OK && !j.Verified && (len(j.Requests) > 0 || j.Sections[statedoc.OverridesSection] > 0) {
		p.line("NOT looked at", "what the committee has to sign: give --charter FILE")
	}
	if j.OK {
		p.line("verified", j.Ref)
		return
	}
	p.line("NOT verified", fmt.Sprintf("%s [%s]", j.Message, j.Code))
	p.line("fix", j.Fix)
}

func (r *stateRequest) describe(verified bool) string {
	about := r.Kind
	for _, what := range []string{r.Node, r.Override} {
		if what != "" {
			about += " " + what
		}
	}
	switch {
	case r.Code != "":
		return fmt.Sprintf("%s: NOT proven: %s [%s]", strings.TrimSpace(about), r.Message, r.Code)
	case !verified:
		return about
	default:
		return about + ": signed by " + strings.Join(r.Signers, ", ")
	}
}

// stateFixOf is [fixOf] about a state bundle.
func stateFixOf(code string) string {
	switch code {
	case string(signing.CodeUnsigned):
		return "fetch FILE.sigstore.json, too, which the server has beside it; is the file a state bundle?"
	case string(signing.CodeUntrustedKey):
		return "is it a state bundle, and of your server? If so, name its state key under state.keys of trust.yaml"
	case string(signing.CodeMissingStatement), string(signing.CodeTooFewSigners):
		return "state.threshold of trust.yaml wants more state keys than have signed"
	case string(signing.CodeSubjectMismatch):
		return "fetch the bundle and its statements again, both at once: the server makes another one every few minutes"
	case activation.CodeWrongCharter:
		return "give the charter whose nodes it is about, or fetch the bundle from their server"
	case activation.CodeStateExpired:
		return "fetch the newest one; if that has expired, too, look at the log of the server, and at the clocks"
	case activation.CodeOlderSequence:
		return "fetch the newest one; if this is the newest, ask why the server hands out an older one"
	case activation.CodeSequenceReused:
		return "two servers have one state key, or somebody else has it: make another key, and find out"
	case activation.CodeRestrictionKept:
		return "nodes hold on to the restrictions. To lift them, bring a request that the committee signed: charter-admin restore"
	case activation.CodeOverrideUnproven:
		return "the override has no effect on nodes. Is this the charter in force? If so, ask who made it without the committee"
	case bundle.CodeBadManifest, bundle.CodeUnexpectedFile, bundle.CodeBadRoots:
		return "is it a state bundle? That of a charter is verified without --state"
	default:
		return fixOf(code)
	}
}

// isState tells a state bundle from that of a charter.
func isState(archive []byte) bool {
	_, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{})
	return err == nil
}
