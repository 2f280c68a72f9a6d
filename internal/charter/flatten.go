package charter

import (
	"cmp"
	"maps"
	"slices"

	"github.com/westworld-charter/charter/internal/diag"
)

// flatten puts a document over its base, which may be nil, and fills in the
// defaults. It reports removals that cannot be.
func (r *reader) flatten(doc *document, base *Charter) *Charter {
	c := *doc.Charter
	if doc.Has("remove") && base == nil {
		r.list.Errorf(doc.Field("remove"), codeRemoveWithoutBase, "there is nothing to remove from: the charter extends nothing").
			Fix = "remove the field, or add extends"
	}
	r.writtenOrder(doc)
	if base != nil {
		c.inherit(doc, base, r.removals(doc, base))
	}
	c.Extends, c.Remove, c.base = "", nil, base
	c.Escalation = slices.SortedStableFunc(slices.Values(c.Escalation), func(a, b Step) int { return cmp.Compare(a.Level, b.Level) })
	c.applyDefaults()
	return &c
}

// writtenOrder checks that the steps of a document are written from the mildest
// to the gravest, so that readers see them as they happen.
func (r *reader) writtenOrder(doc *document) {
	for i := 1; i < len(doc.Escalation); i++ {
		lower, upper := &doc.Escalation[i-1], &doc.Escalation[i]
		if upper.Level >= lower.Level || upper.Level == 0 {
			continue
		}
		d := r.list.Errorf(upper.Field("level"), codeEscalationOrder, "level %d is written behind level %d", upper.Level, lower.Level)
		d.Fix = "write the steps in the order of their levels"
		d.Related = []diag.Related{{Pos: lower.Field("level"), Message: "the step before"}}
	}
}

// inherit takes over from base what doc does not say. Entries of keyed lists are
// replaced one by one, plain lists and sections as a whole.
func (c *Charter) inherit(doc *document, base *Charter, removed map[string]bool) {
	c.origins = maps.Clone(base.origins)
	if c.origins == nil {
		c.origins = make(map[string]Source)
	}
	for _, name := range inherited() {
		switch {
		case doc.Has(name):
			delete(c.origins, name)
		case base.Has(name):
			c.origins[name] = base.Source
		}
	}
	whole(doc, "access_levels", &c.AccessLevels, base.AccessLevels)
	whole(doc, "purposes", &c.Purposes, base.Purposes)
	whole(doc, "enforcement", &c.Enforcement, base.Enforcement)
	whole(doc, "audit", &c.Audit, base.Audit)
	whole(doc, "committee", &c.Committee, base.Committee)
	whole(doc, "governance", &c.Governance, base.Governance)
	whole(doc, "emergency", &c.Emergency, base.Emergency)
	whole(doc, "revocation", &c.Revocation, base.Revocation)

	c.Roles = merge(base.Roles, c.Roles, nil, func(r *Role) string { return r.Name })
	c.Metrics = mergeMetrics(base.Metrics, c.Metrics, removed)
	c.Forbidden = merge(base.Forbidden, c.Forbidden, removed, func(f *Forbidden) string { return f.ID })
	c.Waivers = merge(base.Waivers, c.Waivers, removed, func(w *Waiver) string { return w.ID })
	c.Limits = merge(base.Limits, c.Limits, removed, func(l *Limit) string { return l.ID })
	c.Escalation = merge(base.Escalation, c.Escalation, nil, func(s *Step) int { return s.Level })
	c.Notify = merge(base.Notify, c.Notify, nil, func(r *Receiver) string { return r.Name })
	c.Objectives = merge(base.Objectives, c.Objectives, nil, func(o *Objective) string { return o.Name })
	c.inheritNodes(doc, base)
	c.inheritReports(doc, base)
}

// inherited lists the fields that a charter takes over from its base when it
// does not write them.
func inherited() []string {
	return []string{
		"access_levels", "purposes", "roles", "metrics", "forbidden", "waivers", "limits", "nodes", "escalation", "enforcement",
		"audit", "committee", "governance", "emergency", "revocation", "notify", "reports", "objectives",
	}
}

func (c *Charter) inheritNodes(doc *document, base *Charter) {
	if !doc.Has("nodes") {
		c.Nodes = base.Nodes
		return
	}
	c.Nodes.Groups = merge(base.Nodes.Groups, c.Nodes.Groups, nil, func(g *Group) string { return g.Name })
	c.Nodes.Entries = merge(base.Nodes.Entries, c.Nodes.Entries, nil, func(e *NodeEntry) string { return e.Node })
}

func (c *Charter) inheritReports(doc *document, base *Charter) {
	if !doc.Has("reports") {
		c.Reports = base.Reports
		return
	}
	if !c.Reports.Has("anonymous") {
		c.Reports.Anonymous = base.Reports.Anonymous
	}
	c.Reports.Channels = merge(base.Reports.Channels, c.Reports.Channels, nil, func(ch *Channel) string { return ch.Name })
}

// whole keeps what doc wrote, or takes the base's.
func whole[T any](doc *document, name string, own *T, base T) {
	if !doc.Has(name) {
		*own = base
	}
}

// merge puts the entries of own over those of base that have the same key; new
// ones follow. Entries of base that are removed are left out.
func merge[T any, K comparable](base, own []T, removed map[K]bool, key func(*T) K) []T {
	if len(base) == 0 {
		return own
	}
	at := make(map[K]int, len(own))
	for i := range own {
		at[key(&own[i])] = i
	}
	out := make([]T, 0, len(base)+len(own))
	used := make([]bool, len(own))
	for i := range base {
		k := key(&base[i])
		if j, replaced := at[k]; replaced {
			out = append(out, own[j])
			used[j] = true
		} else if !removed[k] {
			out = append(out, base[i])
		}
	}
	for i := range own {
		if !used[i] {
			out = append(out, own[i])
		}
	}
	return out
}

