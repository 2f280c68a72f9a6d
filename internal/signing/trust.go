package signing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/westworld-charter/charter/internal/release"
)

// Trust is a trust policy: who may sign the releases of a channel, and what a release
// must come with. It is immutable and safe for concurrent use. Make one with
// [ReadTrust], [ParseTrust] or [TrustKey].
type Trust struct {
	channel string
	policy  *authority
	state   *authority // nil: nobody may sign state
	may     []string
}

// TrustKey returns the policy that trusts one key (PKIX PEM), for any channel and any
// statement, without log and timestamp, and for no state.
func TrustKey(public []byte) (*Trust, error) {
	key, err := parsePublic(public)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	a := &authority{keys: map[string]string{hintOf(key): "key"}, threshold: 1}
	if err := a.prepare(nil, keyring{hintOf(key): key}, demands{}); err != nil {
		return nil, err
	}
	return &Trust{policy: a}, nil
}

// TrustStateKey returns the policy that trusts one key (PKIX PEM) for state, and nobody
// for a release.
func TrustStateKey(public []byte) (*Trust, error) {
	key, err := parsePublic(public)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	nobody := &authority{threshold: 1}
	a := &authority{keys: map[string]string{hintOf(key): "key"}, threshold: 1, require: []requirement{{predicate: release.StateType, threshold: 1}}}
	if err := errors.Join(nobody.prepare(nil, keyring{}, demands{}), a.prepare(nil, keyring{hintOf(key): key}, demands{})); err != nil {
		return nil, err
	}
	return &Trust{policy: nobody, state: a}, nil
}

// Channel returns the channel whose releases the policy is for, "" for any.
func (t *Trust) Channel() string { return t.channel }

// HasState reports whether the policy names keys for state.
func (t *Trust) HasState() bool { return t.state != nil }

// What state keys may be trusted with in trust.yaml (state.may): what a state bundle
// says of these loosens what the charter says, and no quorum has signed it.
const (
	StateGrants = "grants" // roles given to nodes and people
	StateLabels = "labels" // labels of nodes, which put them into groups
)

// StateMay reports whether nodes believe the state keys alone about [StateGrants] or
// [StateLabels].
func (t *Trust) StateMay(what string) bool { return slices.Contains(t.may, what) }

// authority is who may sign one kind of manifests, and what is wanted of them.
type authority struct {
	keys       map[string]string // names of signers by the hints of their keys
	identities []identity
	threshold  int
	require    []requirement

	material  root.TrustedMaterial
	keyed     check // how bundles of keys are verified
	certified check // how those of identities are
}

// identity is a signer that is known by what an issuer says of it.
type identity struct {
	name    string
	matcher verify.CertificateIdentity
}

// requirement is a predicate type that must be stated.
type requirement struct {
	predicate string
	signers   []string // who may state it; nil: every signer
	threshold int
}

func (r requirement) String() string {
	if r.signers == nil {
		return fmt.Sprintf("%d", r.threshold)
	}
	return fmt.Sprintf("%d of %s", r.threshold, strings.Join(r.signers, ", "))
}

// wanted returns what is wanted of statements of a type, required or not.
func (a *authority) wanted(predicate string) requirement {
	i := slices.IndexFunc(a.require, func(r requirement) bool { return r.predicate == predicate })
	if i < 0 {
		return requirement{predicate: predicate, threshold: a.threshold}
	}
	return a.require[i]
}

// defaultRequire is what cosign states with every signature and what we state about
// every release.
func defaultRequire() []string { return []string{release.SignatureType, release.PolicyType} }

// demands are how many log entries and timestamps are wanted. Zero is the default:
// one for identities, none for keys.
type demands struct {
	logs, timestamps int
	ignoreSCT        bool
}

// prepare makes the verifiers. trusted may be nil without identities and demands.
func (a *authority) prepare(trusted root.TrustedMaterial, keys keyring, d demands) error {
	if trusted == nil {
		trusted = &root.BaseTrustedMaterial{}
	}
	a.material = material{trusted, keys}
	var err, err2 error
	a.keyed, err = newCheck(a.material, check{logs: d.logs, timestamps: d.timestamps})
	certified := check{logs: max(d.logs, 1), timestamps: max(d.timestamps, 1), scts: 1}
	if d.ignoreSCT {
		certified.scts = 0
	}
	a.certified, err2 = newCheck(a.material, certified)
	return errors.Join(err, err2)
}

func newCheck(trusted root.TrustedMaterial, c check) (check, error) {
	options := []verify.VerifierOption{verify.WithoutStatementPredicate()}
	if c.logs > 0 {
		options = append(options, verify.WithTransparencyLog(c.logs))
	}
	if c.scts > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(c.scts))
	}
	if c.timestamps > 0 {
		options = append(options, verify.WithObserverTimestamps(c.timestamps))
	} else {
		options = append(options, verify.WithNoObserverTimestamps())
	}
	var err error
	c.verifier, err = verify.NewVerifier(trusted, options...)
	return c, err
}
