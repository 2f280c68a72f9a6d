package decisionapi

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	listPath   = "/v1/list"
	metricsKey = "metrics"
)

// Policy is the active policy as far as lists need it. Charter must not be
// modified; it is the same pointer as long as the policy is the same.
type Policy interface {
	Revision() string
	Charter() *charter.Charter
}

// listAnswer says which metrics are allowed. Without names in the request it
// divides all names: a name takes the entry of metrics that it is, else the
// first of forbidden that matches it, else the first of globs, else outside.
type listAnswer struct {
	Revision string `json:"revision"`
	// Exact says that every entry speaks for all names that it stands for.
	Exact   bool        `json:"exact"`
	Metrics []listEntry `json:"metrics"`
	*listTerrain
}

type listTerrain struct {
	Forbidden []listEntry `json:"forbidden"`
	Globs     []listEntry `json:"globs"`
	Outside   listEntry   `json:"outside"`
}

// listEntry is what holds for one metric, or for the names of a region.
type listEntry struct {
	Metric string `json:"metric,omitempty"`
	Match  string `json:"match,omitempty"`
	Allow  bool   `json:"allow"`
	// Outcome and Clause are "" for a pattern that no name is left for, or whose
	// names have different answers.
	Outcome     string                `json:"outcome,omitempty"`
	Clause      string                `json:"clause,omitempty"`
	Obligations *decision.Obligations `json:"obligations,omitempty"`
	// Witness is the name that was decided for the pattern.
	Witness string      `json:"witness,omitempty"`
	Exact   *bool       `json:"exact,omitempty"` // of patterns only
	Error   *wire.Error `json:"error,omitempty"`
}

// list answers which of the given metrics, or which metrics at all, somebody may
// collect, read or export at a node.
func (a *api) list(c echo.Context) error {
	body, err := a.readBody(c, a.MaxBatchBody)
	if err != nil {
		return err
	}
	who, metrics, err := readList(commonOf(c), body)
	if err != nil {
		who.Metric = ""
		a.notTheirs(c, who, err)
		return a.refuse(c, err, bare)
	}
	if metrics != nil {
		return a.listNamed(c, who, metrics)
	}
	// A policy that is replaced between survey and decisions would answer for
	// another charter.
	const attempts = 3
	for attempt := range attempts {
		policy := a.Policy()
		if policy == nil {
			return unlisted("no policy is active")
		}
		answer, err := a.listAll(c, who, policy, attempt == 0)
		if err != nil {
			return err
		}
		if answer.Revision == policy.Revision() {
			return respond(c, http.StatusOK, answer)
		}
	}
	return unlisted("the policy is being replaced, ask again")
}

func unlisted(message string) error {
	return &wire.Error{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Message: message}
}

// listNamed decides the given names in their order.
func (a *api) listNamed(c echo.Context, who decision.Input, metrics []string) error {
	if err := a.charge(c, len(metrics)); err != nil {
		return err
	}
	items := questionsFor(who, metrics)
	for i := range items {
		if err := items[i].input.Validate(); err != nil {
			return a.refuse(c, relocate(err, func(field string) string {
				if field == "metric" {
					return fmt.Sprintf("metrics[%d]", i)
				}
				return field
			}), bare)
		}
	}
	revision, err := a.decideAll(c, a.Lister, items, bare)
	if err != nil {
		return err
	}
	return respond(c, http.StatusOK, listAnswer{Revision: revision, Exact: sound(items), Metrics: entries(items)})
}

func questionsFor(who decision.Input, metrics []string) []item {
	items := make([]item, len(metrics))
	for i, m := range metrics {
		items[i].input = who
		items[i].input.Metric = m
	}
	return items
}