// mergeMetrics merges clauses by id across categories: a clause of own replaces
// that of base wherever it stands. Categories left empty disappear.
func mergeMetrics(base, own []Category, removed map[string]bool) []Category {
	if len(base) == 0 {
		return own
	}
	moved := maps.Clone(removed)
	if moved == nil {
		moved = make(map[string]bool)
	}
	mine := make(map[string]int, len(own))
	for i := range own {
		mine[own[i].Name] = i
		for j := range own[i].Clauses {
			moved[own[i].Clauses[j].ID] = true
		}
	}
	id := func(c *Clause) string { return c.ID }
	out := make([]Category, 0, len(base)+len(own))
	merged := make(map[string]bool, len(base))
	for _, category := range base {
		var clauses []Clause
		if i, both := mine[category.Name]; both {
			clauses = own[i].Clauses
		}
		merged[category.Name] = true
		category.Clauses = merge(category.Clauses, clauses, moved, id)
		if len(category.Clauses) > 0 {
			out = append(out, category)
		}
	}
	for i := range own {
		if !merged[own[i].Name] {
			out = append(out, own[i])
		}
	}
	return out
}

// removals checks the remove field and returns the ids it names.
func (r *reader) removals(doc *document, base *Charter) map[string]bool {
	if len(doc.Remove) == 0 {
		return nil
	}
	ids := base.ids()
	own := doc.ids()
	removed := make(map[string]bool, len(doc.Remove))
	for i, id := range doc.Remove {
		pos := doc.Item("remove", i)
		e, known := ids[id]
		switch {
		case !known:
			d := r.list.Errorf(pos, codeUnknownClause, "the base has no clause %q", id)
			d.Fix = didYouMean(id, slices.Collect(maps.Keys(ids)))
			d.Related = []diag.Related{{Pos: doc.Field("extends"), Message: "the base"}}
		case e.protected:
			d := r.list.Errorf(pos, codeRemovesProtected, "the %s %q of the base is protected and cannot be removed", e.kind, id)
			d.Fix = "keep it, or tighten it with an entry of the same id"
			d.Related = []diag.Related{{Pos: e.pos, Message: "protected here"}}
		case own[id].kind != "":
			d := r.list.Warnf(pos, codeRedundantRemove, "%q is written anew, which replaces the base's entry already", id)
			d.Fix = "take it out of remove"
			d.Related = []diag.Related{{Pos: own[id].pos, Message: "written here"}}
		}
		removed[id] = true
	}
	return removed
}

// Kinds of entries that have a clause id.
const (
	kindClause    = "clause"
	kindForbidden = "forbidden entry"
	kindWaiver    = "waiver"
	kindLimit     = "limit"
)

// entry is what shares the namespace of clause ids.
type entry struct {
	kind      string
	pos       diag.Pos
	protected bool
}

// ids returns the entries that have a clause id. Of duplicates the first wins.
func (c *Charter) ids() map[string]entry {
	out := make(map[string]entry)
	c.eachID(func(id string, e entry) {
		if _, twice := out[id]; !twice {
			out[id] = e
		}
	})
	return out
}

// eachID visits all entries that have a clause id.
func (c *Charter) eachID(visit func(id string, e entry)) {
	for i := range c.Metrics {
		for j := range c.Metrics[i].Clauses {
			clause := &c.Metrics[i].Clauses[j]
			visit(clause.ID, entry{kind: kindClause, pos: clause.Field("id"), protected: clause.Protected})
		}
	}
	for i := range c.Forbidden {
		f := &c.Forbidden[i]
		visit(f.ID, entry{kind: kindForbidden, pos: f.Field("id"), protected: f.Protected})
	}
	for i := range c.Waivers {
		visit(c.Waivers[i].ID, entry{kind: kindWaiver, pos: c.Waivers[i].Field("id")})
	}
	for i := range c.Limits {
		visit(c.Limits[i].ID, entry{kind: kindLimit, pos: c.Limits[i].Field("id")})
	}
}

// placed maps the clause ids to their entries.
func (c *Charter) placed() map[string]Source {
	places := make(map[string]Source)
	for _, clause := range c.AllClauses() {
		places[clause.ID] = clause.Source
	}
	for i := range c.Forbidden {
		places[c.Forbidden[i].ID] = c.Forbidden[i].Source
	}
	for i := range c.Waivers {
		places[c.Waivers[i].ID] = c.Waivers[i].Source
	}
	for i := range c.Limits {
		places[c.Limits[i].ID] = c.Limits[i].Source
	}
	return places
}

// Place is where the entry with a clause id is written, in the file of a base
// when that wrote it: a clause, forbidden entry, waiver or limit. It is false for
// other ids.
func (c *Charter) Place(id string) (diag.Pos, bool) {
	s, ok := c.places[id]
	return s.Pos(), ok
}

// Field is the place of the value of a field of the charter, in the file of the
// base that wrote it when c did not; the charter itself when nobody did.
func (c *Charter) Field(name string) diag.Pos { return c.origin(name).Field(name) }

// Item is the place of the i-th value of a list field of the charter, like
// [Charter.Field].
func (c *Charter) Item(name string, i int) diag.Pos { return c.origin(name).Item(name, i) }

func (c *Charter) origin(name string) Source {
	if source, inherited := c.origins[name]; inherited {
		return source
	}
	return c.Source
}
