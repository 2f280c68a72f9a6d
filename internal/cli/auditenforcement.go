package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/ledger"
)

// describeEnforcement explains entries about violations and what follows from them.
func describeEnforcement(e *ledger.Entry) []fact {
	switch e.Kind {
	case ledger.Violation:
		return describe(e, describeViolation)
	case ledger.Standing:
		return describe(e, describeStanding)
	case ledger.Investigation:
		return describe(e, describeInvestigation)
	case ledger.Override:
		return describe(e, func(c ledger.OverrideChange) []fact {
			return given(
				fact{"override", fmt.Sprintf("%s of %s, by %s", c.Action, strings.Join(c.Clauses, ", "), c.By)}, fact{"id", c.ID}, fact{"nodes", strings.Join(c.Nodes, ", ")},
				fact{"from", c.From}, fact{"until", c.Until}, fact{"signers", strings.Join(c.Signers, ", ")})
		})
	case ledger.Revocation:
		return describe(e, func(c ledger.RevocationChange) []fact {
			return given(fact{"revocation", strings.TrimSpace(c.Action + " " + c.Reason)}, fact{"exports until", c.ExportUntil}, fact{"by", c.By}, fact{"signers", strings.Join(c.Signers, ", ")})
		})
	case ledger.Membership:
		return describe(e, func(c ledger.CommitteeChange) []fact {
			return given(
				fact{"committee", fmt.Sprintf("%d members, %d new, %d gone, %d changed", c.Size, len(c.Added), len(c.Removed), len(c.Changed))},
				fact{"new", strings.Join(c.Added, ", ")}, fact{"gone", strings.Join(c.Removed, ", ")}, fact{"changed", strings.Join(c.Changed, ", ")})
		})
	case ledger.Notification:
		return describe(e, func(d ledger.Delivery) []fact {
			return given(fact{"notification", fmt.Sprintf("to %s by %s: %s", d.Receiver, d.Channel, strings.TrimSpace(d.State+" "+d.Error))}, fact{"id", d.ID}, fact{"attempts", fmt.Sprint(d.Attempts)})
		})
	case ledger.Alert:
		return describe(e, func(a ledger.AlertRecord) []fact {
			return given(fact{"alert", a.Name + " is " + a.Status}, fact{"fingerprint", a.Fingerprint}, fact{"from", a.StartsAt}, fact{"to", a.EndsAt})
		})
	case ledger.Mirrored:
		return describe(e, func(c ledger.MirrorChange) []fact {
			what := fmt.Sprintf("%s: copy of the ledger %s, %d entries", c.Action, c.Origin, c.Size)
			return given(fact{"mirror", what}, fact{"code", c.Code}, fact{"key", c.Key}, fact{"held", c.Held}, fact{"shown", c.Shown})
		})
	case ledger.Release:
		return describe(e, describeRelease)
	}
	return rawData(e)
}

// describeRelease tells of a release, or of a node that went back.
func describeRelease(s ledger.ReleaseStep) []fact {
	what := fmt.Sprintf("%s %d of %s", s.Action, s.Sequence, s.Channel)
	facts := given(fact{"digest", s.Digest}, fact{"rollback", sequenceText(s.Rollback)}, fact{"rollback digest", s.RollbackDigest}, fact{"before", sequenceText(s.Before)}, fact{"signers", strings.Join(s.Signers, ", ")}, fact{"because of", s.Code})
	if s.Stages > 0 {
		what += fmt.Sprintf(", stage %d of %d", s.Stage, s.Stages)
		facts = append(facts, fact{"reaches", strings.Join(append(labelsText(s.Labels), fmt.Sprintf("%d %% of the nodes", s.Percent)), ", ")})
	}
	if s.Cause != nil {
		what += ", by the gate " + s.Cause.Gate
		c := fleet.Cause(*s.Cause)
		facts = append(facts, fact{"cause", causeText(&c)})
	}
	return append([]fact{{"release", what}}, facts...)
}

// labelsText writes labels as NAME=VALUE, sorted.
func labelsText(labels map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, name+"="+labels[name])
	}
	return list
}

// given are the facts that have a value.
func given(all ...fact) []fact {
	var facts []fact
	for _, f := range all {
		if f.value != "" {
			facts = append(facts, f)
		}
	}
	return facts
}

func describeViolation(r ledger.ViolationRecord) []fact {
	what := "reported"
	if r.Source == ledger.FromDenial {
		what = "incident"
	}
	facts := given(fact{"violation", strings.Join(strings.Fields(what+" "+r.Type+" "+outcome(r.Consequence)), " ")}, fact{"id", r.ID}, fact{"reporter", r.Reporter}, fact{"penalty", r.Penalty})
	if r.Denial != nil {
		facts = append(facts, fact{"denial", fmt.Sprint(*r.Denial)})
	}
	if r.Evidence != nil {
		facts = append(facts, fact{"evidence", r.Evidence.Hash})
	}
	return facts
}

// outcome sums up a consequence.
func outcome(c *ledger.Consequence) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("number %d: level %d, %s", c.Count, c.Level, c.Action)
}

func describeStanding(c ledger.StandingChange) []fact {
	return given(
		fact{"standing", fmt.Sprintf("%s is %s now (%s)", c.From, c.To, c.Action)}, fact{"until", c.Until}, fact{"lifted by", c.Restore}, fact{"cause", c.Cause},
		fact{"signers", strings.Join(c.Signers, ", ")})
}

func describeInvestigation(s ledger.InvestigationStep) []fact {
	return given(
		fact{"investigation", strings.TrimSpace(s.Action + " " + s.Violation + " " + s.Outcome)}, fact{"id", s.ID}, fact{"by", s.By}, fact{"assignee", s.Assignee}, fact{"due", s.Due},
		fact{"consequence", outcome(s.Consequence)})
}
