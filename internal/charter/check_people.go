package charter

import (
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// escalation checks that the steps climb, and that each says what its action
// needs.
func (k *checker) escalation() {
	for i := range k.Escalation {
		s := &k.Escalation[i]
		if i > 0 && !k.broken["escalation"] {
			k.climbs(&k.Escalation[i-1], s)
		}
		for j, name := range s.Notify {
			k.refers(&k.notify, s.Item("notify", j), name, codeUnknownReceiver, "receiver", "notify")
		}
		k.stepFields(s)
	}
}

func (k *checker) climbs(lower, upper *Step) {
	if upper.At > lower.At || upper.Level == lower.Level {
		return
	}
	d := k.list.Errorf(upper.Field("at"), codeEscalationOrder, "level %d is reached at %d incidents, not later than level %d",
		upper.Level, upper.At, lower.Level)
	d.Fix = "write a larger number"
	d.Related = []diag.Related{{Pos: lower.Field("at"), Message: "the level below"}}
}

func (k *checker) stepFields(s *Step) {
	switch {
	case s.For != "" && s.Action != "suspend" && s.Action != "":
		k.list.Errorf(s.Field("for"), codeStepField, "only a suspension lasts for a time, not the action %s", s.Action).Fix = "remove for"
	case s.Action == "suspend" && !s.Has("for"):
		k.list.Errorf(s.Field("action"), codeStepField, "the suspension does not say how long it lasts").Fix = "add for, such as for: 24h"
	}
	switch {
	case s.Restore != "" && s.Action != "quarantine" && s.Action != "":
		k.list.Errorf(s.Field("restore"), codeStepField, "only a quarantine is restored, not the action %s", s.Action).Fix = "remove restore"
	case s.Action == "quarantine" && !s.Has("restore"):
		k.list.Warnf(s.Field("action"), codeStepField, "the quarantine does not say who lifts it").Fix = "add restore: vote, or restore: committee"
	}
	if s.Restore == "committee" && len(k.Committee.Members) == 0 && !k.broken["committee"] {
		k.list.Warnf(s.Field("restore"), codeNoCommittee, "there is no committee that could restore a node").Fix = "add committee"
	}
}

// committee checks that its quorum can be reached and that nobody counts twice.
func (k *checker) committee() {
	c := &k.Committee
	if k.broken["committee"] || !c.Has("members") && !c.Has("quorum") {
		return
	}
	power := 0.0
	addresses := make([]string, len(c.Members))
	places := make([]diag.Pos, len(c.Members))
	for i := range c.Members {
		power += c.Members[i].Power
		addresses[i], places[i] = c.Members[i].Address, c.Members[i].Field("address")
	}
	k.distinct(addresses, places)
	q := &c.Quorum
	switch {
	case !c.Has("quorum"):
		k.list.Errorf(c.Pos(), codeMissingField, `the field "quorum" is missing`).Fix = "add quorum: {power: 0.66, heads: 2}"
	case !c.Has("members"):
		k.list.Errorf(c.Pos(), codeMissingField, `the field "members" is missing`).Fix = "add members, or remove committee"
	case q.Heads > len(c.Members):
		d := k.list.Errorf(q.Field("heads"), codeQuorum, "the quorum needs %d people, the committee has %d", q.Heads, len(c.Members))
		d.Fix = "write a smaller number"
		d.Related = []diag.Related{{Pos: c.Field("members"), Message: "the members"}}
	case power == 0:
		k.list.Errorf(c.Field("members"), codeQuorum, "nobody in the committee has power").Fix = "give a member a power above 0"
	case q.Power == 0:
		k.list.Errorf(q.Field("power"), codeOutOfRange, "a quorum needs a share of power above 0").Fix = "write a share such as 0.66"
	}
}

// distinct reports addresses that occur twice, letter case aside.
func (k *checker) distinct(addresses []string, places []diag.Pos) {
	first := make(map[string]int, len(addresses))
	for i, a := range addresses {
		a = strings.ToLower(a)
		j, twice := first[a]
		if !twice || a == "" {
			first[a] = i
			continue
		}
		d := k.list.Errorf(places[i], codeDuplicateAddress, "the address %s is there twice", a)
		d.Fix = "give every member an address of their own"
		d.Related = []diag.Related{{Pos: places[j], Message: "first written here"}}
	}
}

// governance checks that graver changes are not easier.
func (k *checker) governance() {
	g := &k.Governance
	if k.broken["governance"] {
		return
	}
	places := make([]diag.Pos, len(g.Guardians))
	for i := range g.Guardians {
		places[i] = g.Item("guardians", i)
	}
	k.distinct(g.Guardians, places)
	t := &g.Timelock
	steps := []struct{ field, value string }{{"tighten", t.Tighten}, {"relax", t.Relax}, {"constitutional", t.Constitutional}}
	for i := range steps {
		for j := range i {
			if longer(steps[j].value, steps[i].value) {
				d := k.list.Warnf(t.Field(steps[i].field), codeTimelockOrder, "the timelock of %s is shorter than that of %s", steps[i].field, steps[j].field)
				d.Fix = "graver changes wait longer: tighten, relax, constitutional"
				d.Related = []diag.Related{{Pos: t.Field(steps[j].field), Message: "longer here"}}
			}
		}
	}
	th := &g.Threshold
	for _, share := range []struct {
		field string
		value float64
	}{{"tighten", th.Tighten}, {"relax", th.Relax}} {
		if th.Has(share.field) && share.value == 0 {
			k.list.Errorf(th.Field(share.field), codeOutOfRange, "a change needs a share of votes above 0").Fix = "write a share such as 0.66"
		}
	}
	if th.Has("tighten") && th.Has("relax") && th.Relax < th.Tighten && th.Relax > 0 {
		d := k.list.Warnf(th.Field("relax"), codeThresholdOrder, "relaxing needs fewer votes than tightening")
		d.Fix = "write a larger share"
		d.Related = []diag.Related{{Pos: th.Field("tighten"), Message: "larger here"}}
	}
}

// longer reports whether duration a is longer than b; false when either is
// absent.
func longer(a, b string) bool {
	x, problem := readDuration(a)
	y, problem2 := readDuration(b)
	return problem == "" && problem2 == "" && x > y
}

// emergency checks the bounds of overrides.
func (k *checker) emergency() {
	e := &k.Emergency
	if k.broken["emergency"] || !e.Has("may") && !e.Has("max") && !e.Has("quorum") && !e.Has("renew") {
		return
	}
	for _, field := range []struct {
		name string
		fix  string
	}{{"max", "add max, such as max: 2h"}, {"quorum", "add quorum, such as quorum: 0.66"}} {
		if !e.Has(field.name) {
			k.list.Errorf(e.Pos(), codeMissingField, "the field %q is missing", field.name).Fix = field.fix
		}
	}
	if e.Has("quorum") && e.Quorum == 0 {
		k.list.Errorf(e.Field("quorum"), codeOutOfRange, "a quorum needs a share of power above 0").Fix = "write a share such as 0.66"
	}
	if longer(e.Renew, e.Max) {
		d := k.list.Errorf(e.Field("renew"), codeEmergencyRenew, "an override lasts %s at most, it cannot be renewed after %s", e.Max, e.Renew)
		d.Fix = "write a shorter time than max"
		d.Related = []diag.Related{{Pos: e.Field("max"), Message: "the longest time"}}
	}
	if len(k.Committee.Members) == 0 && !k.broken["committee"] {
		k.list.Warnf(e.Pos(), codeNoCommittee, "there is no committee whose quorum could declare an emergency").Fix = "add committee"
	}
}

// reports checks that addresses fit the kind of channel.
func (k *checker) reports() {
	for i := range k.Reports.Channels {
		c := &k.Reports.Channels[i]
		msg, want := "", ""
		switch c.Kind {
		case "email":
			msg, want = checkEmail(c.Address), "email"
		case "web":
			msg, want = checkURL(c.Address), "url"
		}
		if msg == "" || c.Address == "" {
			continue
		}
		p := patterns()[want]
		k.list.Errorf(c.Field("address"), p.code, "%q is not %s: %s", shorten(c.Address), p.what, msg).Fix = "write " + p.help
	}
}
