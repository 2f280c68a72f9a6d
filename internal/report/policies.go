package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
)

// Policy is a revision that decided in the period.
type Policy struct {
	Revision string `json:"revision"`
	// Charter, Version and Digest are those of the charter; empty when the ledger
	// does not say.
	Charter string `json:"charter,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"`
	// Given says that the charter was at hand when the report was made: by its
	// digest, it is the very one.
	Given bool `json:"given"`
	// Activations are how it came to decide.
	Activations []Activation `json:"activations"`
}

// Activation is one time that a policy began to decide.
type Activation struct {
	Index    uint64 `json:"index"`
	Time     string `json:"time"`
	Trigger  string `json:"trigger"` // start, watch, SIGHUP, api, promotion, canary, or why a canary ended
	Previous string `json:"previous,omitempty"`
	// Percent is how many of the nodes a canary answered, 0 when it ended; absent
	// for a policy that answers all.
	Percent *int `json:"percent,omitempty"`
	// Before says that it was before the period, and still held when that began.
	Before bool `json:"before"`
}

// activation is the part of the Data of an activation entry that reports tell.
type activation struct {
	Trigger  string `json:"trigger"`
	Charter  string `json:"charter"`
	Version  string `json:"version"`
	Digest   string `json:"digest"`
	Previous string `json:"previous"`
	Percent  *int   `json:"percent"`
	signed
}

// activationLimit is how many activations of one revision are listed: a state
// document that changes does not make one, a reload does.
const activationLimit = 100

// policies follows which policies decide.
type policies struct {
	period Period
	given  map[string]*charter.Charter // by digest
	byName map[string]*charter.Charter // by revision
	limit  int
	// active is the last activation before the period that was no canary.
	active *Policy
	byRev  map[string]*Policy // that were activated in the period
	more   uint64             // activations without a place
	seen   map[string]bool    // revisions of allowed questions in the period
}

func newPolicies(o *Options) *policies {
	p := &policies{period: o.Period, given: map[string]*charter.Charter{}, byName: map[string]*charter.Charter{}, limit: o.Rows, byRev: map[string]*Policy{}, seen: map[string]bool{}}
	for _, c := range o.Charters {
		p.given[c.Digest()], p.byName[c.Revision()] = c, c
	}
	return p
}

// activated takes note of an activation, in the period or before it.
func (p *policies) activated(ev *event, data *activation) {
	one := Activation{Index: ev.index, Time: stamp(instant(ev.Time)), Trigger: data.Trigger, Previous: data.Previous, Percent: data.Percent}
	policy := &Policy{Revision: ev.Revision, Charter: data.Charter, Version: data.Version, Digest: data.Digest}
	if !p.period.holds(ev.Time) {
		if data.Percent == nil {
			one.Before = true
			policy.Activations = []Activation{one}
			p.active = policy
		}
		return
	}
	known := p.byRev[ev.Revision]
	switch {
	case known == nil && len(p.byRev) >= p.limit:
		p.more++
		return
	case known == nil:
		known = policy
		p.byRev[ev.Revision] = known
	case known.Digest == "":
		known.Charter, known.Version, known.Digest = data.Charter, data.Version, data.Digest
	}
	if len(known.Activations) >= activationLimit {
		p.more++
		return
	}
	known.Activations = append(known.Activations, one)
}

// asked takes note of a revision that allowed something in the period.
func (p *policies) asked(revision string) {
	if len(p.seen) < p.limit {
		p.seen[revision] = true
	}
}

// all are the policies that decided in the period, in the order in which they
// began to.
func (p *policies) all() []Policy {
	byRev := maps.Clone(p.byRev)
	if p.active != nil {
		first := *p.active
		if later := byRev[first.Revision]; later != nil {
			first.Activations = append(slices.Clone(first.Activations), later.Activations...)
		}
		byRev[first.Revision] = &first
	}
	all := make([]Policy, 0, len(byRev))
	for _, policy := range byRev {
		one := *policy
		one.Given = p.given[one.Digest] != nil
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Policy) int { return cmp.Compare(a.Activations[0].Index, b.Activations[0].Index) })
	return all
}

// charterOf returns the charter of a revision; nil when it was not given. A revision
// names its charter by the beginning of its digest, an activation by all of it.
func (p *policies) charterOf(revision string) *charter.Charter { return p.byName[revision] }

// recording tells, of the revisions that decided in the period, which do not have
// allowed questions recorded, and of which that is not known. An allowed question
// that is recorded proves that its revision has them recorded.
func (p *policies) recording() (unrecorded, unknown []string) {
	unrecorded, unknown = []string{}, []string{}
	for _, policy := range p.all() {
		c := p.given[policy.Digest]
		switch {
		case p.seen[policy.Revision]:
		case c == nil:
			unknown = append(unknown, policy.Revision)
		case c.Audit.Allowed == "none":
			unrecorded = append(unrecorded, policy.Revision)
		}
	}
	return unrecorded, unknown
}

// sortedValues are those of a map of indices.
func sortedValues(m map[string]uint64) []uint64 { return slices.Sorted(maps.Values(m)) }
