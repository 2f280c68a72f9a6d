package charter

import "github.com/westworld-charter/charter/internal/diag"

// waivers checks what is loosened, by how much and for how long.
func (k *checker) waivers() {
	for i := range k.Waivers {
		if k.full() {
			return
		}
		w := &k.Waivers[i]
		k.waived(w)
		k.nodeList(w.Source, w.Nodes)
		k.grants(w)
		k.waiverTime(w)
	}
}

// waived checks that the clause may be loosened.
func (k *checker) waived(w *Waiver) {
	e := k.ids[w.Clause]
	switch {
	case w.Clause == "":
	case e.kind == kindForbidden:
		d := k.list.Errorf(w.Field("clause"), codeWaiverOnForbidden, "%q is forbidden, which no waiver lifts", w.Clause)
		d.Fix = "name a clause of metrics"
		d.Related = []diag.Related{{Pos: e.pos, Message: "forbidden here"}}
	case e.kind == kindClause && e.protected:
		d := k.list.Errorf(w.Field("clause"), codeWaiverOnProtected, "the clause %q is protected, no waiver loosens it", w.Clause)
		d.Fix = "remove the waiver"
		d.Related = []diag.Related{{Pos: e.pos, Message: "protected here"}}
	default:
		k.clauseRef(w.Field("clause"), w.Clause)
	}
}

func (k *checker) grants(w *Waiver) {
	g := &w.Grants
	for i, p := range g.Purposes {
		k.refers(&k.purposes, g.Item("purposes", i), p, codeUnknownPurpose, "purpose", "purposes")
	}
	if k.broken["waivers"] || !w.Has("grants") {
		return
	}
	if g.Retention == "" && len(g.Purposes)+len(g.Operations) == 0 {
		k.list.Errorf(w.Field("grants"), codeWaiverEmpty, "the waiver grants nothing").Fix = "add retention, purposes or operations"
	}
}

func (k *checker) waiverTime(w *Waiver) {
	if w.From != "" && w.Until != "" && !before(w.From, w.Until) {
		d := k.list.Errorf(w.Field("until"), codeWaiverInterval, "the waiver ends at %s, not after it begins", w.Until)
		d.Fix = "write a later date"
		d.Related = []diag.Related{{Pos: w.Field("from"), Message: "begins here"}}
		return
	}
	effective := k.Metadata.Effective
	if effective == "" || w.Until == "" || before(effective, w.Until) {
		return
	}
	d := k.list.Warnf(w.Field("until"), codeWaiverExpired, "the waiver has lapsed before the charter becomes effective")
	d.Fix = "remove the waiver"
	d.Related = []diag.Related{{Pos: k.Metadata.Field("effective"), Message: "effective from here"}}
}
