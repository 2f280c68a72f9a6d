package charterapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/space"
	"github.com/westworld-charter/charter/internal/wire"
)

// maxShown bounds the violations and the history of a node in one answer.
const maxShown = 100

func (a *api) nodeRoutes() []wire.Route {
	return []wire.Route{
		a.get(nodesPath, a.nodes, wire.ScopeAudit, wire.ScopeCommittee),
		a.get(nodesPath+"/:id", a.node, wire.AnyScope),
		a.post(nodesPath+"/:id/restore", a.restore, committee.MaxDocument, wire.AnyScope),
	}
}

// nodes lists those of which the ledger knows something.
func (a *api) nodes(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "standing", "after", "limit")
	if err != nil {
		return err
	}
	standing, err := wire.OneOf(q, "standing", enforcement.Good, enforcement.Warned, enforcement.Suspended, enforcement.Quarantined)
	if err != nil {
		return err
	}
	limit, err := wire.Limit(q, defaultPage, maxPage)
	if err != nil {
		return err
	}
	list, next := []node{}, ""
	for _, n := range a.Enforcer.Nodes() { // by id
		if standing != "" && n.Standing != standing || n.ID <= q.Get("after") {
			continue
		}
		if len(list) == limit {
			next = wire.Next(w, nodesPath, q, "after", list[len(list)-1].ID)
			break
		}
		list = append(list, nodeOf(n))
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"nodes": list, "next": next})
}

// nodeView is a node with all there is to know about it.
type nodeView struct {
	node
	Violations []violation  `json:"violations"` // the newest
	History    []change     `json:"history"`    // the newest
	Groups     []string     `json:"groups"`
	Clauses    []obligation `json:"clauses"` // that apply to it
}

// change is one of the standing or the data access of a node.
type change struct {
	Entry   uint64    `json:"entry"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // standing or revocation
	Action  string    `json:"action"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Level   int       `json:"level,omitempty"`
	Cause   string    `json:"cause,omitempty"`
	Until   string    `json:"until,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Signers []string  `json:"signers,omitempty"`
}

// obligation is what a clause demands of a node that collects.
type obligation struct {
	Clause    string   `json:"clause"`
	Retention string   `json:"retention,omitempty"`
	Drop      []string `json:"drop_labels,omitempty"`
	Hash      []string `json:"hash_labels,omitempty"`
	Forbid    []string `json:"forbid_labels,omitempty"`
}

// node shows a node to auditors, the committee, and to itself.
func (a *api) node(w http.ResponseWriter, r *http.Request) error {
	id, err := one(r, nodesPath, "")
	if err != nil {
		return err
	}
	who := a.Caller(r.Context())
	if !who.has(wire.ScopeAudit, wire.ScopeCommittee, wire.ScopeAdmin) && (who.Node == "" || who.Node != id) {
		return notYours("a node is shown to itself, and to the scopes audit and committee")
	}
	view := nodeView{node: nodeOf(a.Enforcer.Node(id)), Violations: []violation{}, Groups: []string{}, Clauses: []obligation{}}
	for _, v := range a.Enforcer.Violations(enforcement.Filter{Node: id, Limit: maxShown}) {
		view.Violations = append(view.Violations, violationOf(v))
	}
	if !who.has(wire.ScopeAudit, wire.ScopeCommittee, wire.ScopeAdmin) {
		for i := range view.Violations { // a node does not learn who reported it
			view.Violations[i].Reporter = ""
		}
	}
	if view.History, err = a.history(r, id); err != nil {
		return err
	}
	if c := a.Charter(); c != nil {
		view.Groups, view.Clauses = groupsOf(c, id, a.labels(id)), []obligation{}
		for _, clause := range c.AllClauses() {
			if clause.Nodes == nil || selects(clause.Nodes, id, view.Groups) {
				view.Clauses = append(view.Clauses, obligation{clause.ID, clause.Retention, clause.Labels.Drop, clause.Labels.Hash, clause.Labels.Forbid})
			}
		}
	}
	return wire.SendJSON(w, http.StatusOK, view)
}

// history is what the ledger says about the standing and data access of a node.
func (a *api) history(r *http.Request, id string) ([]change, error) {
	list := []change{}
	f := ledger.Filter{Kinds: []ledger.Kind{ledger.Standing, ledger.Revocation}, Node: id, Newest: true, Limit: maxShown}
	for row, err := range a.History.Find(r.Context(), f) {
		if err != nil {
			return nil, err
		}
		c, ok := changeOf(row)
		if ok {
			list = append(list, c)
		}
	}
	return list, nil
}

// changeOf reads an entry; false for one that is no change.
func changeOf(row ledger.Row) (change, bool) {
	if row.Body == nil {
		return change{}, false
	}
	e, err := ledger.ParseEntry(row.Body)
	if err != nil {
		return change{}, false
	}
	c := change{Entry: row.Index, Kind: string(e.Kind)}
	c.Time, _ = e.At() // ParseEntry has looked at it
	switch e.Kind {
	case ledger.Standing:
		var s ledger.StandingChange
		if decode(e.Data, &s) != nil {
			return change{}, false
		}
		c.Action, c.From, c.To, c.Level, c.Cause, c.Until, c.Signers = s.Action, s.From, s.To, s.Level, s.Cause, s.Until, s.Signers
	case ledger.Revocation:
		var s ledger.RevocationChange
		if decode(e.Data, &s) != nil {
			return change{}, false
		}
		c.Action, c.Reason, c.Until, c.Signers = s.Action, s.Reason, s.ExportUntil, s.Signers
	default:
		return change{}, false
	}
	return c, true
}

// labels are those that the state document gives a node.
func (a *api) labels(id string) map[string]any {
	nodes, _ := a.State()["nodes"].(map[string]any)
	row, _ := nodes[id].(map[string]any)
	labels, _ := row["labels"].(map[string]any)
	return labels
}

// groupsOf are the groups of the charter that a node is in, by name or by labels.
func groupsOf(c *charter.Charter, id string, labels map[string]any) []string {
	groups := []string{}
	for i := range c.Nodes.Groups {
		g := &c.Nodes.Groups[i]
		in := len(g.Labels) > 0
		for k, want := range g.Labels {
			in = in && labels[k] == want
		}
		if in || matches(g.Match, id) {
			groups = append(groups, g.Name)
		}
	}
	return groups
}

// selects reports whether a list of names, patterns and groups has a node.
func selects(list []string, id string, groups []string) bool {
	return matches(list, id) || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(list, charter.GroupPrefix+g) })
}

func matches(patterns []string, id string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		g, err := space.ParseGlob(p)
		return err == nil && g.Match(id)
	})
}

// restore gives a node its good standing back, by a request that the committee signed.
func (a *api) restore(w http.ResponseWriter, r *http.Request) error {
	return a.pardon(w, r, nodesPath, "/restore", a.Enforcer.Restore)
}

// pardon takes a signed request about the node in the path.
func (a *api) pardon(w http.ResponseWriter, r *http.Request, prefix, suffix string, act func(context.Context, committee.Signed) (enforcement.Node, error)) error {
	id, err := one(r, prefix, suffix)
	if err != nil {
		return err
	}
	s, err := a.signed(w, r)
	if err != nil {
		return err
	}
	if s.Request.Node != id {
		return wire.Wrong(wire.CodeInvalidValue, "request.node", "the request is for node %q, and was sent to %q", wire.Echo(s.Request.Node), wire.Echo(id))
	}
	n, err := act(r.Context(), s)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, nodeOf(n))
}
