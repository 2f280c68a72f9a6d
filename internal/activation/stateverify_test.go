package activation

import (
	"slices"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/releases"
)

func stateBundle(m *releases.Made) StateBundle {
	return StateBundle{distribution.Resolved{Digest: m.Digest(), Manifest: m.Manifest.Bytes(), Statements: m.Statements}, m.Archive}
}

// verifies returns the code that [VerifyState] has about a state after another, with the
// committee of the node.
func (m *meshNode) verifies(t *testing.T, made *releases.Made, after statement) string {
	t.Helper()
	after.issued = noon()
	before := stateBundle(after.make(t))
	_, err := VerifyState(t.Context(), StateCheck{Trust: m.trust.Load(), Charter: m.people.charter(t), After: &before, Now: *m.clock.Load()}, stateBundle(made))
	if err == nil {
		return ""
	}
	return CodeOf(err)
}

// What the committee has to sign is looked at under a charter, and what a bundle lifts
// after another bundle; both as a node does.
func TestVerifyState(t *testing.T) {
	all := newPeople(t)
	o := all.sign(t, 2, noon(), loosen(noon(), 2*time.Hour))
	lone := all.sign(t, 1, noon(), loosen(noon(), time.Hour))
	restore := all.sign(t, 2, noon(), committee.Request{Kind: committee.Restore, Node: "a"})
	over := func(s committee.Signed) doc {
		return doc{"overrides": rows{idOf(t, s): doc{"until": "2026-06-01T13:00:00Z"}}}
	}
	restricted := statement{sequence: 5, says: quarantined("a"), issued: noon()}
	for name, c := range map[string]struct {
		offer   statement
		after   *statement
		nobody  bool // no charter is given
		code    string
		inForce int
	}{
		"an override of a quorum":       {offer: statement{says: over(o), proofs: []committee.Signed{o}}, inForce: 1},
		"nobody asks for the committee": {offer: statement{says: over(lone)}, nobody: true},
		"an override of one":            {offer: statement{says: over(lone), proofs: []committee.Signed{lone}}, code: CodeOverrideUnproven},
		"an override of nobody":         {offer: statement{says: over(o)}, code: CodeOverrideUnproven},
		"a restriction goes on":         {offer: statement{says: quarantined("a")}, after: &restricted},
		"a restriction is gone":         {offer: statement{says: doc{}}, after: &restricted, code: CodeRestrictionKept},
		"it is lifted by the committee": {offer: statement{says: doc{}, proofs: []committee.Signed{restore}}, after: &restricted},
		"a restriction is not known":    {offer: statement{says: doc{}}},
		"a gap without the committee":   {offer: statement{says: doc{}}, after: &restricted, nobody: true},
		"older":                         {offer: statement{sequence: 4}, after: &restricted, nobody: true, code: CodeOlderSequence},
		"the same again":                {offer: restricted, after: &restricted},
		"another one of the number":     {offer: statement{sequence: 5, says: quarantined("b")}, after: &restricted, nobody: true, code: CodeSequenceReused},
	} {
		t.Run(name, func(t *testing.T) {
			if c.offer.sequence == 0 {
				c.offer.sequence = 6
			}
			c.offer.issued = noon()
			check := StateCheck{Trust: trustState(t, ""), Charter: all.charter(t), Now: noon().Add(time.Minute)}
			if c.nobody {
				check.Charter = nil
			}
			if c.after != nil {
				before := stateBundle(c.after.make(t))
				check.After = &before
			}
			v, err := VerifyState(t.Context(), check, stateBundle(c.offer.make(t)))
			if c.code == "" && err != nil || c.code != "" && (err == nil || CodeOf(err) != c.code) {
				t.Errorf("%v, want the code %q", err, c.code)
			}
			if c.code != "" && !slices.Contains(Codes(), c.code) {
				t.Errorf("%s is not listed", c.code)
			}
			if v.Sequence != c.offer.sequence || v.Charter != "mesh" || !slices.Equal(v.Signers, []string{"state-1"}) || len(v.InForce) != c.inForce {
				t.Errorf("%+v", v)
			}
		})
	}
}

// What came before must hold itself, and a key alone is a state key.
func TestVerifyStateOfOneKey(t *testing.T) {
	trust, err := signing.TrustStateKey(releases.StrangeKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	now := noon()
	good := stateBundle(statement{sequence: 6, issued: now}.make(t))
	v, err := VerifyState(t.Context(), StateCheck{Trust: trust, Now: now}, good)
	if err != nil || !slices.Equal(v.Signers, []string{"key"}) {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := trust.Verify(t.Context(), good.Resolved.Digest, good.Resolved.Statements); err == nil {
		t.Error("a state key counts for a release")
	}
	forged := stateBundle(statement{sequence: 5, issued: now, key: releases.TrustedKey(t)}.make(t))
	if _, err := VerifyState(t.Context(), StateCheck{Trust: trust, After: &forged, Now: now}, good); CodeOf(err) != "untrusted_key" {
		t.Errorf("what somebody else signed is believed to have come before: %v", err)
	}
	if _, err := signing.TrustStateKey([]byte("no key")); err == nil {
		t.Error("nothing is a key")
	}
}
