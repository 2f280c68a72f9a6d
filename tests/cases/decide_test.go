package cases_test

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// leastCases is how many cases the corpus promises, entries with `each` counted once.
const leastCases = 300

// TestCorpus asks every question of the corpus as OPA clients ask it, unparsed. It fails
// when a charter would decide otherwise than its community was told.
func TestCorpus(t *testing.T) {
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			for _, c := range tb.Cases {
				document := eval(t, withState(t, tb.policy, c.State), c.Input)
				got := answer(t, document)
				for _, d := range c.Expect.Compare(got) {
					t.Errorf("%s: %s: %s is %s, want %s", c.Pos, c.Name, d.Field, d.Got, d.Want)
				}
				for _, broken := range brokenRules(got) {
					t.Errorf("%s: %s: %s\n%v", c.Pos, c.Name, broken, document)
				}
			}
		})
	}
}

// TestCorpusWithoutIndexing asks all of it again without OPA's rule index. A difference
// is a wrong index: decisions that depend on how rules are looked up.
func TestCorpusWithoutIndexing(t *testing.T) {
	for _, tb := range allTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			oracle := tb.policy.WithoutIndexing()
			for _, c := range tb.Cases {
				want := eval(t, withState(t, oracle, c.State), c.Input)
				got := eval(t, withState(t, tb.policy, c.State), c.Input)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s:\n got %v\nwant %v", c.Pos, c.Name, got, want)
				}
			}
		})
	}
}

// TestCorpusIsComplete keeps the corpus from losing what it is for.
func TestCorpusIsComplete(t *testing.T) {
	entries, outcomes, codes, modes := 0, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, tb := range corpusTables(t) {
		seen := map[int]bool{}
		for _, c := range tb.Cases {
			seen[c.Pos.Line] = true
			note(outcomes, c.Expect.Outcome)
			note(modes, c.Expect.Mode)
			for _, code := range c.Expect.Codes {
				codes[code] = true
			}
		}
		entries += len(seen)
	}
	if entries < leastCases {
		t.Errorf("the corpus has %d cases, want at least %d", entries, leastCases)
	}
	t.Logf("%d entries, %d outcomes, %d codes", entries, len(outcomes), len(codes))
	// What Go adds has no place in a corpus of documents.
	outcomes[decision.NoPolicy], codes[decision.CodeUndetermined] = true, true
	for _, missing := range missingFrom(outcomes, allOutcomes()) {
		t.Errorf("no case expects the outcome %s", missing)
	}
	for _, missing := range missingFrom(codes, decision.Codes()) {
		t.Errorf("no case expects the reason code %s", missing)
	}
	for _, missing := range missingFrom(modes, []string{decision.Enforce, decision.Warn, decision.Shadow}) {
		t.Errorf("no case expects the mode %s", missing)
	}
}

func allOutcomes() []string {
	return []string{
		decision.Allowed, decision.Denied, decision.Forbidden, decision.UnknownMetric, decision.Suspended,
		decision.Quarantined, decision.StalePolicy, decision.NoPolicy, decision.InvalidRequest,
	}
}

func note(set map[string]bool, value *string) {
	if value != nil {
		set[*value] = true
	}
}

func missingFrom(set map[string]bool, list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return set[s] })
}

// TestNoInputIsUndefined sends what is no question at all. OPA-compatible callers must
// get a document that denies, never an empty result.
func TestNoInputIsUndefined(t *testing.T) {
	policy := corpusTables(t)[0].policy
	for _, input := range []any{nil, true, 0, "latency", []any{}, []any{"metric"}, map[string]any{}, map[string]any{"metric": nil}} {
		got := answer(t, eval(t, policy, input))
		if got.Allow || got.Outcome != decision.InvalidRequest || got.Clause != decision.ClauseRequest || len(got.Reasons) == 0 {
			t.Errorf("input %v: %+v", input, got)
		}
	}
	if got := answer(t, evalValue(t, policy, nil)); got.Allow || got.Outcome != decision.InvalidRequest {
		t.Errorf("undefined input: %+v", got)
	}
}

// brokenRules says which rules that hold for every answer one breaks.
func brokenRules(d decision.Decision) []string {
	var broken []string
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	lifted := d.Enforced != nil
	demand(!lifted || !*d.Enforced, "enforced is true, and should be left out")
	demand(lifted == (d.WouldDeny != nil), "enforced and would_deny stand for each other")
	demand(d.Allow == (d.Outcome == decision.Allowed || lifted), "allow is %v with the outcome %s", d.Allow, d.Outcome)
	demand((d.Severity == "none") == (d.Outcome == decision.Allowed), "severity %s with the outcome %s", d.Severity, d.Outcome)
	demand(!lifted || d.Mode != decision.Enforce, "an enforced denial is lifted")
	demand(d.Revision != "", "no revision")
	demand(d.Clause != "", "no clause")
	demand(slices.IsSortedFunc(d.Reasons, compareReasons), "reasons are not in order")
	for _, r := range d.Reasons {
		demand(slices.Contains(decision.Codes(), r.Code), "reason code %s is not in the list", r.Code)
		demand(r.Message != "", "reason %s has no message", r.Code)
		demand(r.Field == "" || d.Outcome == decision.InvalidRequest, "field %q in a reason of the outcome %s", r.Field, d.Outcome)
	}
	if first := firstDenying(d.Reasons); d.Outcome != decision.Allowed {
		demand(first.Code != "", "a denial without a reason")
		demand(first.Clause == d.Clause && first.Severity == d.Severity, "clause and severity are not those of the first reason")
	} else {
		demand(first.Code == "", "allowed in spite of %s", first.Code)
	}
	for name, list := range map[string][]string{
		"drop_labels": d.Obligations.DropLabels, "hash_labels": d.Obligations.HashLabels,
		"forbid_labels": d.Obligations.ForbidLabels, "rates": d.Obligations.Rates,
	} {
		demand(slices.IsSorted(list), "%s is not sorted", name)
	}
	if lifted && d.WouldDeny != nil {
		plain := d
		plain.Allow, plain.Enforced, plain.WouldDeny = false, nil, nil
		demand(reflect.DeepEqual(plain, *d.WouldDeny), "would_deny is not the same answer denied")
	}
	return broken
}

func firstDenying(reasons []decision.Reason) decision.Reason {
	for _, r := range reasons {
		if r.Code != decision.CodeOverrideApplied && r.Code != decision.CodeWaiverApplied {
			return r
		}
	}
	return decision.Reason{}
}

// compareReasons is the order of reasons: code, severity, clause id.
func compareReasons(a, b decision.Reason) int {
	severities := []string{"critical", "high", "medium", "low"}
	return cmp.Or(
		cmp.Compare(slices.Index(decision.Codes(), a.Code), slices.Index(decision.Codes(), b.Code)),
		cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
		strings.Compare(a.Clause, b.Clause),
	)
}
