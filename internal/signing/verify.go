package signing

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/westworld-charter/charter/internal/release"
)

// Limits of what is verified beside one release.
const (
	MaxStatements = 200     // Sigstore bundles
	MaxBundle     = 1 << 20 // bytes of one
)

// Verified is what trusted signers state about one manifest.
type Verified struct {
	// Statements have each the signers that the policy wants for its predicate type,
	// in the order of the bundles.
	Statements []Statement
	// Ignored are the bundles that do not count.
	Ignored []Rejection
}

// Statement is a statement and the names of its signers, sorted.
type Statement struct {
	release.Statement
	Payload []byte // of the first signer: what was signed
	Signers []string
}

// Rejection says why one bundle does not count.
type Rejection struct {
	Index int    // in the bundles that were given
	Type  string // predicate type that the bundle claims, "" when it cannot be read
	Err   *Error
}

// Verify returns what trusted signers state about the manifest with that digest, when
// it is all that the policy requires. It fails with an [*Error] otherwise; Verified
// then still says why each bundle was ignored. Statements that do not count do no
// harm beside others that do.
func (t *Trust) Verify(ctx context.Context, digest string, bundles [][]byte) (Verified, error) {
	return t.policy.verify(ctx, digest, bundles)
}

// VerifyState is [Trust.Verify] for the manifest of a state bundle: with the keys for
// state alone, which count for nothing else.
func (t *Trust) VerifyState(ctx context.Context, digest string, bundles [][]byte) (Verified, error) {
	if t.state == nil {
		return Verified{}, newError(CodeNoStateKey, "the trust policy names no key that may sign state (state.keys)")
	}
	return t.state.verify(ctx, digest, bundles)
}

func (a *authority) verify(ctx context.Context, digest string, bundles [][]byte) (Verified, error) {
	if !release.ValidDigest(digest) {
		return Verified{}, newError(CodeSubjectMismatch, "%q is not the digest of a manifest", digest)
	}
	switch {
	case len(bundles) == 0:
		return Verified{}, newError(CodeUnsigned, "%s is not signed", digest)
	case len(bundles) > MaxStatements:
		return Verified{}, newError(CodeTooManyStatements, "%d statements about %s, want at most %d", len(bundles), digest, MaxStatements)
	}
	var found tally
	for i, data := range bundles {
		if err := ctx.Err(); err != nil {
			return Verified{}, err
		}
		one, rejected := a.examine(digest, data)
		if rejected != nil {
			found.rejected = append(found.rejected, Rejection{i, one.Type, rejected})
			continue
		}
		found.add(i, one)
	}
	return a.judge(digest, &found)
}

// evidence is one bundle that is in order: a statement and who may have signed it. An
// identity can fit several signers of the policy.
type evidence struct {
	release.Statement
	payload []byte
	signers []string
}

// examine returns the evidence of one bundle, or why it is none. The statement of a
// rejected one is only what it claims.
func (a *authority) examine(digest string, data []byte) (evidence, *Error) {
	e, err := open(data)
	if err != nil {
		return evidence{}, err
	}
	one := evidence{Statement: e.statement, payload: e.payload}
	check, options, err := a.checkFor(e)
	if err != nil {
		return one, err
	}
	subject, _ := hex.DecodeString(strings.TrimPrefix(digest, "sha256:")) // verify has looked at it
	result, failure := check.verifier.Verify(e.bundle, verify.NewPolicy(verify.WithArtifactDigest("sha256", subject), options...))
	if failure != nil || e.statement.Subject != digest {
		return one, a.diagnose(e, check, digest, failure)
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		one.signers = []string{a.keys[e.hint]}
		return one, nil
	}
	for _, id := range a.identities {
		if id.matcher.Verify(*result.Signature.Certificate) == nil {
			one.signers = append(one.signers, id.name)
		}
	}
	return one, nil
}

