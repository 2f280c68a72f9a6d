package charter

import (
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// rolesCheck checks what roles may reach.
func (k *checker) rolesCheck() {
	for i := range k.Roles {
		r := &k.Roles[i]
		k.roleList(r, "reads", r.Reads, &k.levels, codeUnknownLevel, "access level", "access_levels")
		k.roleList(r, "exports", r.Exports, &k.levels, codeUnknownLevel, "access level", "access_levels")
		k.roleList(r, "collects", r.Collects, &k.categories, codeUnknownCategory, "category", "metrics")
		if k.broken["roles"] {
			continue
		}
		if len(r.Reads)+len(r.Collects)+len(r.Exports) == 0 {
			k.list.Warnf(r.Pos(), codeIdleRole, "the role %q can do nothing", r.Name).Fix = "add reads, collects or exports"
		}
		k.exports(r)
		if r.AutoRevoke && r.Renew == "" {
			k.list.Warnf(r.Field("auto_revoke"), codeAutoRevoke, "nothing is revoked: the role %q needs no renewal", r.Name).
				Fix = "add renew, such as renew: 2h"
		}
	}
}

func (k *checker) roleList(r *Role, field string, list []string, to *names, code, what, where string) {
	for i, s := range list {
		switch {
		case s != all:
			k.refers(to, r.Item(field, i), s, code, what, where)
		case len(list) > 1:
			k.list.Warnf(r.Item(field, i), codeStarNotAlone, `"*" stands for all of them already`).Fix = `write ["*"]`
		}
	}
}

// exports warns about levels that a role exports but does not read.
func (k *checker) exports(r *Role) {
	if slices.Contains(r.Reads, all) {
		return
	}
	for i, level := range r.Exports {
		if slices.Contains(r.Reads, level) {
			continue
		}
		d := k.list.Warnf(r.Item("exports", i), codeExportWithoutRead, "the role %q exports %s without reading it", r.Name, quoteLevel(level))
		d.Fix = "add it to reads, or take it out of exports"
	}
}

func quoteLevel(level string) string {
	if level == all {
		return "every level"
	}
	return "the level " + `"` + level + `"`
}

// clauses checks the whitelist.
func (k *checker) clauses() {
	for _, c := range k.AllClauses() {
		if k.full() {
			return
		}
		k.refers(&k.levels, c.Field("access"), c.Access, codeUnknownLevel, "access level", "access_levels")
		for i, s := range c.Purposes {
			k.refers(&k.purposes, c.Item("purposes", i), s, codeUnknownPurpose, "purpose", "purposes")
		}
		k.nodeList(c.Source, c.Nodes)
		k.labels(&c.Labels)
	}
}

// nodeList checks the groups in a list of nodes.
func (k *checker) nodeList(s Source, nodes []string) {
	for i, n := range nodes {
		if group, found := strings.CutPrefix(n, GroupPrefix); found {
			k.refers(&k.groups, s.Item("nodes", i), group, codeUnknownGroup, "node group", "nodes.groups")
		}
	}
}

// labels reports labels that a clause treats in two ways.
func (k *checker) labels(l *Labels) {
	lists := []struct {
		field string
		items []string
	}{{"drop", l.Drop}, {"hash", l.Hash}, {"forbid", l.Forbid}}
	for at, later := range lists {
		for i, label := range later.items {
			for _, earlier := range lists[:at] {
				j := slices.Index(earlier.items, label)
				if j < 0 || label == "" {
					continue
				}
				d := k.list.Errorf(l.Item(later.field, i), codeLabelConflict, "the label %q is listed in %s and in %s", label, earlier.field, later.field)
				d.Fix = "keep one of the two"
				d.Related = []diag.Related{{Pos: l.Item(earlier.field, j), Message: "listed here too"}}
			}
		}
	}
}

// unused warns about levels and purposes that nothing refers to.
func (k *checker) unused() {
	if k.broken["metrics"] || k.broken["roles"] || k.broken["access_levels"] || k.broken["purposes"] || k.broken["waivers"] {
		return
	}
	levels, purposes := make(map[string]bool), make(map[string]bool)
	anyPurpose := false
	for _, c := range k.AllClauses() {
		levels[c.Access] = true
		for _, p := range c.Purposes {
			purposes[p] = true
		}
		anyPurpose = anyPurpose || len(c.Purposes) == 0
	}
	for i := range k.Roles {
		for _, level := range slices.Concat(k.Roles[i].Reads, k.Roles[i].Exports) {
			levels[level] = true
		}
	}
	for i := range k.Waivers {
		for _, p := range k.Waivers[i].Grants.Purposes {
			purposes[p] = true
		}
	}
	for i, level := range k.AccessLevels {
		if !levels[level] {
			k.list.Warnf(k.Item("access_levels", i), codeUnusedLevel, "no clause and no role uses the access level %q", level).Fix = "remove it"
		}
	}
	for i, p := range k.Purposes {
		if !purposes[p] && !anyPurpose {
			k.list.Warnf(k.Item("purposes", i), codeUnusedPurpose, "no clause is for the purpose %q", p).Fix = "remove it"
		}
	}
}

// forbidden checks the entries that nothing may lift.
func (k *checker) forbidden() {
	for i := range k.Forbidden {
		f := &k.Forbidden[i]
		if len(f.Match)+len(f.Labels) == 0 && !f.Has("match") && !f.Has("labels") {
			k.list.Errorf(f.Pos(), codeForbiddenEmpty, "the entry %q forbids nothing", f.ID).Fix = "add match or labels"
		}
		if f.Protected && (f.Mode == decision.Warn || f.Mode == decision.Shadow) {
			d := k.list.Errorf(f.Field("mode"), codeProtectedMode, "a protected entry is always enforced, not in mode %s", f.Mode)
			d.Fix = "remove mode, or protected"
			d.Related = []diag.Related{{Pos: f.Field("protected"), Message: "protected here"}}
		}
		switch {
		case f.Droppable && !f.Protected:
			k.list.Warnf(f.Field("droppable"), codeDroppable, "the labels of %q can be dropped anyway, as it is not protected", f.ID).Fix = "remove droppable"
		case f.Droppable && len(f.Labels) == 0 && !f.Has("labels"):
			k.list.Warnf(f.Field("droppable"), codeDroppable, "%q forbids no label that could be dropped", f.ID).Fix = "remove droppable"
		}
	}
}

// limitsCheck checks what limits refer to.
func (k *checker) limitsCheck() {
	for i := range k.Limits {
		l := &k.Limits[i]
		for j, role := range l.Roles {
			k.refers(&k.roles, l.Item("roles", j), role, codeUnknownRole, "role", "roles")
		}
		for j, id := range l.Clauses {
			k.clauseRef(l.Item("clauses", j), id)
		}
		k.nodeList(l.Source, l.Nodes)
	}
}

// clauseRef checks a reference to a clause of metrics.
func (k *checker) clauseRef(pos diag.Pos, id string) {
	e, known := k.ids[id]
	if id == "" || known && e.kind == kindClause || k.broken["metrics"] || k.full() {
		return
	}
	if !known && (k.broken["forbidden"] || k.broken["waivers"] || k.broken["limits"]) {
		return
	}
	if known {
		d := k.list.Errorf(pos, codeUnknownClause, "%q is a %s, not a clause of metrics", id, e.kind)
		d.Related = []diag.Related{{Pos: e.pos, Message: "written here"}}
		return
	}
	d := k.list.Errorf(pos, codeUnknownClause, "there is no clause %q", shorten(id))
	d.Fix = k.suggest(id, k.clauseNames())
	if d.Fix == "" {
		d.Fix = "write the id of a clause of metrics"
	}
}

func (k *checker) clauseNames() []string {
	var out []string
	for id, e := range maps.All(k.ids) {
		if e.kind == kindClause {
			out = append(out, id)
		}
	}
	return out
}

// nodes checks the groups of nodes.
func (k *checker) nodes() {
	for i := range k.Nodes.Groups {
		g := &k.Nodes.Groups[i]
		if len(g.Match)+len(g.Labels) == 0 && !g.Has("match") && !g.Has("labels") {
			k.list.Errorf(g.Pos(), codeGroupEmpty, "the group %q holds no nodes", g.Name).Fix = "add match or labels"
		}
	}
}
