package policytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
)

// Compare returns the expectations that d does not meet, in the order in which
// they are documented; none when all are met.
func (e Expectation) Compare(d decision.Decision) []Difference {
	var diffs []Difference
	check := func(field, want, got string) {
		if want != got {
			diffs = append(diffs, Difference{Field: field, Want: want, Got: got})
		}
	}
	if e.Allow != nil {
		check("allow", fmt.Sprint(*e.Allow), fmt.Sprint(d.Allow))
	}
	for _, f := range []struct {
		field string
		want  *string
		got   string
	}{
		{"outcome", e.Outcome, d.Outcome},
		{"clause", e.Clause, d.Clause},
		{"severity", e.Severity, d.Severity},
		{"mode", e.Mode, d.Mode},
	} {
		if f.want != nil {
			check(f.field, *f.want, f.got)
		}
	}
	if e.Codes != nil {
		check("codes", list(e.Codes), list(codes(d)))
	}
	if e.Obligations != nil {
		check("obligations", describe(*e.Obligations), describe(d.Obligations))
	}
	return diffs
}

func codes(d decision.Decision) []string {
	codes := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		codes[i] = r.Code
	}
	return codes
}

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = item
		// Separators inside an item must not make two lists look alike.
		if item == "" || strings.ContainsAny(item, ",[]\" ") {
			quoted[i] = fmt.Sprintf("%q", item)
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// describe renders obligations in the notation of case tables. Label lists are
// sets; what is absent is left out.
func describe(o decision.Obligations) string {
	var parts []string
	if o.Retention != "" {
		parts = append(parts, "retention: "+o.Retention)
	}
	for _, l := range []struct {
		name  string
		items []string
	}{
		{"drop_labels", o.DropLabels},
		{"hash_labels", o.HashLabels},
		{"forbid_labels", o.ForbidLabels},
		{"rates", o.Rates},
	} {
		if len(l.items) > 0 {
			parts = append(parts, l.name+": "+list(slices.Sorted(slices.Values(l.items))))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
