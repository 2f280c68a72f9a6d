package exportconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// Labels that relabeling uses on the way and removes at the end. Prometheus promises
// never to use names that begin with __tmp itself.
const (
	tmpPrefix = "__tmp_charter_"
	tmpClass  = tmpPrefix + "class" // what happens to the series
	tmpLabel  = tmpPrefix + "label" // some label that was looked for is there
	tmpHas    = tmpPrefix + "has_"  // the same, under the name of the label
)

// relabel is one relabel_config of Prometheus.
type relabel struct {
	comment     string
	source      []string
	regex       string
	action      string
	target      string
	replacement string
}

// Prometheus returns metric_relabel_configs for one scrape configuration, as YAML.
// TargetLabels are the labels that its targets carry besides job and instance.
//
// It needs nothing newer than Prometheus 2.42, except where a clause drops a label
// whose name is not of the classic form: earlier versions refuse to load that. It
// returns a [*Refused] for keyed hashes; for rules about labels that the targets
// carry, because relabeling cannot tell these from labels that were scraped; and for
// rules about the labels it uses itself.
func (p *Plan) Prometheus(targetLabels []string) ([]byte, error) {
	var list diag.List
	p.refuseHash(&list)
	p.refuseTargetLabels(&list, append([]string{"job", "instance"}, targetLabels...))
	if err := refuse("prometheus", list); err != nil {
		return nil, err
	}
	var y page
	for _, line := range p.header("Prometheus metric_relabel_configs") {
		y.comment(0, line)
	}
	y.comment(0, "targets carry these labels and no others: "+strings.Join(append([]string{"job", "instance"}, targetLabels...), ", "))
	y.line(0, "metric_relabel_configs:")
	for _, r := range p.relabeling() {
		y.relabel(r)
	}
	return []byte(y.String()), nil
}

func (y *page) relabel(r relabel) {
	if r.comment != "" {
		y.comment(2, r.comment)
	}
	y.line(2, "- action: %s", r.action)
	if len(r.source) > 0 {
		y.line(4, "source_labels: [%s]", strings.Join(r.source, ", "))
	}
	if r.regex != "" {
		y.line(4, "regex: %s", scalar(r.regex))
	}
	if r.target != "" {
		y.line(4, "target_label: %s", scalar(r.target))
	}
	if r.action == "replace" || r.action == "labelmap" {
		y.line(4, "replacement: %s", scalar(r.replacement))
	}
}

// dotall lets dots of an expression match line feeds as well; Prometheus 2 does not
// do so by itself.
func dotall(expression string) string {
	if strings.Contains(expression, ".*") {
		return "(?s)" + expression
	}
	return expression
}

const present = "(?s).+"

// relabeling is the rules: names first, then labels that no clause makes up for, then
// what clauses drop, then the other labels.
func (p *Plan) relabeling() []relabel {
	rules := []relabel{{comment: "nobody else writes the labels used below", action: "labeldrop", regex: tmpPrefix + ".*"}}
	if len(p.forbidden) > 0 {
		rules = append(rules, relabel{
			comment: "forbidden by " + strings.Join(p.banned, ", "),
			action:  "drop", source: []string{"__name__"}, regex: dotall(alternatives(p.forbidden)),
		})
	}
	rules = append(rules, p.classes()...)
	rules = append(rules, bans(p.strict, "; dropping the label would not do")...)
	rules = append(rules, p.dropping()...)
	rules = append(rules, bans(p.lenient, "")...)
	rules = append(rules, p.refusals()...)
	return append(rules, relabel{action: "labeldrop", regex: tmpPrefix + ".*"})
}

func className(n int) string { return fmt.Sprintf("c%d", n+1) }

// simple reports that one expression over names says what is kept, and that all of it
// is treated alike.
func (p *Plan) simple() bool { return len(p.treatments) <= 1 && len(p.names(kept).runs) <= 1 }

// classes drops what no clause allows. Where that takes more than one expression it
// marks series, from the least specific patterns to the most, so that the last mark
// is that of the clause that decides.
func (p *Plan) classes() []relabel {
	name := []string{"__name__"}
	if p.simple() {
		s := p.names(kept)
		switch {
		case len(s.runs) == 0 && s.rest:
			return nil
		case len(s.runs) == 0:
			return []relabel{{comment: "nothing may be kept", action: "drop", source: name, regex: "(?s).*"}}
		case s.rest:
			return []relabel{{comment: "no clause allows", action: "drop", source: name, regex: dotall(alternatives(s.runs[0].globs))}}
		}
		return []relabel{{comment: "allowed by " + listed(p.groupClauses(kept)), action: "keep", source: name, regex: dotall(alternatives(s.runs[0].globs))}}
	}
	var rules []relabel
	mark := func(comment, regex string, treatment int) {
		r := relabel{comment: comment, action: "replace", source: name, regex: regex, target: tmpClass}
		if treatment != denied {
			r.replacement = className(treatment)
		}
		rules = append(rules, r)
	}
	if p.rest != denied {
		mark("what no clause speaks for", "(?s).*", p.rest)
	}
	for i := len(p.groups) - 1; i >= 0; i-- {
		g := p.groups[i]
		comment := "denied or left out: "
		if g.treatment != denied {
			comment = "allowed by "
		}
		mark(comment+listed(g.clauses), dotall(alternatives(g.globs)), g.treatment)
	}
	return append(rules, relabel{comment: "the rest is not allowed", action: "keep", source: []string{tmpClass}, regex: "c[0-9]+"})
}

