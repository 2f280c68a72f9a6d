package exportconfig

import (
	"regexp"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// otel writes processors of the OpenTelemetry Collector. Labels of the charter are
// attributes of data points; those of the resource and of the scope count as well,
// because exporters may make labels of them.
type otel struct {
	*Plan
	conditions []condition
}

// condition is one OTTL condition under which data is dropped.
type condition struct{ comment, ottl string }

// The OTTL paths of the attributes that one data point stands under.
func attributePaths() []string {
	return []string{"resource.attributes", "scope.attributes", "datapoint.attributes"}
}

// OTelFilter returns a filter processor of the OpenTelemetry Collector, as YAML, for
// charters whose clauses drop no labels; a processor that filters cannot.
func (p *Plan) OTelFilter() ([]byte, error) {
	var list diag.List
	p.refuseHash(&list)
	for i := range p.treatments {
		t := &p.treatments[i]
		for _, id := range t.clauses {
			if len(t.drop) > 0 {
				list.Errorf(p.place(id), CodeDrop, "clause %s drops %s, and a filter removes no attributes", id, strings.Join(t.drop, ", ")).Fix = "--target otel-redaction"
			}
		}
	}
	p.refuseOddPatterns(&list)
	if err := refuse("otel-filter", list); err != nil {
		return nil, err
	}
	var y page
	p.otelHead(&y, "OpenTelemetry Collector: filter processor", "filter/charter")
	f := otel{Plan: p}
	f.nameConditions()
	f.bans(p.strict)
	f.bans(p.lenient)
	f.forbidden()
	f.write(&y, "filter/charter")
	return []byte(y.String()), nil
}

// OTelRedaction returns the processors of the OpenTelemetry Collector that filter
// metrics and remove attributes: filter, transform, and filter again for labels that
// only offend where no clause drops them. The redaction processor is not among them:
// it masks where the charter says remove, or removes all it does not know, and cannot
// tell metrics apart.
//
// An attribute of a resource or scope cannot be removed for some metrics only; a
// metric whose clause drops such an attribute is dropped instead.
func (p *Plan) OTelRedaction() ([]byte, error) {
	var list diag.List
	p.refuseHash(&list)
	p.refuseOddPatterns(&list)
	if err := refuse("otel-redaction", list); err != nil {
		return nil, err
	}
	names := []string{"filter/charter"}
	labels, in := p.labelsOf(drops)
	if len(labels) > 0 {
		names = append(names, "transform/charter")
	}
	after := otel{Plan: p}
	after.bans(p.lenient)
	after.forbidden()
	if len(after.conditions) > 0 {
		names = append(names, "filter/charter-labels")
	}
	var y page
	p.otelHead(&y, "OpenTelemetry Collector: processors that filter metrics and remove attributes", names...)
	before := otel{Plan: p}
	before.nameConditions()
	before.bans(p.strict)
	for _, label := range labels {
		where := p.ottl(among(in[label]))
		for _, path := range attributePaths()[:2] {
			before.add("cannot be removed for some metrics only: "+listed(p.clausesWith(drops, label)), and(where, has(path, label)))
		}
	}
	before.write(&y, "filter/charter")
	if len(labels) > 0 {
		y.line(2, "transform/charter:")
		y.line(4, "error_mode: propagate")
		y.line(4, "metric_statements:")
	}
	for _, label := range labels {
		y.comment(6, "dropped by "+listed(p.clausesWith(drops, label)))
		statement := "delete_key(datapoint.attributes, " + ottlText(label) + ")"
		if where := p.ottl(among(in[label])); where != always {
			statement += " where " + where
		}
		y.line(6, "- %s", collectorScalar(statement))
	}
	after.write(&y, "filter/charter-labels")
	return []byte(y.String()), nil
}

func (p *Plan) otelHead(y *page, what string, processors ...string) {
	for _, line := range p.header(what) {
		y.comment(0, line)
	}
	y.comment(0, "in every metrics pipeline, in this order: processors: ["+strings.Join(processors, ", ")+"]")
	y.comment(0, "error_mode is propagate: data that cannot be judged does not pass")
	y.line(0, "processors:")
}

func (o *otel) add(comment, ottl string) {
	if ottl != never {
		o.conditions = append(o.conditions, condition{comment, ottl})
	}
}

func (o *otel) write(y *page, name string) {
	if len(o.conditions) == 0 && name != "filter/charter" {
		return
	}
	y.line(2, "%s:", name)
	y.line(4, "error_mode: propagate")
	if len(o.conditions) == 0 {
		return
	}
	y.line(4, "metric_conditions:")
	last := ""
	for _, c := range o.conditions {
		if c.comment != last {
			y.comment(6, c.comment)
		}
		last = c.comment
		y.line(6, "- %s", collectorScalar(c.ottl))
	}
}

// nameConditions drops metrics that are forbidden or that no clause allows.
func (o *otel) nameConditions() {
	if len(o.Plan.forbidden) > 0 {
		o.add("forbidden by "+strings.Join(o.banned, ", "), isMatch("metric.name", o.Plan.forbidden))
	}
	test, allowed := o.ottl(func(n int) bool { return n == denied }), o.Clauses()
	if test == always { // which names no path and so no context
		test, allowed = "metric.name != nil", []string{"none"}
	}
	o.add("not allowed; allowed are "+listed(allowed), test)
}

// bans drops data with a forbidden label. All labels are looked for at once, in the one
// form in which patterns can be.
func (o *otel) bans(entries []labelBan) {
	var ids []string
	var all []space.Glob
	for _, e := range entries {
		ids, all = append(ids, e.id), append(all, e.labels...)
	}
	if len(all) == 0 {
		return
	}
	odd := slices.DeleteFunc(slices.Clone(all), func(g space.Glob) bool { return !g.Exact() || plain(g) })
	encoded := slices.DeleteFunc(all, func(g space.Glob) bool { return !plain(g) })
	for _, path := range attributePaths() {
		var tests []string
		for _, g := range odd {
			tests = append(tests, has(path, g.String()))
		}
		if len(encoded) > 0 {
			tests = append(tests, hasMatching(path, encoded))
		}
		o.add("labels forbidden by "+strings.Join(ids, ", "), strings.Join(tests, " or "))
	}
}

// plain reports that JSON writes the characters of a glob in one way only.
func plain(g space.Glob) bool {
	return !strings.ContainsFunc(g.String(), func(r rune) bool { return r > '~' || strings.ContainsRune(`"<>&`, r) })
}

// forbidden drops data with a label that its clause forbids.
func (o *otel) forbidden() {
	labels, in := o.labelsOf(forbids)
	for _, label := range labels {
		where := o.ottl(among(in[label]))
		for _, path := range attributePaths() {
			o.add("labels refused by "+listed(o.clausesWith(forbids, label)), and(where, has(path, label)))
		}
	}
}

// OTTL conditions that hold for every name and for none.
const (
	always = "true"
	never  = "false"
)

// ottl is the condition that a metric's name belongs to the treatments.
func (p *Plan) ottl(want func(int) bool) string {
	s := p.names(want)
	text := never
	if s.rest {
		text = always
	}
	for i := len(s.runs) - 1; i >= 0; i-- {
		match := isMatch("metric.name", s.runs[i].globs)
		switch {
		case s.runs[i].in && text == never:
			text = match
		case s.runs[i].in:
			text = "(" + match + " or " + text + ")"
		case text == always:
			text = "not " + match
		default:
			text = "(not " + match + " and " + text + ")"
		}
	}
	return text
}

func and(where, test string) string {
	switch where {
	case always:
		return test
	case never:
		return never
	}
	return where + " and " + test
}

func isMatch(path string, globs []space.Glob) string {
	return "IsMatch(" + path + ", " + ottlText(`(?s)\A(?:`+alternatives(globs)+`)\z`) + ")"
}

// has tests for an attribute with a value.
func has(path, label string) string {
	attribute := path + "[" + ottlText(label) + "]"
	return "(" + attribute + " != nil and " + attribute + ` != "")`
}

// hasMatching tests for an attribute whose name matches, with a value, in the JSON form
// of the attributes that IsMatch sees. A quote behind a comma or brace begins a name
// there: inside a text it would follow a backslash.
func hasMatching(path string, labels []space.Glob) string {
	var all []string
	for _, g := range labels {
		parts := strings.Split(g.String(), "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		all = append(all, strings.Join(parts, `(?:[^"\\]|\\.)*`))
	}
	slices.Sort(all)
	return "IsMatch(" + path + ", " + ottlText(`[{,]"(?:`+strings.Join(all, "|")+`)":(?:[^"]|"[^"])`) + ")"
}

// refuseOddPatterns complains about patterns over labels with characters that JSON may
// write in more than one way.
func (p *Plan) refuseOddPatterns(list *diag.List) {
	for _, e := range slices.Concat(p.strict, p.lenient) {
		for _, g := range e.labels {
			if !g.Exact() && !plain(g) {
				list.Errorf(p.place(e.id), CodeLabelPattern, "%s has the pattern %s over names of labels, of which the Collector sees an encoded form only", e.id, g)
			}
		}
	}
}

// ottlText is a string literal of OTTL.
func ottlText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// collectorScalar is text in the configuration of the Collector, where $ begins a
// variable and $$ is a dollar sign.
func collectorScalar(s string) string { return scalar(strings.ReplaceAll(s, "$", "$$")) }
