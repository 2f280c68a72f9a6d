package policytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/decision"
)

// outcomes are the outcomes a case may expect.
func outcomes() []string {
	return []string{
		decision.Allowed, decision.Denied, decision.Forbidden, decision.UnknownMetric, decision.Suspended,
		decision.Quarantined, decision.StalePolicy, decision.InvalidRequest,
	}
}

// table reads a whole table; its Charter is still as written.
func (r *reader) table(data []byte) *Table {
	t := &Table{Charter: DefaultCharter}
	root := r.document(data)
	if root == nil {
		return t
	}
	var defaults, state map[string]any
	var cases *yaml.Node
	ok := r.mapping(root, "the table", []string{"charter", "defaults", "state", "cases"}, func(name string, _, value *yaml.Node) {
		switch name {
		case "charter":
			if t.Charter = r.text(value, name); t.Charter == "" {
				r.errorf(value, TableMissingField, "charter is empty; leave it out for %s beside the table", DefaultCharter)
			}
		case "defaults":
			defaults = r.object(value, name)
		case "state":
			state = r.state(value)
		case "cases":
			cases = value
		}
	})
	if ok && cases == nil {
		r.errorf(root, TableMissingField, "the table has no cases")
	}
	if cases == nil {
		return t
	}
	names := map[string]int{}
	r.list(cases, "cases", func(item *yaml.Node) {
		e := entry{input: maps.Clone(defaults), state: state}
		if r.entry(item, &e) {
			r.expand(t, e, names)
		}
	})
	return t
}

// state reads a state document; null means that there is none.
func (r *reader) state(n *yaml.Node) map[string]any {
	if v, _ := r.resolve(n, 0); v.ShortTag() == "!!null" {
		return nil
	}
	return r.object(n, "state")
}

// entry is one item of cases before its expansion.
type entry struct {
	node   *yaml.Node
	name   string
	input  map[string]any
	each   []dimension
	state  map[string]any
	expect Expectation
}

// dimension is one field of each with its values.
type dimension struct {
	field  string
	values []any
}

func (r *reader) entry(n *yaml.Node, e *entry) bool {
	before := len(r.found)
	e.node = n
	var expected bool
	ok := r.mapping(n, "a case", []string{"name", "input", "each", "state", "expect"}, func(name string, _, value *yaml.Node) {
		switch name {
		case "name":
			if e.name = r.text(value, name); strings.ContainsFunc(e.name, unicode.IsControl) {
				r.errorf(value, TableUnknownValue, "a name must be one line of text")
			}
		case "input":
			e.input = overlay(e.input, r.object(value, name))
		case "each":
			e.each = r.each(value)
		case "state":
			e.state = r.state(value)
		case "expect":
			expected = true
			e.expect = r.expectation(value)
		}
	})
	switch {
	case !ok:
	case e.name == "" && len(r.found) == before:
		r.errorf(n, TableMissingField, "a case needs a name")
	case !expected:
		r.errorf(n, TableNoExpectation, "the case expects nothing, so it cannot fail; add expect")
	}
	return len(r.found) == before
}

// overlay puts fields over base; null removes a field.
func overlay(base, fields map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(fields))
	maps.Copy(out, base)
	maps.Copy(out, fields)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

func (r *reader) each(n *yaml.Node) []dimension {
	var dims []dimension
	total := 1
	r.mapping(n, "each", nil, func(name string, key, value *yaml.Node) {
		d := dimension{field: name}
		r.list(value, "each "+name, func(item *yaml.Node) { d.values = append(d.values, r.value(item, 2)) })
		if len(d.values) == 0 {
			r.errorf(key, TableMissingField, "each %s has no values, so the case would not run", name)
			return
		}
		dims = append(dims, d)
		if total <= MaxEach {
			total *= len(d.values)
		}
		if total > MaxEach {
			r.errorf(key, TableLimit, "each makes more than %d cases", MaxEach)
		}
	})
	return dims
}

