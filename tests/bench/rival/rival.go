// Package rival holds what is compared: our engine, and what else people would
// take for the same job, each built from the same [workload.Spec] to mean the same.
//
// Every constructor returns a [Decider]. All of them start from a typed question
// and end with a Go bool, so that each pays for its own form of requests
// and answers.
package rival

import (
	"context"
	"fmt"

	"github.com/westworld-charter/charter/internal/decision"
)

// Decider says whether a question is allowed.
type Decider func(ctx context.Context, in decision.Input) (bool, error)

// Agree asks both the same questions and returns an error for the first answer
// that differs.
func Agree(ctx context.Context, questions []decision.Input, a, b Decider) error {
	for i, in := range questions {
		wantAllow, err := a(ctx, in)
		if err != nil {
			return fmt.Errorf("question %d: %w", i, err)
		}
		allow, err := b(ctx, in)
		if err != nil {
			return fmt.Errorf("question %d: %w", i, err)
		}
		if allow != wantAllow {
			return fmt.Errorf("question %d: answers %v and %v differ for %+v", i, wantAllow, allow, in)
		}
	}
	return nil
}

// Both reports whether the questions have allowed and denied answers, without
// which agreement would prove little.
func Both(ctx context.Context, questions []decision.Input, d Decider) error {
	seen := map[bool]int{}
	for _, in := range questions {
		allow, err := d(ctx, in)
		if err != nil {
			return err
		}
		seen[allow]++
	}
	if seen[true] == 0 || seen[false] == 0 {
		return fmt.Errorf("%d allowed and %d denied of %d questions", seen[true], seen[false], len(questions))
	}
	return nil
}
