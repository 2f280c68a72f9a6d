package explain

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// facts are what the rules found about one question. The tag rego names the
// document that a field holds, or is a comprehension; a field whose document is
// undefined stays empty.
type facts struct {
	Valid  maybe[bool]     `rego:"data.charter.request.valid"`
	Labels maybe[[]string] `rego:"data.charter.request.labels"` // those that have a value

	Forbidden       maybe[[]string]            `rego:"data.charter.forbidden.names"`
	ForbiddenLabels maybe[map[string][]string] `rego:"data.charter.forbidden.labels"`
	Entries         map[string]forbiddenRow    `rego:"{id: row | some id in data.charter.forbidden.names; row := data.charter.tables.forbidden[id]}"`

	Standing maybe[bool] `rego:"data.charter.standing.clear"`
	Validity maybe[bool] `rego:"data.charter.validity.clear"`

	Exact    maybe[nameRow]      `rego:"data.charter.tables.exact[input.metric]"`
	Patterns map[string]nameRow  `rego:"{glob: row | some glob in data.charter.patterns.metric; row := data.charter.tables.patterns[glob]}"`
	Covering map[string]bool     `rego:"{id: data.charter.nodes.selected(data.charter.tables.clauses[id].nodes) | some id in {c | some c, _ in data.charter.tables.exact[input.metric].clauses} | {c | some glob in data.charter.patterns.metric; some c, _ in data.charter.tables.patterns[glob].clauses}}"` // matching clauses
	Found    maybe[bool]         `rego:"data.charter.selection.found"`
	Selected maybe[string]       `rego:"data.charter.selection.id"`
	Clause   maybe[clauseRow]    `rego:"data.charter.tables.clauses[data.charter.selection.id]"`
	Role     maybe[roleRow]      `rego:"data.charter.tables.roles[input.role]"`
	Grants   []grantRow          `rego:"[{\"id\": id, \"used\": data.charter.grants.used(grant), \"code\": code} | some [code, id, grant] in data.charter.grants.active]"`
	Longest  maybe[longestGrant] `rego:"data.charter.grants.longest"`

	OperationPermitted maybe[bool]     `rego:"data.charter.conditions.operation_permitted"`
	RoleKnown          maybe[bool]     `rego:"data.charter.conditions.role_known"`
	ClaimsHeld         maybe[bool]     `rego:"data.charter.conditions.claims_held"`
	Renewed            maybe[bool]     `rego:"data.charter.conditions.renewed"`
	Collected          maybe[bool]     `rego:"data.charter.conditions.collected"`
	Readable           maybe[bool]     `rego:"data.charter.conditions.readable"`
	Exportable         maybe[bool]     `rego:"data.charter.conditions.exportable"`
	NodeCovered        maybe[bool]     `rego:"data.charter.conditions.node_covered"`
	PurposeKnown       maybe[bool]     `rego:"data.charter.conditions.purpose_known"`
	PurposePermitted   maybe[bool]     `rego:"data.charter.conditions.purpose_permitted"`
	RetentionWithin    maybe[bool]     `rego:"data.charter.conditions.retention_within"`
	LabelsPermitted    maybe[bool]     `rego:"data.charter.conditions.labels_permitted"`
	LabelsRefused      maybe[[]string] `rego:"data.charter.conditions.labels_refused"`
}

// query asks for all facts at once.
func query() string {
	var members []string
	for f := range reflect.TypeFor[facts]().Fields() {
		text := f.Tag.Get("rego")
		if strings.HasPrefix(text, "data.") {
			text = "[fact | fact := " + text + "]" // empty when it is undefined
		}
		members = append(members, fmt.Sprintf("%q: %s", f.Name, text))
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// maybe is a document, or nothing when it is undefined.
type maybe[T any] []T

// get is the document, or the zero value.
func (m maybe[T]) get() (v T) {
	if len(m) > 0 {
		return m[0]
	}
	return v
}

// Rows of the tables, as far as steps show them.
type (
	nameRow struct {
		Clauses   set `json:"clauses"`
		Forbidden set `json:"forbidden"`
	}
	forbiddenRow struct {
		Protected bool `json:"protected"`
	}
	clauseRow struct {
		Category    string      `json:"category"`
		Access      string      `json:"access"`
		Operations  set         `json:"operations"`
		Purposes    set         `json:"purposes"`
		Nodes       selector    `json:"nodes"`
		Forbid      set         `json:"forbid"`
		Obligations obligations `json:"obligations"`
	}
	obligations struct {
		Retention string `json:"retention"`
	}
	selector struct {
		Any    bool `json:"any"`
		Exact  set  `json:"exact"`
		Globs  set  `json:"globs"`
		Groups set  `json:"groups"`
	}
	roleRow struct {
		Reads    set         `json:"reads"`
		Collects set         `json:"collects"`
		Exports  set         `json:"exports"`
		Requires set         `json:"requires"`
		RenewNS  json.Number `json:"renew_ns"`
	}
	grantRow struct {
		ID   string `json:"id"`
		Code string `json:"code"`
		Used bool   `json:"used"`
	}
	longestGrant struct {
		Retention string `json:"retention"`
	}
)

// set is an object whose values are true.
type set map[string]bool

func (s set) names() []string { return slices.Sorted(maps.Keys(s)) }

// list is the selector as a charter writes it.
func (s selector) list() []string {
	if s.Any {
		return []string{"*"}
	}
	all := slices.Concat(s.Exact.names(), s.Globs.names())
	for _, group := range s.Groups.names() {
		all = append(all, "group:"+group)
	}
	return all
}

// holds reports whether a condition is defined and true.
func holds(m maybe[bool]) bool { return m.get() }
