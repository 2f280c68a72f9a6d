package exportconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exportconfig/exporttest"
)

// relabelSeries carries rules out as Prometheus 2 does, whose dots do not match line feeds.
func relabelSeries(rules []relabel, metric string, labels map[string]string) string {
	all := map[string]string{"__name__": metric}
	for name, value := range labels {
		if value != "" {
			all[name] = value
		}
	}
	for _, r := range rules {
		regex := regexp.MustCompile("^(?:" + r.regex + ")$")
		var values []string
		for _, name := range r.source {
			values = append(values, all[name])
		}
		matched := regex.MatchString(strings.Join(values, ";"))
		switch r.action {
		case "keep", "drop":
			if matched == (r.action == "drop") {
				return ""
			}
		case "replace":
			if matched && r.replacement == "" {
				delete(all, r.target)
			} else if matched {
				all[r.target] = r.replacement
			}
		case "labelmap":
			for name, value := range maps.Clone(all) {
				if regex.MatchString(name) {
					all[regex.ReplaceAllString(name, r.replacement)] = value
				}
			}
		case "labeldrop":
			maps.DeleteFunc(all, func(name, _ string) bool { return regex.MatchString(name) })
		}
	}
	delete(all, "__name__")
	return fmt.Sprint(all)
}

// applyPolicies carries Telemetry Policies out as OTEP 4738 describes them, on a metric
// with one data point.
func applyPolicies(t *testing.T, data []byte, metric string, labels map[string]string) string {
	t.Helper()
	var doc struct{ Policies []otepPolicy }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, policy := range doc.Policies {
		all := len(policy.Metric.Match) > 0
		for _, m := range policy.Metric.Match {
			value, found := metric, true
			if m.MetricField == "" {
				value, found = "", false
				if len(m.DatapointAttribute) == 1 {
					value, found = labels[m.DatapointAttribute[0]], labels[m.DatapointAttribute[0]] != ""
				}
			}
			var matched bool
			switch {
			case m.Exists:
				matched = found
			case m.Exact != nil:
				matched = found && value == *m.Exact
			default:
				matched = found && regexp.MustCompile(m.Regex).MatchString(value)
			}
			all = all && matched != m.Negate
		}
		if all && !policy.Metric.Keep {
			return ""
		}
	}
	left := maps.Clone(labels)
	maps.DeleteFunc(left, func(_, value string) bool { return value == "" })
	return fmt.Sprint(left)
}

// What is exported must leave of every series what the engine leaves, whatever the charter.
func TestExportsAgreeWithTheEngine(t *testing.T) {
	names := exporttest.Names(4)
	policies := 0
	eachDrawn(t, rounds(4), func(r *rand.Rand, _ string, p *engine.Policy, plan *Plan) {
		rules := plan.relabeling()
		otep, otepErr := plan.OTEP4738()
		if otepErr == nil {
			policies++
		}
		for _, name := range names {
			labels := exporttest.LabelSet(r)
			want := want(t, p, name, labels)
			got := ""
			if left, keep := plan.Decide(name, labels); keep {
				got = fmt.Sprint(left)
			}
			if got != want {
				t.Errorf("%s%v: the engine leaves %q, the plan %q", name, labels, want, got)
			}
			if got := relabelSeries(rules, name, labels); got != want {
				t.Errorf("%s%v: the engine leaves %q, relabeling %q", name, labels, want, got)
			}
			if otepErr == nil {
				if got := applyPolicies(t, otep, name, labels); got != want {
					t.Errorf("%s%v: the engine leaves %q, Telemetry Policies %q", name, labels, want, got)
				}
			}
		}
	})
	if policies == 0 {
		t.Error("no drawn charter can be written as Telemetry Policies")
	}
}

// Expressions are the patterns of the charter, no more and no less.
func TestAlternativesAreTheGlobs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letters := []string{"a", "b", "*", ".", "$", "(", "^", "|", "é", "_"}
	for range 500 {
		var patterns []string
		for range 1 + r.IntN(3) {
			var p string
			for range 1 + r.IntN(5) {
				p += letters[r.IntN(len(letters))]
			}
			patterns = append(patterns, strings.ReplaceAll(p, "**", "*"))
		}
		all, err := globs(slices.DeleteFunc(patterns, func(p string) bool { return strings.Contains(p, "**") }))
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			continue
		}
		regex := regexp.MustCompile("^(?:" + dotall(alternatives(all)) + ")$")
		for range 50 {
			name := ""
			for range 1 + r.IntN(6) {
				name += append(letters, "\n", "\u2028")[r.IntN(len(letters)+2)]
			}
			if regex.MatchString(name) != matchesAny(all, name) {
				t.Fatalf("%q and %q disagree about %q", patterns, regex, name)
			}
		}
	}
}