func (p *Plan) groupClauses(want func(int) bool) []string {
	var ids []string
	for i := range p.groups {
		if want(p.groups[i].treatment) {
			ids = append(ids, p.groups[i].clauses...)
		}
	}
	return ids
}

// bans drops every series that carries a forbidden label.
func bans(entries []labelBan, why string) []relabel {
	if len(entries) == 0 {
		return nil
	}
	var ids []string
	var labels []space.Glob
	for _, e := range entries {
		ids, labels = append(ids, e.id), append(labels, e.labels...)
	}
	comment := "labels forbidden by " + strings.Join(ids, ", ") + why
	return append(carried(comment, labels), relabel{action: "drop", source: []string{tmpLabel}, regex: present})
}

// carried sets the label tmpLabel on series that carry one of the labels, and clears it
// on the others. Expressions over names of labels exist only in labelmap and labeldrop.
func carried(comment string, labels []space.Glob) []relabel {
	regex := dotall(alternatives(labels))
	meets := matchesAny(labels, "__name__") || matchesAny(labels, tmpClass) // the only ones of ours there are now
	if !meets {
		return []relabel{{comment: comment, action: "labelmap", regex: regex, replacement: tmpLabel}}
	}
	return []relabel{
		{comment: comment, action: "labelmap", regex: regex, replacement: tmpHas + "${0}"},
		{comment: "which are neither the name of the metric nor labels used here", action: "labeldrop", regex: tmpHas + "(?:__name__|" + tmpPrefix + ".*)"},
		{action: "labelmap", regex: tmpHas + ".*", replacement: tmpLabel},
	}
}

// dropping removes the labels that clauses drop. A replacement by nothing removes a
// label, so one can go from some series and stay on others.
func (p *Plan) dropping() []relabel {
	labels, in := p.labelsOf(drops)
	var everywhere []string
	var rules []relabel
	for _, label := range labels {
		if len(in[label]) == len(p.treatments) {
			everywhere = append(everywhere, label)
			continue
		}
		rules = append(rules, relabel{
			comment: "dropped by " + listed(p.clausesWith(drops, label)),
			action:  "replace", source: []string{tmpClass}, regex: classRegex(in[label]), target: label,
		})
	}
	if len(everywhere) > 0 {
		all := relabel{comment: "dropped by every clause", action: "labeldrop", regex: alternatives(exactGlobs(everywhere))}
		rules = append([]relabel{all}, rules...)
	}
	return rules
}

// clausesWith is the clauses whose list names the label.
func (p *Plan) clausesWith(list func(*treatment) []string, label string) []string {
	var ids []string
	for i := range p.treatments {
		if slices.Contains(list(&p.treatments[i]), label) {
			ids = append(ids, p.treatments[i].clauses...)
		}
	}
	return ids
}

func classRegex(treatments []int) string {
	var all []string
	for _, n := range treatments {
		all = append(all, className(n))
	}
	return strings.Join(all, "|")
}

// refusals drops series that carry a label which their clause forbids: one step for
// every set of clauses that forbids the same labels.
func (p *Plan) refusals() []relabel {
	labels, in := p.labelsOf(forbids)
	var rules []relabel
	done := map[string]bool{}
	for _, label := range labels {
		key := classRegex(in[label])
		if done[key] {
			continue
		}
		done[key] = true
		var together []string
		for _, other := range labels {
			if classRegex(in[other]) == key {
				together = append(together, other)
			}
		}
		comment := "labels refused by " + listed(p.clausesWith(forbids, label))
		rules = append(rules, carried(comment, exactGlobs(together))...)
		if p.simple() {
			rules = append(rules, relabel{action: "drop", source: []string{tmpLabel}, regex: present})
			continue
		}
		rules = append(
			rules,
			relabel{action: "drop", source: []string{tmpClass, tmpLabel}, regex: "(?s)(?:" + key + ");.+"},
			relabel{action: "labeldrop", regex: tmpLabel},
		)
	}
	return rules
}

// refuseTargetLabels complains about rules on labels that every target carries.
// Prometheus adds those to each series, and renames a scraped one of the same name to
// exported_, once or more often.
func (p *Plan) refuseTargetLabels(list *diag.List, targetLabels []string) {
	check := func(id string, g space.Glob) {
		for _, name := range targetLabels {
			if meetsTargetLabel(g, name) {
				list.Errorf(p.place(id), CodeTargetLabel, "%s speaks of label %s, and Prometheus gives every series a label %s of its own", id, g, name)
				return
			}
		}
		if g.Exact() && (g.String() == "__name__" || strings.HasPrefix(g.String(), tmpPrefix)) {
			list.Errorf(p.place(id), CodeReserved, "%s speaks of label %s, which relabeling uses itself", id, g)
		}
	}
	for _, ban := range slices.Concat(p.strict, p.lenient) {
		for _, g := range ban.labels {
			check(ban.id, g)
		}
	}
	for i := range p.treatments {
		t := &p.treatments[i]
		for _, g := range exactGlobs(slices.Concat(t.drop, t.forbid)) {
			for _, id := range t.clauses {
				check(id, g)
			}
		}
	}
}

func meetsTargetLabel(g space.Glob, name string) bool {
	const exported = "exported_"
	if g.Exact() {
		rest := g.String()
		for rest != name && strings.HasPrefix(rest, exported) {
			rest = strings.TrimPrefix(rest, exported)
		}
		return rest == name
	}
	return g.Match(name) || g.Match(exported+name) || g.Match(exported+exported+name)
}
