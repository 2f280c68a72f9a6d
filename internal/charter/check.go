package charter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// all stands for every level or category in a list of a role.
const all = "*"

// maxSuggestions bounds the candidates that are compared for did-you-mean, so
// that a charter of many wrong references stays cheap to refuse.
const maxSuggestions = 200_000

// checker finds what is wrong with a flattened charter beyond the shape of its
// values. Lists in which values could not be read are not held against those
// that refer to them.
type checker struct {
	*Charter
	list   *diag.List
	limit  int
	broken map[string]bool
	budget int // candidates still to be compared

	ids                                                 map[string]entry
	levels, purposes, categories, roles, groups, notify names
}

// names is a list that others refer to.
type names struct {
	known map[string]bool
	pos   diag.Pos // where the list is written
	sound bool     // it is complete, so that what is not in it does not exist
}

// check reports what is wrong with a flattened charter. Broken names the fields
// in which values could not be read.
func (r *reader) check(c *Charter, broken map[string]bool) {
	k := &checker{Charter: c, list: &r.list, limit: r.Limits.Findings, broken: broken, budget: maxSuggestions}
	k.collect()
	for _, step := range []func(){
		k.clauseIDs, k.validity, k.rolesCheck, k.clauses, k.unused, k.forbidden, k.waivers, k.limitsCheck, k.nodes,
		k.escalation, k.committee, k.governance, k.emergency, k.receivers, k.reports,
	} {
		if len(r.list) >= r.Limits.Findings {
			return
		}
		step()
	}
}

// collect gathers the lists that references lead to.
func (k *checker) collect() {
	k.ids = k.Charter.ids()
	k.levels = k.namesOf("access_levels", k.AccessLevels)
	k.purposes = k.namesOf("purposes", k.Purposes)
	k.categories = k.namesOf("metrics", nil)
	for i := range k.Metrics {
		k.categories.known[k.Metrics[i].Name] = true
	}
	k.roles = k.namesOf("roles", nil)
	for i := range k.Roles {
		k.roles.known[k.Roles[i].Name] = true
	}
	k.groups = k.namesOf("nodes", nil)
	for i := range k.Nodes.Groups {
		k.groups.known[k.Nodes.Groups[i].Name] = true
	}
	k.notify = k.namesOf("notify", nil)
	for i := range k.Notify {
		k.notify.known[k.Notify[i].Name] = true
	}
}

func (k *checker) namesOf(field string, list []string) names {
	n := names{known: make(map[string]bool, len(list)), pos: k.Field(field), sound: !k.broken[field]}
	for _, s := range list {
		n.known[s] = true
	}
	return n
}

func (k *checker) full() bool { return len(*k.list) >= k.limit }

// refers checks that a reference leads into a list. What is the name of the
// thing, field the field of the charter that lists it.
func (k *checker) refers(to *names, pos diag.Pos, ref, code, what, field string) bool {
	if ref == "" || to.known[ref] || !to.sound || k.full() {
		return true
	}
	d := k.list.Errorf(pos, code, "there is no %s %q", what, shorten(ref))
	d.Fix = k.suggest(ref, slices.Collect(maps.Keys(to.known)))
	switch {
	case len(to.known) == 0:
		d.Fix = "add it to " + field
	case d.Fix == "":
		d.Fix = oneOf(to.known)
	}
	if to.pos.Line > 0 && len(to.known) > 0 {
		d.Related = []diag.Related{{Pos: to.pos, Message: field + " is written here"}}
	}
	return false
}

// oneOf lists what may be written, if it is not much.
func oneOf(known map[string]bool) string {
	const few = 12
	if len(known) > few {
		return ""
	}
	return "write one of " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

func (k *checker) suggest(word string, candidates []string) string {
	if k.budget -= len(candidates); k.budget < 0 {
		return ""
	}
	return didYouMean(word, candidates)
}

// didYouMean is a fix that proposes a candidate, or "".
func didYouMean(word string, candidates []string) string {
	if guess := diag.DidYouMean(word, candidates); guess != "" {
		return fmt.Sprintf("did you mean %q?", guess)
	}
	return ""
}

// clauseIDs checks the namespace that clauses, forbidden entries, waivers and
// limits share.
func (k *checker) clauseIDs() {
	first := make(map[string]entry, len(k.ids))
	k.eachID(func(id string, e entry) {
		if id == "" || k.full() {
			return
		}
		if reserved(id) {
			d := k.list.Errorf(e.pos, codeReservedID, "the id %q is reserved for decisions that no clause makes", id)
			d.Fix = "choose another id"
		}
		before, twice := first[id]
		if !twice {
			first[id] = e
			return
		}
		d := k.list.Errorf(e.pos, codeDuplicateID, "the id %q is already that of another %s", id, before.kind)
		d.Fix = "choose another id: clauses, forbidden entries, waivers and limits share one namespace"
		d.Related = []diag.Related{{Pos: before.pos, Message: "first used here"}}
	})
}

func reserved(id string) bool {
	switch id {
	case decision.ClauseDefault, decision.ClauseStanding, decision.ClauseValidity, decision.ClauseRequest:
		return true
	}
	return false
}

// validity checks that a charter lapses after it begins.
func (k *checker) validity() {
	m := &k.Metadata
	if !before(m.Effective, m.Expires) && m.Effective != "" && m.Expires != "" {
		d := k.list.Errorf(m.Field("expires"), codeValidity, "the charter expires at %s, not after it becomes effective", m.Expires)
		d.Related = []diag.Related{{Pos: m.Field("effective"), Message: "effective from here"}}
		d.Fix = "write a later date"
	}
	expires, problem := readTime(m.Expires)
	grace, problem2 := readDuration(k.Enforcement.Grace)
	if problem == "" && problem2 == "" && expires.Add(grace).UTC().Year() > lastYear {
		pos := m.Field("expires")
		if k.Enforcement.Has("grace") {
			pos = k.Enforcement.Field("grace")
		}
		k.list.Errorf(pos, codeOutOfRange, "the charter and its grace end beyond the year %d", lastYear).
			Fix = "write a shorter time"
	}
}

// before reports whether time a is earlier than time b; false when either
// cannot be read.
func before(a, b string) bool {
	x, problem := readTime(a)
	y, problem2 := readTime(b)
	return problem == "" && problem2 == "" && x.Before(y)
}