// listAll decides the exact names of the charter and a witness for each of its
// patterns; the caller pays for them the first time.
func (a *api) listAll(c echo.Context, who decision.Input, policy Policy, first bool) (*listAnswer, error) {
	t, err := a.surveyor.terrain(policy.Charter())
	if err != nil {
		return nil, internal(err)
	}
	regions := slices.Concat(t.banned, t.globs, []region{t.outside})
	metrics := slices.Clone(t.names)
	for _, r := range regions {
		if r.witness != "" {
			metrics = append(metrics, r.witness)
		}
	}
	if first {
		if err := a.charge(c, len(metrics)); err != nil {
			return nil, err
		}
	}
	items := questionsFor(who, metrics)
	revision, err := a.decideAll(c, a.Lister, items, bare)
	if err != nil {
		return nil, err
	}
	answer := &listAnswer{Revision: revision, Metrics: entries(items[:len(t.names)]), listTerrain: &listTerrain{}}
	if !sameRevision(items, revision) {
		answer.Revision = ""
		return answer, nil
	}
	told := regionEntries(regions, items[len(t.names):])
	for i := range t.banned {
		told[i].settleBanned()
	}
	answer.Forbidden, answer.Globs, answer.Outside = told[:len(t.banned)], told[len(t.banned):len(regions)-1], told[len(regions)-1]
	answer.Exact = sound(items) && !slices.ContainsFunc(told, func(e listEntry) bool { return !*e.Exact })
	return answer, nil
}

// sound reports whether every item has a decision.
func sound(items []item) bool {
	return !slices.ContainsFunc(items, func(i item) bool { return i.fault != nil || undetermined(i.decision) })
}

func sameRevision(items []item, revision string) bool {
	return !slices.ContainsFunc(items, func(i item) bool { return i.fault == nil && i.decision.Revision != revision })
}

func entries(items []item) []listEntry {
	list := make([]listEntry, len(items))
	for i := range items {
		list[i] = entry(&items[i])
		list[i].Metric = items[i].input.Metric
	}
	return list
}

func entry(i *item) listEntry {
	if i.fault != nil {
		return listEntry{Error: i.fault}
	}
	e := listEntry{Allow: i.decision.Allow, Outcome: i.decision.Outcome, Clause: i.decision.Clause}
	if i.decision.Allow && !i.decision.Obligations.Empty() {
		e.Obligations = &i.decision.Obligations
	}
	return e
}

// regionEntries tells the regions; items are the decisions of their witnesses.
func regionEntries(regions []region, items []item) []listEntry {
	list := make([]listEntry, len(regions))
	for i, r := range regions {
		exact := r.exact
		if r.witness != "" {
			list[i], items = entry(&items[0]), items[1:]
			exact = exact && list[i].Error == nil
		}
		list[i].Match, list[i].Witness, list[i].Exact = r.match, r.witness, &exact
	}
	return list
}

// settleBanned makes the entry of a forbidden pattern one for all its names,
// whatever was decided for one of them.
func (e *listEntry) settleBanned() {
	if *e.Exact && !e.Allow {
		e.Outcome = decision.Forbidden
		return
	}
	*e.Exact = false
	e.Allow, e.Outcome, e.Clause, e.Obligations = false, "", "", nil
}

// readList reads the request of a list: a question without a metric, labels and
// retention, and names, nil when there are none. The question is bound to who
// asks.
func readList(common base, body []byte) (who decision.Input, metrics []string, err error) {
	known := map[string]func(*cursor) error{
		metricsKey: func(c *cursor) error {
			metrics, err = readNames(c)
			return err
		},
	}
	for _, name := range []string{"role", "node", "operation", "purpose", "claims", "time"} {
		known[name] = func(c *cursor) error {
			start := *c
			if common.set(c, name, decision.Input{}) {
				return nil
			}
			*c = start
			if name == "claims" {
				return mistyped(c, name, "an array of strings")
			}
			return mistyped(c, name, "a string")
		}
	}
	if err := members(body, known); err != nil {
		return who, nil, err
	}
	common.input.Metric = "any" // valid, and replaced by each name
	who, err = common.own(common.input)
	return who, metrics, err
}

func readNames(c *cursor) ([]string, error) {
	if c.peek() != '[' {
		return nil, mistyped(c, metricsKey, "an array of strings")
	}
	list := []string{}
	err := c.array(func() error {
		if len(list) == maxItems {
			return tooMany(metricsKey)
		}
		var name string
		if start := *c; !text(c, &name) {
			*c = start
			return mistyped(c, metricsKey, "an array of strings")
		}
		list = append(list, name)
		return nil
	})
	return list, err
}