// checkFor returns how a bundle is verified, unless nobody of the policy can have
// signed it.
func (a *authority) checkFor(e entity) (check, []verify.PolicyOption, *Error) {
	if e.certificate == nil {
		if _, known := a.keys[e.hint]; !known {
			return check{}, nil, newError(CodeUntrustedKey, "signed with a key that is not trusted (hint %s)", clip(e.hint))
		}
		return a.keyed, []verify.PolicyOption{verify.WithKey()}, nil
	}
	if len(a.identities) == 0 {
		return check{}, nil, newError(CodeUntrustedIdentity, "signed by %s, and no identity is trusted", e.certificate.identity())
	}
	var options []verify.PolicyOption
	for _, id := range a.identities {
		options = append(options, verify.WithCertificateIdentity(id.matcher))
	}
	return a.certified, options, nil
}

// tally is what the bundles of one manifest amount to.
type tally struct {
	statements []*counted
	rejected   []Rejection
}

// counted is a statement and all evidence for it.
type counted struct {
	Statement
	index    int        // of the first bundle
	evidence [][]string // of each bundle, the signers that it may stand for
}

// add counts a bundle with those that say the same: the same type and predicate.
// Signers of different sequences do not add up.
func (t *tally) add(index int, one evidence) {
	for _, s := range t.statements {
		if s.Type == one.Type && sameJSON(s.Predicate, one.Predicate) {
			s.evidence = append(s.evidence, one.signers)
			return
		}
	}
	t.statements = append(t.statements, &counted{Statement{one.Statement, one.payload, nil}, index, [][]string{one.signers}})
}

func sameJSON(a, b []byte) bool {
	x, y := jsontext.Value(slices.Clone(a)), jsontext.Value(slices.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && string(x) == string(y)
}

// count returns the signers of a statement among those that may sign it; nil means
// all may. A bundle stands for the first it fits, so one signature is never two
// signers.
func (s *counted) count(may []string) []string {
	var names []string
	for _, signers := range s.evidence {
		i := slices.IndexFunc(signers, func(name string) bool { return may == nil || slices.Contains(may, name) })
		if i >= 0 {
			names = append(names, signers[i])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// judge decides whether the tally is all that is required.
func (a *authority) judge(digest string, found *tally) (Verified, error) {
	var v Verified
	short := map[string]*Error{} // by type
	for _, s := range found.statements {
		want := a.wanted(s.Type)
		s.Signers = s.count(want.signers)
		if len(s.Signers) >= want.threshold {
			v.Statements = append(v.Statements, s.Statement)
			continue
		}
		err := newError(CodeTooFewSigners, "the statement %s is signed by %s, want %s", s.Type, listed(s.Signers), want)
		found.rejected = append(found.rejected, Rejection{s.index, s.Type, err})
		short[s.Type] = err
	}
	slices.SortStableFunc(found.rejected, func(x, y Rejection) int { return cmp.Compare(x.Index, y.Index) })
	v.Ignored = found.rejected
	for _, want := range a.require {
		if !slices.ContainsFunc(v.Statements, func(s Statement) bool { return s.Type == want.predicate }) {
			return v, a.missing(digest, want.predicate, v, short[want.predicate])
		}
	}
	if len(v.Statements) == 0 {
		return v, closest(digest, v.Ignored)
	}
	return v, nil
}

// missing says why nothing counts for a required type: what of this type comes
// closest, else what is there instead.
func (a *authority) missing(digest, predicate string, v Verified, short *Error) *Error {
	if short != nil {
		return short
	}
	same := slices.DeleteFunc(slices.Clone(v.Ignored), func(r Rejection) bool { return r.Type != predicate })
	switch {
	case len(same) > 0:
		return closest(digest, same)
	case len(v.Statements) > 0:
		return newError(CodeMissingStatement, "no statement %s about %s", predicate, digest)
	default:
		return closest(digest, v.Ignored)
	}
}

// closest returns the rejection that came closest to acceptance, the first of equals.
func closest(digest string, ignored []Rejection) *Error {
	order := Codes()
	best := slices.MaxFunc(ignored, func(x, y Rejection) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Err.Code), slices.Index(order, y.Err.Code)), cmp.Compare(y.Index, x.Index))
	})
	if len(ignored) == 1 {
		return newError(best.Err.Code, "%s: %w", digest, best.Err.Err)
	}
	return newError(best.Err.Code, "%s: %w (the best of %d statements that do not count)", digest, best.Err.Err, len(ignored))
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none that counts"
	}
	return strings.Join(names, ", ")
}

// clip bounds what a foreign text adds to a message.
func clip(text string) string {
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}
