package enforcement

import (
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Actions of escalation, and of other changes of a standing.
const (
	ActionLog        = "log"
	ActionWarn       = "warn"
	ActionSuspend    = "suspend"
	ActionQuarantine = "quarantine"
	ActionRefer      = "refer"
	ActionExpire     = "expire"  // a suspension or a warning has ended
	ActionRestore    = "restore" // the committee or a vote lifted it
)

// Who lifts a quarantine.
const (
	ByVote      = "vote"
	ByCommittee = "committee"
)

// fallback is how long a suspension lasts when the charter does not say.
const fallback = "24h"

// consequence returns what one more incident at a time brings about by the
// escalation of a charter: the highest step that it reaches, nil for none. Before
// are the incidents that count, this one left out.
func consequence(steps []charter.Step, before []incident, at time.Time) *ledger.Consequence {
	var reached *charter.Step
	var count int
	for i := range steps {
		step := &steps[i]
		if reached != nil && step.Level < reached.Level {
			continue
		}
		within, err := charter.ParseDuration(step.Within)
		if err != nil {
			continue // no charter that was checked has it
		}
		n := 1
		for j := range before {
			if b := &before[j]; !b.out && b.at.After(at.Add(-within)) && !b.at.After(at) {
				n++
			}
		}
		if n >= step.At {
			reached, count = step, n
		}
	}
	if reached == nil {
		return nil
	}
	c := &ledger.Consequence{Level: reached.Level, Action: reached.Action, Count: count}
	switch reached.Action {
	case ActionWarn:
		c.For = reached.Within // as long as the incident counts
	case ActionSuspend:
		if c.For = reached.For; c.For == "" {
			c.For = fallback
		}
	case ActionQuarantine, ActionRefer:
		if c.Restore = reached.Restore; c.Restore == "" {
			c.Restore = ByVote
		}
	}
	return c
}

// change is what the consequence of an incident makes of the standing of its node, and whether it makes it worse, or lets it last longer: it never lifts
// anything.
func (s *state) change(v *Violation) (ledger.StandingChange, bool) {
	return s.node(v.Node).change(v.ID, v.Consequence, v.at)
}

func (n *node) change(violation string, c *ledger.Consequence, at time.Time) (ledger.StandingChange, bool) {
	if c == nil {
		return ledger.StandingChange{}, false
	}
	to := ledger.StandingChange{From: n.standing, Action: c.Action, Level: c.Level, Cause: violation, Count: c.Count}
	var until time.Time
	switch c.Action {
	case ActionWarn:
		to.To = Warned
	case ActionSuspend:
		to.To = Suspended
	case ActionQuarantine, ActionRefer:
		to.To, to.Restore = Quarantined, c.Restore
	default:
		return ledger.StandingChange{}, false
	}
	if d, err := charter.ParseDuration(c.For); err == nil && to.To != Quarantined {
		until = at.Add(d)
		to.Until = textOf(until)
	}
	switch a, b := rank(to.To), rank(n.standing); {
	case a > b:
		return to, true
	case a < b || to.To == Quarantined:
		return ledger.StandingChange{}, false
	default:
		return to, !n.until.IsZero() && (until.IsZero() || until.After(n.until))
	}
}
