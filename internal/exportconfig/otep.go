package exportconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/space"
)

// otepPolicy is a Policy of OTEP 4738 "Telemetry Policy" with a metric target, in the
// form of the OTEP as merged into open-telemetry/opentelemetry-specification
// (oteps/4738-telemetry-policy.md).
type otepPolicy struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	Enabled     bool        `json:"enabled"`
	Labels      []otepLabel `json:"labels"`
	Metric      otepMetric  `json:"metric"`
}

// otepLabel is a KeyValue of OTLP.
type otepLabel struct {
	Key   string `json:"key"`
	Value struct {
		StringValue string `json:"stringValue"`
	} `json:"value"`
}

// otepMetric is a MetricTarget: all matchers must match.
type otepMetric struct {
	Match []otepMatcher `json:"match"`
	Keep  bool          `json:"keep"`
}

// otepMatcher is a MetricMatcher: one field, one match.
type otepMatcher struct {
	MetricField        string   `json:"metric_field,omitempty"`
	DatapointAttribute []string `json:"datapoint_attribute,omitempty"`
	ResourceAttribute  []string `json:"resource_attribute,omitempty"`
	ScopeAttribute     []string `json:"scope_attribute,omitempty"`
	Regex              string   `json:"regex,omitempty"`
	Exact              *string  `json:"exact,omitempty"`
	Exists             bool     `json:"exists,omitempty"`
	Negate             bool     `json:"negate,omitempty"`
}

// OTEP4738 returns Telemetry Policies, as JSON {"policies": [...]}: metrics that match
// one of them are dropped. The OTEP defines transformations for logs only and names
// single attributes only, so dropped labels and patterns over labels are refused.
//
// The OTEP requires implementations to fail open and leaves to them whether a match on
// an attribute of a data point drops the point or the metric: these policies state the
// charter, they do not enforce it.
func (p *Plan) OTEP4738() ([]byte, error) {
	var list diag.List
	p.refuseHash(&list)
	for i := range p.treatments {
		t := &p.treatments[i]
		for _, id := range t.clauses {
			if len(t.drop) > 0 {
				list.Errorf(p.place(id), CodeDrop, "clause %s drops %s, and the OTEP transforms no metrics", id, strings.Join(t.drop, ", ")).Fix = "--leave-out " + id + " drops the series of the clause"
			}
		}
	}
	w := otepWriter{Plan: p}
	w.ofNames()
	for _, e := range append(append([]labelBan{}, p.strict...), p.lenient...) {
		for _, g := range e.labels {
			if !g.Exact() {
				list.Errorf(p.place(e.id), CodeLabelPattern, "%s has the pattern %s over names of labels, and the OTEP names single attributes", e.id, g)
				continue
			}
			w.ofLabel(e.id+"/"+g.String(), "label "+g.String()+" is forbidden by "+e.id, g.String(), nil)
		}
	}
	labels, in := p.labelsOf(forbids)
	for _, label := range labels {
		for i, matchers := range w.cases(among(in[label])) {
			id := fmt.Sprintf("clauses/%s/%d", label, i+1)
			w.ofLabel(id, "label "+label+" is refused by "+listed(p.clausesWith(forbids, label)), label, matchers)
		}
	}
	if err := refuse("otep4738", list); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"policies": w.policies}); err != nil {
		return nil, fmt.Errorf("write policies: %w", err)
	}
	return out.Bytes(), nil
}

type otepWriter struct {
	*Plan
	policies []otepPolicy
}

// drop adds a policy that drops what all matchers match.
func (w *otepWriter) drop(id, name string, matchers []otepMatcher) {
	policy := otepPolicy{
		ID: "charter/" + w.charter.Metadata.Name + "/" + id, Name: name, Enabled: true,
		Description: strings.Join(w.header("Telemetry Policy (OTEP 4738)")[1:], "\n"),
		Metric:      otepMetric{Match: matchers},
	}
	for _, l := range [][2]string{{"charter.revision", w.charter.Revision()}, {"charter.digest", w.charter.Digest()}} {
		label := otepLabel{Key: l[0]}
		label.Value.StringValue = l[1]
		policy.Labels = append(policy.Labels, label)
	}
	w.policies = append(w.policies, policy)
}

// ofNames drops forbidden names and names that no clause allows.
func (w *otepWriter) ofNames() {
	if len(w.forbidden) > 0 {
		w.drop("names/forbidden", "forbidden by "+strings.Join(w.banned, ", "), []otepMatcher{nameMatcher(w.forbidden, false)})
	}
	for i, matchers := range w.cases(func(n int) bool { return n == denied }) {
		w.drop(fmt.Sprintf("names/%d", i+1), "not allowed by any clause", matchers)
	}
}

// ofLabel drops what carries a label with a value, among the names that matchers match.
func (w *otepWriter) ofLabel(id, name, label string, matchers []otepMatcher) {
	empty := ""
	for _, level := range []string{"datapoint", "resource", "scope"} {
		there, valued := otepMatcher{Exists: true}, otepMatcher{Exact: &empty, Negate: true}
		for _, m := range []*otepMatcher{&there, &valued} {
			switch level {
			case "datapoint":
				m.DatapointAttribute = []string{label}
			case "resource":
				m.ResourceAttribute = []string{label}
			default:
				m.ScopeAttribute = []string{label}
			}
		}
		w.drop("labels/"+id+"/"+level, name, append(append([]otepMatcher{}, matchers...), there, valued))
	}
}

// cases is the names of some treatments as alternatives, each a list of matchers that
// must all match.
func (w *otepWriter) cases(want func(int) bool) [][]otepMatcher {
	s := w.names(want)
	var all [][]otepMatcher
	var outside []otepMatcher
	for _, r := range s.runs {
		if r.in {
			all = append(all, append([]otepMatcher{nameMatcher(r.globs, false)}, outside...))
		} else {
			outside = append(outside, nameMatcher(r.globs, true))
		}
	}
	if s.rest {
		if len(outside) == 0 { // a policy needs a matcher
			star, _ := space.ParseGlob("*")
			outside = []otepMatcher{nameMatcher([]space.Glob{star}, false)}
		}
		all = append(all, outside)
	}
	return all
}

func nameMatcher(globs []space.Glob, negate bool) otepMatcher {
	return otepMatcher{MetricField: "name", Regex: `(?s)\A(?:` + alternatives(globs) + `)\z`, Negate: negate}
}
