package rival

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// condition is what a clause demands, in Cedar. Its arguments are category,
// access level and purposes of the clause, as literals or attributes.
const condition = `((action == Action::"collect" && principal.collects.contains(%[1]s)) ||
   (action == Action::"read" && principal.reads.contains(%[2]s) && context has purpose && %[3]s.contains(context.purpose))) &&
  context.claims.containsAll(principal.requires) &&
  context.node in Group::"fleet" &&
  (action == Action::"read" || !context.node.quarantined) &&
  context.now < %[4]d`

func conditionOf(category, access, purposes string) string {
	return fmt.Sprintf(condition, category, access, purposes, expires().UnixMilli())
}

func expires() time.Time {
	t, _ := time.Parse(time.RFC3339, workload.Expires) // a constant
	return t
}

// literal is the condition of one clause with all values written out.
func literal(c workload.Clause) string {
	return conditionOf(quoted(c.Category), quoted(c.Access), purposesText())
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func purposesText() string {
	return `["` + strings.Join(workload.Purposes()[:2], `", "`) + `"]`
}

// CedarPerMetric is Cedar with one policy per metric name and per glob.
func CedarPerMetric(s *workload.Spec) (Decider, error) {
	var text bytes.Buffer
	for _, c := range s.Exact {
		for _, name := range c.Match {
			fmt.Fprintf(&text, "permit(principal, action, resource == Metric::%q) when { %s };\n", name, literal(c))
		}
	}
	like(&text, s)
	return newCedar(&text, actors(s), metricOf)
}

// CedarLike is Cedar with metrics as entities, one policy for all of them and one per
// glob.
func CedarLike(s *workload.Spec) (Decider, error) {
	var text bytes.Buffer
	text.WriteString("permit(principal, action, resource) when { resource has category && " + attributes() + " };\n")
	like(&text, s)
	entities := actors(s)
	for _, c := range s.Exact {
		for _, name := range c.Match {
			add(entities, types.NewEntityUID("Metric", types.String(name)), properties(c))
		}
	}
	return newCedar(&text, entities, metricOf)
}

// CedarResolved is Cedar with clauses as entities and one policy: the
// application itself finds out which clause speaks for a name.
func CedarResolved(s *workload.Spec) (Decider, error) {
	text := bytes.NewBufferString("permit(principal, action, resource) when { resource has category && " + attributes() + " };\n")
	entities := actors(s)
	exact, prefixes, lengths := map[string]types.EntityUID{}, map[string]types.EntityUID{}, map[int]bool{}
	for _, clauses := range [][]workload.Clause{s.Exact, s.Globs} {
		for _, c := range clauses {
			id := types.NewEntityUID("Clause", types.String(c.ID))
			add(entities, id, properties(c))
			for _, pattern := range c.Match {
				if prefix, isGlob := strings.CutSuffix(pattern, "*"); isGlob {
					prefixes[prefix], lengths[len(prefix)] = id, true
				} else {
					exact[pattern] = id
				}
			}
		}
	}
	return newCedar(text, entities, func(name string) types.EntityUID {
		if id, ok := exact[name]; ok {
			return id
		}
		for n := range lengths { // prefixes of the workload do not nest
			if n <= len(name) {
				if id, ok := prefixes[name[:n]]; ok {
					return id
				}
			}
		}
		return types.NewEntityUID("Clause", "default")
	})
}

func attributes() string {
	return conditionOf("resource.category", "resource.access", "resource.purposes")
}

// like writes one policy per glob.
func like(text *bytes.Buffer, s *workload.Spec) {
	for _, c := range s.Globs {
		for _, glob := range c.Match {
			fmt.Fprintf(text, "permit(principal, action, resource) when { context.metric like %q && %s };\n", glob, literal(c))
		}
	}
}

// actors are the entities of roles and nodes.
func actors(s *workload.Spec) types.EntityMap {
	entities := types.EntityMap{}
	add(entities, types.NewEntityUID("Role", workload.Operator), types.RecordMap{
		"reads": setOf([]string{"public"}), "collects": setOf(workload.Categories()), "requires": setOf(workload.Claims()),
	})
	add(entities, types.NewEntityUID("Role", workload.Auditor), types.RecordMap{
		"reads": setOf(workload.Levels()), "collects": setOf(nil), "requires": setOf(nil),
	})
	fleet := types.NewEntityUIDSet(types.NewEntityUID("Group", "fleet"))
	nodes := func(names []string, quarantined bool) {
		for _, name := range names {
			id := types.NewEntityUID("Node", types.String(name))
			entities[id] = types.Entity{UID: id, Parents: fleet, Attributes: types.NewRecord(types.RecordMap{"quarantined": types.Boolean(quarantined)})}
		}
	}
	nodes(s.Nodes, false)
	nodes(s.Quarantined, true)
	return entities
}

func add(entities types.EntityMap, id types.EntityUID, attributes types.RecordMap) {
	entities[id] = types.Entity{UID: id, Attributes: types.NewRecord(attributes)}
}

func properties(c workload.Clause) types.RecordMap {
	return types.RecordMap{"category": types.String(c.Category), "access": types.String(c.Access), "purposes": setOf(workload.Purposes()[:2])}
}

func setOf(names []string) types.Set {
	values := make([]types.Value, len(names))
	for i, name := range names {
		values[i] = types.String(name)
	}
	return types.NewSet(values...)
}

func metricOf(name string) types.EntityUID { return types.NewEntityUID("Metric", types.String(name)) }

func newCedar(text *bytes.Buffer, entities types.EntityMap, resource func(metric string) types.EntityUID) (Decider, error) {
	policies, err := cedar.NewPolicySetFromBytes("bench.cedar", text.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read Cedar policies: %w", err)
	}
	return func(_ context.Context, in decision.Input) (bool, error) {
		now, err := time.Parse(time.RFC3339, in.Time)
		if err != nil {
			return false, err
		}
		context := types.RecordMap{
			"metric": types.String(in.Metric),
			"node":   types.NewEntityUID("Node", types.String(in.Node)),
			"claims": setOf(in.Claims),
			"now":    types.Long(now.UnixMilli()),
		}
		if in.Purpose != "" {
			context["purpose"] = types.String(in.Purpose)
		}
		answer, _ := cedar.Authorize(policies, entities, cedar.Request{
			Principal: types.NewEntityUID("Role", types.String(in.Role)),
			Action:    types.NewEntityUID("Action", types.String(in.Operation)),
			Resource:  resource(in.Metric),
			Context:   types.NewRecord(context),
		})
		return answer == cedar.Allow, nil
	}, nil
}
