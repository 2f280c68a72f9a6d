package activation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
)

// document implements [states].
func (k *stateKeeper) document(c *charter.Charter, now time.Time) document {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holding.Charter == "" || k.holding.Charter != c.Metadata.Name {
		return document{}
	}
	if k.bundle != nil && k.under != c {
		// Other people may sign now. What they do not vouch for ends, and what they do may
		// lift something. The same follows from what is on disk.
		k.holding, k.granted, k.claims = k.holding.next(k.bundle, k.state(), k.holding.Digest, c, now)
		k.under = c
	}
	d := document{data: k.sections(k.current(now), now)}
	if c.Enforcement.State == "required" {
		if k.bundle != nil { // otherwise the rules find none that is current
			d.data[statedoc.ExpiresField] = k.expires()
		}
	} else if len(d.data) == 0 {
		d.data = nil
	}
	if k.current(now) {
		d.until = k.holding.Expires
	}
	d.id = identify(d.data)
	return d
}

// current reports whether there is a bundle that is trusted and has not expired.
func (k *stateKeeper) current(now time.Time) bool {
	return k.bundle != nil && now.Before(k.holding.Expires)
}

// state is the statement about the last bundle.
func (k *stateKeeper) state() release.State {
	h := &k.holding
	return release.State{Charter: h.Charter, Sequence: h.Sequence, Issued: h.Issued, Expires: h.Expires}
}

// sections are those of the document. What only restricts is always there; what loosens
// and what is of no consequence, as long as the bundle is current.
func (k *stateKeeper) sections(current bool, now time.Time) map[string]any {
	standing, revoked := map[string]any{}, map[string]any{}
	data := map[string]any{}
	if current {
		for id, row := range section(k.bundle.Document(), statedoc.StandingSection) {
			standing[id] = statedoc.ReadStanding(row).Row()
		}
		if len(k.granted) > 0 {
			data[statedoc.OverridesSection] = maps.Clone(k.granted)
		}
		for what, name := range map[string]string{signing.StateGrants: statedoc.GrantsSection, signing.StateLabels: statedoc.NodesSection} {
			if rows := section(k.bundle.Document(), name); len(rows) > 0 && k.o.Trust().StateMay(what) {
				data[name] = rows
			}
		}
	}
	for id, s := range k.holding.Standing {
		standing[id] = s.Row()
	}
	for id, r := range k.holding.Revoked {
		revoked[id] = r.Row()
	}
	for name, rows := range map[string]map[string]any{statedoc.StandingSection: standing, statedoc.RevocationsSection: revoked} {
		if len(rows) > 0 {
			data[name] = rows
		}
	}
	return data
}

// expires is when the rules take the document for expired: no later than the statement
// says, and what the document says for itself, when that can be read.
func (k *stateKeeper) expires() any {
	own, given := k.bundle.Document()[statedoc.ExpiresField]
	at, readable := statedoc.Time(own)
	switch {
	case given && !readable:
		return own // which the rules cannot read either
	case given:
		return statedoc.Text(earlier(at, k.holding.Expires))
	default:
		return statedoc.Text(k.holding.Expires)
	}
}

// content identifies what the last bundle says, its time aside.
func (k *stateKeeper) content() string {
	if k.bundle == nil {
		return ""
	}
	return identify(k.sections(true, k.o.Now()))
}

func identify(data map[string]any) string {
	if data == nil {
		return ""
	}
	text, err := json.Marshal(data) // members sorted
	if err != nil {
		return fmt.Sprint("not JSON: ", err) // no bundle has it
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// status implements [states].
func (k *stateKeeper) status(now time.Time) *StateStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := &k.holding
	nodes := map[string]bool{}
	for id := range h.Standing {
		nodes[id] = true
	}
	for id := range h.Revoked {
		nodes[id] = true
	}
	s := &StateStatus{
		Charter: h.Charter, Digest: h.Digest, Sequence: h.Sequence, Issued: h.Issued, Expires: h.Expires, LastChecked: k.checked, Current: k.current(now), Restricted: len(nodes),
	}
	if s.Current {
		s.Overrides = len(k.granted)
	}
	return s
}

func (k *stateKeeper) close() error { return nil }

// tell holds the conditions that follow from the last state, and from its age.
func (k *stateKeeper) tell(ctx context.Context) {
	k.mu.Lock()
	h, have, claims := k.holding, k.bundle != nil, k.claims
	k.mu.Unlock()
	now := k.o.Now()
	age := Event{Part: PartState, Kind: EventDegraded, Sequence: h.Sequence}
	switch {
	case !have:
		age.Code, age.Message = CodeStateMissing, "there is no state that can be trusted; what restricts stays"
	case !now.Before(h.Expires):
		age.Code, age.Message = CodeStateExpired, fmt.Sprintf("the state of sequence %d expired on %s; what restricts stays", h.Sequence, h.Expires.Format(time.RFC3339))
	}
	if age.Code != "" {
		k.held.set(ctx, keyStateAge, age)
	} else {
		k.held.clear(ctx, keyStateAge)
	}
	if e := claims.event(); e.Code != "" {
		k.held.set(ctx, keyStateProofs, e)
	} else {
		k.held.clear(ctx, keyStateProofs)
	}
}

// event is about what the last state claims without proof; without a code there is
// nothing.
func (w *findings) event() Event {
	e := Event{Part: PartState, Kind: EventDegraded}
	switch {
	case len(w.kept) > 0:
		e.Code = CodeRestrictionKept
		e.Message = "restrictions of " + some(w.kept) + " are gone without a request of the committee that lifts them; they are kept"
	case len(w.unproven) > 0:
		e.Code = CodeOverrideUnproven
		e.Message = "overrides " + some(w.unproven) + " are not what a quorum of the active charter signed; they have no effect"
	default:
		return e
	}
	if w.reason != nil {
		e.Message += ": " + w.reason.Error()
	}
	return e
}

// some lists a few.
func some(ids []string) string {
	const most = 5
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
}

// retrust verifies the last state under another trust policy. When it does not satisfy
// that, only what restricts stays.
func (k *stateKeeper) retrust(ctx context.Context) {
	trust := k.o.Trust()
	k.mu.Lock()
	stored, h := k.stored, k.holding
	k.mu.Unlock()
	if trust == k.trust || stored.Manifest == nil {
		k.trust = trust
		return
	}
	k.trust = trust
	o, err := k.judge(ctx, stored.resolved())
	if ended(ctx) {
		k.trust = nil // next time
		return
	}
	if err == nil {
		k.held.clear(ctx, keyStateTrust)
	} else {
		k.held.set(ctx, keyStateTrust, Event{Part: PartState, Kind: EventDegraded, Code: CodeOf(err), Message: err.Error(), Digest: h.Digest, Sequence: h.Sequence, Untrusted: true})
	}
	s, broken := o.open(stored.Archive, k.o.MaxState)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bundle, k.under = nil, nil; err == nil && broken == nil {
		k.bundle = s
	}
}