func (r *reader) expectation(n *yaml.Node) Expectation {
	var e Expectation
	known := []string{"allow", "outcome", "clause", "codes", "severity", "mode", "obligations"}
	ok := r.mapping(n, "expect", known, func(name string, _, value *yaml.Node) {
		switch name {
		case "allow":
			v := r.boolean(value, name)
			e.Allow = &v
		case "outcome":
			e.Outcome = r.oneOf(value, name, outcomes())
		case "clause":
			v := r.text(value, name)
			e.Clause = &v
		case "codes":
			e.Codes = r.texts(value, name)
			r.known(value, name, e.Codes, decision.Codes())
		case "severity":
			e.Severity = r.oneOf(value, name, []string{"none", "low", "medium", "high", "critical"})
		case "mode":
			e.Mode = r.oneOf(value, name, []string{decision.Enforce, decision.Warn, decision.Shadow})
		case "obligations":
			e.Obligations = r.obligations(value)
		}
	})
	if ok && e.empty() {
		r.errorf(n, TableNoExpectation, "expect is empty, so the case cannot fail")
	}
	return e
}

func (e Expectation) empty() bool {
	return e.Allow == nil && e.Outcome == nil && e.Clause == nil && e.Codes == nil && e.Severity == nil &&
		e.Mode == nil && e.Obligations == nil
}

func (r *reader) oneOf(n *yaml.Node, what string, values []string) *string {
	v := r.text(n, what)
	r.known(n, what, []string{v}, values)
	return &v
}

func (r *reader) known(n *yaml.Node, what string, got, values []string) {
	for _, v := range got {
		if !slices.Contains(values, v) {
			r.unknown(n, TableUnknownValue, fmt.Sprintf("%s %q does not exist", what, v), v, values)
		}
	}
}

func (r *reader) obligations(n *yaml.Node) *decision.Obligations {
	o := &decision.Obligations{}
	known := []string{"retention", "drop_labels", "hash_labels", "forbid_labels", "rates"}
	r.mapping(n, "obligations", known, func(name string, _, value *yaml.Node) {
		switch name {
		case "retention":
			o.Retention = r.text(value, name)
		case "drop_labels":
			o.DropLabels = r.texts(value, name)
		case "hash_labels":
			o.HashLabels = r.texts(value, name)
		case "forbid_labels":
			o.ForbidLabels = r.texts(value, name)
		case "rates":
			o.Rates = r.texts(value, name)
		}
	})
	return o
}

// expand adds the cases of one entry: all combinations of each, the last field
// running fastest.
func (r *reader) expand(t *Table, e entry, names map[string]int) {
	total := 1
	for _, d := range e.each {
		total *= len(d.values)
	}
	if len(t.Cases)+total > MaxCases {
		r.errorf(e.node, TableLimit, "the table has more than %d cases", MaxCases)
		return
	}
	for i := range total {
		c := TestCase{Name: e.name, Pos: r.pos(e.node), Input: e.input, State: e.state, Expect: e.expect}
		if len(e.each) > 0 {
			added, label := e.combination(i)
			c.Input = overlay(e.input, added)
			c.Name += "/" + label
		}
		if line, twice := names[c.Name]; twice {
			r.errorf(e.node, TableDuplicate, "the case %q has the name of the case in line %d", c.Name, line)
			return
		}
		names[c.Name] = e.node.Line
		t.Cases = append(t.Cases, c)
	}
}

func (e entry) combination(i int) (fields map[string]any, label string) {
	fields = make(map[string]any, len(e.each))
	parts := make([]string, len(e.each))
	for k := len(e.each) - 1; k >= 0; k-- {
		d := e.each[k]
		at := i % len(d.values)
		v := d.values[at]
		i /= len(d.values)
		fields[d.field] = v
		parts[k] = d.field + "=" + short(v, at)
	}
	return fields, strings.Join(parts, ",")
}

// short renders the at-th value of each for a name: simple texts as they are,
// all else as JSON, and what is long by its beginning and its index.
func short(v any, at int) string {
	const most = 80
	text, ok := v.(string)
	if !ok || strings.ContainsFunc(text, unicode.IsControl) {
		data, err := json.Marshal(v)
		if err != nil { // cannot happen: v came through reader.value
			data = fmt.Append(nil, v)
		}
		text = string(data)
	}
	if len(text) > most {
		text = fmt.Sprintf("%s… (%d)", strings.ToValidUTF8(text[:most], ""), at)
	}
	return text
}
