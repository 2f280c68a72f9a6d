package compile

import (
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// checkCharter compares what holds for all clauses alike: the mode of denials
// that come from no clause, how long a charter that has expired still serves,
// whether state is required, and the nodes of bad standing. Any of it reaches
// every protected clause, so the first one is named.
func (p *protection) checkCharter() {
	mine, theirs := &p.derived.Enforcement, &p.base.Enforcement
	if strictness(mine.Mode) < strictness(theirs.Mode) {
		p.relaxedAll(mine.Field("mode"), than("enforcement.mode", mine.Mode, theirs.Mode), "write mode: "+theirs.Mode)
	}
	if theirs.State == "required" && mine.State != "required" {
		p.relaxedAll(mine.Field("state"), than("enforcement.state", mine.State, theirs.State), "write state: required")
	}
	if p.base.Metadata.Expires != "" {
		p.checkExpiry(mine, theirs)
	}
	for i := range p.base.Nodes.Entries {
		p.checkNodeEntry(&p.base.Nodes.Entries[i])
	}
}

// checkExpiry compares when the charters become stale.
func (p *protection) checkExpiry(mine, theirs *charter.Enforcement) {
	grace := keeps(mine.Grace)
	if grace > keeps(theirs.Grace) {
		p.relaxedAll(mine.Field("grace"), than("enforcement.grace", mine.Grace, theirs.Grace), "write grace: "+theirs.Grace)
		return
	}
	m, b := &p.derived.Metadata, &p.base.Metadata
	stale := func(expires string, grace time.Duration) time.Time { return instant(expires).Add(grace) }
	if m.Expires == "" || stale(m.Expires, grace).After(stale(b.Expires, keeps(theirs.Grace))) {
		p.relaxedAll(m.Field("expires"), than("metadata.expires", m.Expires, b.Expires), "write expires: "+b.Expires+", or earlier")
	}
}

// checkNodeEntry checks that a node of bad standing stays so, for as long.
func (p *protection) checkNodeEntry(old *charter.NodeEntry) {
	at := slices.IndexFunc(p.derived.Nodes.Entries, func(e charter.NodeEntry) bool { return e.Node == old.Node })
	if at < 0 {
		p.relaxedAll(p.derived.Field("nodes"), "node "+old.Node+" is no longer "+old.Status, "keep its entry")
		return
	}
	scale := []string{"suspended", "quarantined", "revoked"}
	e := &p.derived.Nodes.Entries[at]
	if slices.Index(scale, e.Status) < slices.Index(scale, old.Status) {
		p.relaxedAll(e.Field("status"), "node "+e.Node+": "+than("status", e.Status, old.Status), "write status: "+old.Status)
	}
	if e.Until != "" && (old.Until == "" || instant(e.Until).Before(instant(old.Until))) {
		p.relaxedAll(e.Field("until"), "node "+e.Node+": "+than("until", e.Until, old.Until), "do not end it earlier")
	}
}

// relaxedAll reports a relaxation that reaches every protected clause.
func (p *protection) relaxedAll(pos diag.Pos, what, fix string) {
	guard := p.guards[0]
	metric, _ := space.Witness([]space.Glob{p.base.claims[guard].glob}, nil)
	p.report(relaxation{pos: pos, what: what, fix: fix}, guard, metric)
}
