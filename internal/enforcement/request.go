package enforcement

import (
	"context"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Override loosens what a signed request names, as far and as long as the charter
// lets a quorum do so: see [committee.Authorize]. It ends by itself; where the charter
// wants it renewed, as soon as it is not.
func (e *Enforcer) Override(ctx context.Context, signed committee.Signed) (Override, error) {
	id, err := overrideID(signed)
	if err != nil {
		return Override{}, err
	}
	err = e.request(ctx, signed, committee.Override, func(a *act) (ledger.Entry, error) {
		r := &a.signed.Request
		if a.s.overrides[id] != nil {
			return ledger.Entry{}, refuse(Replayed, "the override %s was declared before", id)
		}
		begin := r.From
		if begin.Before(a.now) {
			begin = a.now
		}
		return a.entry(ledger.Override, "", ledger.OverrideChange{
			ID: id, Action: ledger.Began, By: "quorum", Clauses: r.Clauses, Nodes: r.Nodes, Retention: r.Retention, Purposes: r.Purposes,
			From: textOf(r.From), Until: textOf(a.limit(r.Until, begin, begin)), Request: a.text, Signers: a.signers,
		})
	})
	return e.overrideOr(id, err)
}

// Renew lets an override last longer, until its own end or the longest time that the
// charter gives it from its beginning.
func (e *Enforcer) Renew(ctx context.Context, signed committee.Signed) (Override, error) {
	id := signed.Request.Override
	err := e.request(ctx, signed, committee.Renew, func(a *act) (ledger.Entry, error) {
		o, err := a.override(id)
		if err != nil {
			return ledger.Entry{}, err
		}
		until := a.limit(a.signed.Request.Until, o.From, a.now)
		if !until.After(o.Until) {
			return ledger.Entry{}, refuse(NotOverridable, "until: the override lasts until %s anyhow, and no longer by the charter", textOf(o.Until))
		}
		return a.entry(ledger.Override, "", ledger.OverrideChange{
			ID: id, Action: ledger.Renewed, By: "quorum", Clauses: o.Clauses, Nodes: o.Nodes, Until: textOf(until), Request: a.text, Signers: a.signers,
		})
	})
	return e.overrideOr(id, err)
}

// EndOverride ends an override before its time.
func (e *Enforcer) EndOverride(ctx context.Context, signed committee.Signed) (Override, error) {
	id := signed.Request.Override
	err := e.request(ctx, signed, committee.EndOverride, func(a *act) (ledger.Entry, error) {
		o, err := a.override(id)
		if err != nil {
			return ledger.Entry{}, err
		}
		return a.entry(ledger.Override, "", ledger.OverrideChange{
			ID: id, Action: ledger.Ended, By: "quorum", Clauses: o.Clauses, Nodes: o.Nodes, Request: a.text, Signers: a.signers,
		})
	})
	return e.overrideOr(id, err)
}

func (e *Enforcer) overrideOr(id string, err error) (Override, error) {
	if err != nil {
		return Override{}, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return *e.state.overrides[id], nil
}

// Restore gives a node its good standing back. Its incidents still count. A
// quarantine that a vote lifts takes the same signed request for now: the quorum
// attests that the vote was won.
func (e *Enforcer) Restore(ctx context.Context, signed committee.Signed) (Node, error) {
	id := signed.Request.Node
	err := e.request(ctx, signed, committee.Restore, func(a *act) (ledger.Entry, error) {
		n := a.s.nodes[id]
		if n == nil || n.standing == Good {
			return ledger.Entry{}, refuse(UnknownNode, "node: %q has a good standing; there is nothing to lift", id)
		}
		return a.entry(ledger.Standing, id, ledger.StandingChange{
			From: n.standing, To: Good, Action: ActionRestore, Cause: a.signed.Request.Nonce, Signers: a.signers, Request: a.text,
		})
	})
	if err != nil {
		return Node{}, err
	}
	return e.Node(id), nil
}

// EndRevocation gives a node its data access back.
func (e *Enforcer) EndRevocation(ctx context.Context, signed committee.Signed) (Node, error) {
	id := signed.Request.Node
	err := e.request(ctx, signed, committee.EndRevocation, func(a *act) (ledger.Entry, error) {
		n := a.s.nodes[id]
		if n == nil || n.revoked == nil {
			return ledger.Entry{}, refuse(UnknownNode, "node: the data access of %q is not revoked", id)
		}
		return a.entry(ledger.Revocation, id, ledger.RevocationChange{
			Action: ledger.Ended, Reason: n.revoked.Reason, By: "quorum", Signers: a.signers, Request: a.text,
		})
	})
	if err != nil {
		return Node{}, err
	}
	return e.Node(id), nil
}

// act is a request of the committee that is good, and what it acts on.
type act struct {
	s       *state
	charter *charter.Charter
	now     time.Time
	signed  committee.Signed
	text    string // of it, JSON
	signers []string
}

// request does what a signed request asks for, once.
func (e *Enforcer) request(ctx context.Context, signed committee.Signed, kind string, do func(*act) (ledger.Entry, error)) error {
	if signed.Request.Kind != kind {
		return refuse(InvalidRequest, "kind: it is %.40q, and this takes %s", signed.Request.Kind, kind)
	}
	text, err := signed.Encode()
	if err != nil {
		return refused(err)
	}
	if len(text) > ledger.MaxBody/2 {
		return refuse(InvalidRequest, "the request with its signatures is larger than %d bytes", ledger.MaxBody/2)
	}
	return e.command(ctx, ledger.Witnessed, func(s *state, now time.Time) (ledger.Entry, error) {
		c := e.Charter()
		if c == nil {
			return ledger.Entry{}, refuse(Unavailable, "there is no charter")
		}
		tally, err := committee.Authorize(c, signed, now)
		if err != nil {
			return ledger.Entry{}, refused(err)
		}
		if _, used := s.nonces[signed.Request.Nonce]; used {
			return ledger.Entry{}, refuse(Replayed, "nonce: a request with this one was made before")
		}
		return do(&act{s, c, now, signed, string(text), tally.Addresses()})
	})
}

// entry is the one about an act. Its id is the nonce, so that the ledger has it once.
func (a *act) entry(kind ledger.Kind, node string, data any) (ledger.Entry, error) {
	entry, err := entryOf(kind, node, "request/"+a.signed.Request.Nonce, data)
	entry.Severity = "high"
	return entry, err
}

// override returns one that is in force.
func (a *act) override(id string) (*Override, error) {
	o := a.s.overrides[id]
	switch {
	case o == nil:
		return nil, refuse(UnknownOverride, "override: there is none with the id %q", id)
	case !o.Ended.IsZero():
		return nil, refuse(AlreadyEnded, "override: %s ended at %s", id, textOf(o.Ended))
	}
	return o, nil
}

// limit is when an override ends that began then and is given or renewed now.
func (a *act) limit(until, begin, now time.Time) time.Time {
	if longest, err := charter.ParseDuration(a.charter.Emergency.Max); err != nil {
		until = now // which the committee's rules have refused already
	} else if last := begin.Add(longest); last.Before(until) {
		until = last
	}
	if each, err := charter.ParseDuration(a.charter.Emergency.Renew); err == nil && now.Add(each).Before(until) {
		until = now.Add(each)
	}
	return until
}

func overrideID(signed committee.Signed) (string, error) {
	id, err := signed.Request.ID()
	if err != nil {
		return "", refused(err)
	}
	return id, nil
}
