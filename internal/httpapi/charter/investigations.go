package charterapi

import (
	"context"
	"net/http"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/wire"
)

func (a *api) investigationRoutes() []wire.Route {
	step := func(name string, do func(context.Context, enforcement.Step) (enforcement.Investigation, error)) wire.Route {
		return a.post(investigationsPath+"/:id/"+name, a.step(name, do), maxBody, wire.ScopeCommittee)
	}
	return []wire.Route{
		a.post(investigationsPath, a.open, maxBody, wire.ScopeCommittee),
		a.get(investigationsPath, a.investigations, wire.ScopeCommittee, wire.ScopeAudit),
		a.get(investigationsPath+"/:id", a.investigation, wire.ScopeCommittee, wire.ScopeAudit),
		step("assign", a.Enforcer.Assign),
		step("notes", a.Enforcer.Note),
		step("resolve", a.Enforcer.Resolve),
		step("dismiss", a.Enforcer.Dismiss),
	}
}

// stepBody is a step of an investigation. Which members a step has, package
// enforcement checks.
type stepBody struct {
	Violation string `json:"violation"` // to open one
	Assignee  string `json:"assignee"`
	Outcome   string `json:"outcome"`
	Text      string `json:"text"` // kept outside the ledger
}

func (a *api) open(w http.ResponseWriter, r *http.Request) error {
	i, err := a.take(w, r, "", a.Enforcer.Open)
	if err != nil {
		return err
	}
	w.Header().Set("Location", investigationsPath+"/"+i.ID)
	return wire.SendJSON(w, http.StatusCreated, investigationOf(i))
}

func (a *api) step(name string, do func(context.Context, enforcement.Step) (enforcement.Investigation, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := one(r, investigationsPath, "/"+name)
		if err != nil {
			return err
		}
		i, err := a.take(w, r, id, do)
		if err != nil {
			return err
		}
		return wire.SendJSON(w, http.StatusOK, investigationOf(i))
	}
}

// take takes a step in the name of the caller.
func (a *api) take(w http.ResponseWriter, r *http.Request, id string,
	do func(context.Context, enforcement.Step) (enforcement.Investigation, error),
) (enforcement.Investigation, error) {
	var b stepBody
	var none enforcement.Investigation
	if _, err := wire.Parameters(r); err != nil {
		return none, err
	}
	if err := wire.DecodeJSON(w, r, maxBody, &b); err != nil {
		return none, err
	}
	who, err := a.proven(r)
	if err != nil {
		return none, err
	}
	if id != "" && b.Violation != "" {
		return none, wire.Wrong(wire.CodeUnknownField, "violation", "violation is for opening an investigation; this one has its own")
	}
	return do(r.Context(), enforcement.Step{
		ID: id, Violation: b.Violation, By: who.Principal, Assignee: b.Assignee, Outcome: b.Outcome, Text: b.Text, RequestID: who.RequestID,
	})
}

// proven returns who asks, who must have proven it: what follows is recorded in that
// name.
func (a *api) proven(r *http.Request) (Caller, error) {
	who := a.Caller(r.Context())
	if who.Principal == "" {
		return who, &wire.Error{
			Status: http.StatusForbidden, Code: wire.CodeUnauthenticated,
			Message: "this is recorded in the name of who does it, so it needs a token or a client certificate",
		}
	}
	return who, nil
}

func (a *api) investigations(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "node", "severity", "type", "status", "since", "until", "before", "limit")
	if err != nil {
		return err
	}
	f := enforcement.Filter{Node: q.Get("node"), Type: q.Get("type")}
	if f.Severity, err = wire.OneOf(q, "severity", "low", "medium", "high", "critical"); err != nil {
		return err
	}
	if f.Status, err = wire.OneOf(q, "status", enforcement.InvestigationOpen, enforcement.InvestigationResolved, enforcement.InvestigationDismissed); err != nil {
		return err
	}
	limit, err := page(q, &f)
	if err != nil {
		return err
	}
	found := a.Enforcer.Investigations(f)
	next := ""
	if len(found) > limit {
		found = found[:limit]
		next = follow(w, investigationsPath, q, found[limit-1].Index)
	}
	list := make([]investigation, len(found))
	for i := range found {
		list[i] = investigationOf(found[i])
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"investigations": list, "next": next})
}

func (a *api) investigation(w http.ResponseWriter, r *http.Request) error {
	id, err := one(r, investigationsPath, "")
	if err != nil {
		return err
	}
	i, ok := a.Enforcer.Investigation(id)
	if !ok {
		return unknown(enforcement.UnknownInvestigation, "there is no investigation %q", wire.Echo(id))
	}
	return wire.SendJSON(w, http.StatusOK, investigationOf(i))
}
