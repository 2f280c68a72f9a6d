package activation

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/statedoc"
)

// holding is what a node holds on to of the state bundles that it accepted, whatever
// the next one says: that is its defence against whoever has the state key. It is on
// disk beside the last bundle.
type holding struct {
	Charter  string    `json:"charter"` // metadata.name; a holding is of one charter
	Sequence int64     `json:"sequence"`
	Digest   string    `json:"digest"` // of the manifest with that sequence
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`

	// Standing and Revoked are restrictions by node: those that the last bundle states,
	// and those that it may not lift.
	Standing map[string]heldStanding   `json:"standing,omitempty"`
	Revoked  map[string]heldRevocation `json:"revoked,omitempty"`
	// Overrides are those that were seen, by id, until nothing can bring them back.
	Overrides map[string]heldOverride `json:"overrides,omitempty"`
	// Spent are nonces of requests that lift nothing any more, with when these expire.
	// Requests that expire before Floor are spent, too.
	Spent map[string]time.Time `json:"spent,omitempty"`
	Floor time.Time            `json:"floor,omitzero"`
}

type heldStanding struct {
	statedoc.Standing

	Stated time.Time `json:"stated"` // last by a bundle
}

type heldRevocation struct {
	statedoc.Revocation

	Stated time.Time `json:"stated"`
}

// heldOverride is what limits an override that the charter wants renewed.
type heldOverride struct {
	First   time.Time `json:"first"`            // seen
	Renewed time.Time `json:"renewed,omitzero"` // by a request that was new
	Nonces  []string  `json:"nonces,omitempty"` // of such requests
	Ended   bool      `json:"ended,omitempty"`  // by the committee
	Forget  time.Time `json:"forget"`           // when nothing can bring it back
}

const (
	// maxVerified bounds the signed requests that are verified for one bundle, in the
	// order in which they are needed: half a millisecond each.
	maxVerified = 2000
	// maxSpent bounds the nonces; beyond, Floor takes their place.
	maxSpent = 65_536
	// skew is by how much the clocks of a node and of the committee may differ.
	skew = 24 * time.Hour
)

// fold is one bundle being put on top of a holding.
type fold struct {
	holding

	charter  *charter.Charter // nil: nothing can be verified
	proofs   proofs
	now      time.Time
	stated   time.Time // when the bundle says what it says, by no later clock than ours
	verified int
	limits   override
	findings findings
}

// override are the limits of a charter for overrides; each is 0 without renewal.
type override struct{ longest, each time.Duration }

// findings are what a bundle claims without proof.
type findings struct {
	kept     []string // nodes whose restriction it lifts
	unproven []string // ids of overrides
	reason   error    // of the first of them
}

// next returns the holding after a bundle that was verified, the overrides of it that
// are proven, and what was not. The same bundle on top of the result changes nothing,
// unless c is another charter or time has passed.
func (h holding) next(s *bundle.State, p release.State, digest string, c *charter.Charter, now time.Time) (holding, map[string]any, findings) {
	f := fold{holding: h, charter: c, proofs: readProofs(s.Proofs()), now: now, stated: earlier(now, p.Issued)}
	f.Charter, f.Sequence, f.Digest, f.Issued, f.Expires = p.Charter, p.Sequence, digest, p.Issued, p.Expires
	f.Overrides, f.Spent = maps.Clone(h.Overrides), maps.Clone(h.Spent)
	if f.Overrides == nil {
		f.Overrides = map[string]heldOverride{}
	}
	if f.Spent == nil {
		f.Spent = map[string]time.Time{}
	}
	f.Standing, f.Revoked = f.standings(s.Document()), f.revocations(s.Document())
	f.end()
	granted := f.grant(section(s.Document(), statedoc.OverridesSection))
	f.forget()
	return f.holding, granted, f.findings
}

// section returns one of the document by its name; nil when there is none that can be
// read.
func section(document map[string]any, name string) map[string]any {
	rows, _ := document[name].(map[string]any)
	return rows
}

func (f *fold) standings(document map[string]any) map[string]heldStanding {
	next := map[string]heldStanding{}
	for id, row := range section(document, statedoc.StandingSection) {
		if s := statedoc.ReadStanding(row); s.Gates() {
			next[id] = heldStanding{s, f.stated}
		}
	}
	stated := slices.Collect(maps.Keys(next))
	for _, id := range slices.Sorted(maps.Keys(f.Standing)) {
		held := f.Standing[id]
		now, gates := next[id]
		covered := gates && now.Covers(held.Standing)
		switch {
		case over(held.Until, f.now):
		case !covered && f.lifted(committee.Restore, id, held.Stated, held.Until):
		case gates:
			next[id] = heldStanding{now.Join(held.Standing), latest(now.Stated, held.Stated)}
		default:
			next[id] = held
		}
	}
	for _, id := range stated {
		f.spend(committee.Restore, id)
	}
	return next
}

func (f *fold) revocations(document map[string]any) map[string]heldRevocation {
	next := map[string]heldRevocation{}
	stated := section(document, statedoc.RevocationsSection)
	for id, row := range stated {
		next[id] = heldRevocation{statedoc.ReadRevocation(row), f.stated}
	}
	for _, id := range slices.Sorted(maps.Keys(f.Revoked)) {
		held := f.Revoked[id]
		now, states := next[id]
		covered := states && now.Covers(held.Revocation)
		switch {
		case over(held.Until, f.now):
		case !covered && f.lifted(committee.EndRevocation, id, held.Stated, held.Until):
		case states:
			next[id] = heldRevocation{now.Join(held.Revocation), latest(now.Stated, held.Stated)}
		default:
			next[id] = held
		}
	}
	for id := range stated {
		f.spend(committee.EndRevocation, id)
	}
	return next
}

// lifted reports whether the committee ended the restriction of a node that a bundle
// stated last at a time: by a request that was good after that, and that the node has
// not seen beside a restriction.
func (f *fold) lifted(kind, id string, stated, until time.Time) bool {
	for _, r := range f.proofs.lifts[target{kind, id}] {
		_, spent := f.Spent[r.Request.Nonce]
		if spent || !r.Request.Expires.After(f.Floor) || !r.Request.Expires.After(stated) || !f.timely(r) {
			continue
		}
		if err := f.attested(r); err != nil {
			f.findings.blame(err)
			continue
		}
		f.Spent[r.Request.Nonce] = r.Request.Expires
		return true
	}
	if until.IsZero() || until.After(f.now.Add(grace)) {
		f.findings.kept = append(f.findings.kept, id)
	}
	return false
}

// grace is how much earlier than by the clock of the node a restriction may end
// elsewhere without a word: until then it is held all the same.
const grace = 10 * time.Minute

// spend takes from the requests in a bundle the power to lift a restriction that the
// same bundle states: they lifted one before it.
func (f *fold) spend(kind, id string) {
	for _, r := range f.proofs.lifts[target{kind, id}] {
		if f.charter != nil && f.timely(r) {
			f.Spent[r.Request.Nonce] = r.Request.Expires
		}
	}
}

// timely reports whether a request expires when a request of now can.
func (f *fold) timely(r committee.Signed) bool {
	return !r.Request.Expires.After(f.now.Add(committee.MaxLife + skew))
}

var errNoCharter = errors.New("there is no charter yet whose committee could have signed it")

// attested verifies a request against the charter.
func (f *fold) attested(r committee.Signed) error {
	if f.charter == nil {
		return errNoCharter
	}
	if f.verified++; f.verified > maxVerified {
		return failf(CodeTooManyProofs, "more than %d requests would have to be verified at once", maxVerified)
	}
	_, err := committee.Attested(f.charter, r)
	return err
}

// forget drops what can no longer matter.
func (f *fold) forget() {
	maps.DeleteFunc(f.Overrides, func(_ string, o heldOverride) bool { return !f.now.Before(o.Forget) })
	oldest := f.now.Add(-skew)
	for _, s := range f.Standing {
		oldest = earlier(oldest, s.Stated)
	}
	for _, r := range f.Revoked {
		oldest = earlier(oldest, r.Stated)
	}
	maps.DeleteFunc(f.Spent, func(_ string, expires time.Time) bool { return expires.Before(oldest) || expires.Before(f.Floor) })
	if len(f.Spent) > maxSpent {
		for _, expires := range f.Spent {
			f.Floor = latest(f.Floor, expires)
		}
		f.Spent = map[string]time.Time{}
	}
}

func (w *findings) blame(err error) {
	if w.reason == nil {
		w.reason = err
	}
}

func over(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }

func latest(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}
