package enforcement

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// window is for how long a node may export its own data when the charter does not say.
const window = 30 * 24 * time.Hour

// Revoke ends the data access of a node: it may collect nothing from now on, and
// export its own data as long as the charter says. Giving it back takes the
// committee: see [Enforcer.EndRevocation]. Node, Reason, By and RequestID are read.
func (e *Enforcer) Revoke(ctx context.Context, r Revocation) (Revocation, error) {
	start := time.Now()
	switch {
	case r.Node == "" || len(r.Node) > decision.MaxNameBytes || !utf8.ValidString(r.Node):
		return Revocation{}, refuse(InvalidRevocation, "node: it must name a node, in %d bytes at most", decision.MaxNameBytes)
	case !slices.Contains(ledger.RevocationReasons(), r.Reason):
		return Revocation{}, refuse(InvalidRevocation, "reason: it is one of %s", strings.Join(ledger.RevocationReasons(), ", "))
	case len(r.RequestID) > maxShort || len(r.By) > 2*maxShort || !utf8.ValidString(r.RequestID+r.By):
		return Revocation{}, refuse(InvalidRevocation, "request_id: it must be UTF-8 of %d bytes at most", maxShort)
	}
	id := digest(rand.Text())
	if r.RequestID != "" {
		id = digest(r.By, r.RequestID)
	}
	err := e.command(ctx, ledger.Durable, func(s *state, now time.Time) (ledger.Entry, error) {
		change, err := s.revocation(e.Charter(), r.Node, now)
		if err != nil {
			return ledger.Entry{}, err
		}
		change.Reason, change.By = r.Reason, r.By
		entry, err := entryOf(ledger.Revocation, r.Node, "revocation/"+id, change)
		entry.Severity = "high"
		return entry, err
	})
	return e.inForce(r.Node, start, err)
}

// RevokeSigned is [Enforcer.Revoke] by the committee.
func (e *Enforcer) RevokeSigned(ctx context.Context, signed committee.Signed) (Revocation, error) {
	start, id := time.Now(), signed.Request.Node
	err := e.request(ctx, signed, committee.Revoke, func(a *act) (ledger.Entry, error) {
		change, err := a.s.revocation(a.charter, id, a.now)
		if err != nil {
			return ledger.Entry{}, err
		}
		change.Reason, change.By, change.Signers, change.Request = a.signed.Request.Reason, "quorum", a.signers, a.text
		return a.entry(ledger.Revocation, id, change)
	})
	return e.inForce(id, start, err)
}

// revocation is the one of a node that begins now.
func (s *state) revocation(c *charter.Charter, id string, now time.Time) (ledger.RevocationChange, error) {
	if n := s.nodes[id]; n != nil && n.revoked != nil {
		return ledger.RevocationChange{}, refuse(AlreadyRevoked, "node: the data access of %q was revoked at %s", id, textOf(n.revoked.Since))
	}
	length := window
	if c != nil {
		if d, err := charter.ParseDuration(c.Revocation.ExportWindow); err == nil {
			length = d
		}
	}
	return ledger.RevocationChange{Action: ledger.Began, ExportUntil: textOf(now.Add(length))}, nil
}

func (e *Enforcer) inForce(id string, start time.Time, err error) (Revocation, error) {
	if err != nil {
		return Revocation{}, err
	}
	e.Observer.RevocationLatency(time.Since(start))
	if r := e.Node(id).Revocation; r != nil {
		return *r, nil
	}
	return Revocation{Node: id}, nil // somebody gave it back meanwhile
}
