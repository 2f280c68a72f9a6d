package cases_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// blame names the input field whose removal takes away the cause of a reason. For an
// invalid request it is the field that the reason names.
func blame() map[string]string {
	return map[string]string{
		decision.CodeForbiddenLabel:    "labels",
		decision.CodeLabelNotPermitted: "labels",
		decision.CodeRetentionTooLong:  "retention",
		decision.CodePurposeUnknown:    "purpose",
	}
}

// TestRemovedField leaves out every field of every question in turn, and every single
// claim. It fails when saying less gets more: only what was wrong with a field may be
// cured by leaving it out.
func TestRemovedField(t *testing.T) {
	for _, tb := range corpusTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			for _, c := range tb.Cases {
				policy := withState(t, tb.policy, c.State)
				before := answer(t, eval(t, policy, c.Input))
				for field, less := range shortened(c.Input) {
					after := answer(t, eval(t, policy, less))
					if !before.Allow && after.Allow && !cured(before, after, field) {
						t.Errorf("%s: %s: without %s: %v became an allowance", c.Pos, c.Name, field, codesOf(before))
					}
					for _, broken := range brokenRules(after) {
						t.Errorf("%s: %s: without %s: %s", c.Pos, c.Name, field, broken)
					}
				}
			}
		})
	}
}

// shortened returns the input without each of its fields, and with each single claim
// left out under the name "claims".
func shortened(input map[string]any) func(yield func(string, map[string]any) bool) {
	return func(yield func(string, map[string]any) bool) {
		for _, field := range slices.Sorted(maps.Keys(input)) {
			less := maps.Clone(input)
			delete(less, field)
			if !yield(field, less) {
				return
			}
		}
		claims, _ := input["claims"].([]any)
		for i := range claims {
			less := maps.Clone(input)
			less["claims"] = slices.Delete(slices.Clone(claims), i, i+1)
			if !yield("claims", less) {
				return
			}
		}
	}
}

// cured reports whether every reason that went away was about the field. Reasons that are
// still there do not deny in their mode.
func cured(before, after decision.Decision, field string) bool {
	for _, r := range before.Reasons {
		blamed := r.Field
		if before.Outcome != decision.InvalidRequest {
			blamed = blame()[r.Code]
		}
		informs := r.Code == decision.CodeWaiverApplied || r.Code == decision.CodeOverrideApplied
		if blamed != field && !informs && !slices.Contains(after.Reasons, r) {
			return false
		}
	}
	return true
}

// TestMisspeltField misspells every field of every allowed question in turn. The answer
// must name the misspelt field; a silent denial would hide the mistake, and an allowance
// would ignore what was meant.
func TestMisspeltField(t *testing.T) {
	for _, tb := range corpusTables(t) {
		t.Run(tb.Path, func(t *testing.T) {
			t.Parallel()
			for _, c := range tb.Cases {
				policy := withState(t, tb.policy, c.State)
				if answer(t, eval(t, policy, c.Input)).Outcome != decision.Allowed {
					continue
				}
				for field, less := range shortened(c.Input) {
					wrong := field + "s"
					less[wrong] = c.Input[field]
					got := answer(t, eval(t, policy, less))
					named := slices.ContainsFunc(got.Reasons, func(r decision.Reason) bool {
						return r.Code == decision.CodeUnknownField && r.Field == wrong
					})
					if got.Allow || got.Outcome != decision.InvalidRequest || !named {
						t.Errorf("%s: %s: %s instead of %s: %+v", c.Pos, c.Name, wrong, field, got)
					}
				}
			}
		})
	}
}
