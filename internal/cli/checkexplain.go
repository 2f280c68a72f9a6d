package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
)

// explainedDecision is a decision with its explanation, if it was asked for.
type explainedDecision struct {
	decision.Decision
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// explainOne explains a decision of a policy and completes it by what would be
// allowed instead.
func explainOne(ctx context.Context, policy *engine.Policy, in decision.Input, d *decision.Decision) (*explain.Explanation, error) {
	policies := func() []*engine.Policy { return []*engine.Policy{policy} }
	why, err := explain.New(policies).Explain(ctx, in, *d, nil)
	if err != nil {
		return nil, err
	}
	d.Counterfactual = why.Counterfactual
	return why, nil
}

// printExplanation prints the steps below a decision: a line for each, what the
// charter says against what was asked where it is not met, and the matches where
// there is a choice.
func (p *program) printExplanation(d decision.Decision, why *explain.Explanation) {
	if why == nil {
		return
	}
	fmt.Fprintln(p.stdout)
	last := ""
	for _, s := range why.Steps {
		mark := "ok"
		if !s.Met {
			mark = "no"
		}
		place := ""
		if s.Source != "" && s.Source != last { // a row of steps is about one clause
			place, last = " ("+s.Source+")", s.Source
		}
		fmt.Fprintf(p.stdout, "  %-2s  %-17s%s%s\n", mark, s.Check, printable(s.Message), printable(place))
		detail := func(name string, items []string) {
			if len(items) > 0 {
				fmt.Fprintf(p.stdout, "  %21s%-8s%s\n", "", name, printable(strings.Join(items, ", ")))
			}
		}
		if !s.Met {
			detail("charter", s.Charter)
			detail("asked", s.Asked)
		}
		if len(s.Matches) > 1 || !s.Met {
			for _, m := range s.Matches {
				p.printMatch(m)
			}
		}
	}
	fmt.Fprintln(p.stdout)
	fmt.Fprintf(p.stdout, "  %s\n", printable(verdictOn(d, why)))
}

func (p *program) printMatch(m explain.Match) {
	text := fmt.Sprintf("%s of %s", m.Match, m.Clause)
	if m.Source != "" {
		text += " (" + m.Source + ")"
	}
	if m.Why != "" {
		text += ": " + m.Why
	}
	fmt.Fprintf(p.stdout, "  %21s%-8s%s\n", "", "match", printable(text))
}

// verdictOn says what would be allowed instead.
func verdictOn(d decision.Decision, why *explain.Explanation) string {
	switch {
	case d.Outcome == decision.Allowed:
		return "allowed as it is"
	case why.Counterfactual != "":
		return why.Counterfactual
	case why.Search == nil:
		return "no change was looked for"
	case !why.Search.Complete:
		return fmt.Sprintf("no change was found that would be allowed; the search ended after %d questions", why.Search.Evaluations)
	default:
		return fmt.Sprintf("no change of up to %d of role, operation, purpose, retention, claims and labels would be allowed", why.Search.Fields)
	}
}
