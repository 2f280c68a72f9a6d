package rival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// Charter is our side: a charter compiled and loaded the way it is in
// production.
type Charter struct {
	Bundle *bundle.Bundle
	Policy *engine.Policy
	// CPU time of reading, checking and building the charter, and of preparing
	// the policy.
	Load, Check, Build, Prepare time.Duration
	// StandIn says that the engine refused to read a charter of this size, and
	// that the bundle carries a small charter in its place; rules and tables are
	// those of the large one.
	StandIn bool
}

// Limits of charters that are benchmarked. Those that production applies to
// charters from strangers end below 100,000 metrics.
func limits() charter.Limits {
	return charter.Limits{DocumentBytes: 64 << 20, TotalBytes: 64 << 20, Nodes: 10_000_000}
}

// NewCharter reads, checks, compiles and loads the charter of a Spec.
func NewCharter(ctx context.Context, s *workload.Spec) (*Charter, error) {
	c := &Charter{}
	var parsed *charter.Charter
	text := s.YAML()
	err := timed(&c.Load, func() error {
		doc, findings := charter.Loader{Limits: limits(), Read: func(string) ([]byte, error) { return text, nil }}.Load("bench.yaml")
		if doc == nil {
			return fmt.Errorf("read charter: %v", findings)
		}
		parsed = doc
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = timed(&c.Check, func() error {
		if findings := compile.Check(parsed); findings.HasErrors() {
			return fmt.Errorf("check charter: %v", findings)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = timed(&c.Build, func() (err error) {
		c.Bundle, err = compile.Build(parsed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, c.prepare(ctx, parsed.Revision())
}

func (c *Charter) prepare(ctx context.Context, revision string) error {
	prepare := func() (err error) {
		c.Policy, err = engine.Prepare(ctx, c.Bundle, nil)
		return err
	}
	err := timed(&c.Prepare, prepare)
	var refused *engine.Error
	if !errors.As(err, &refused) || refused.Code != engine.CodeBadCharter {
		return err
	}
	c.StandIn = true
	if c.Bundle, err = standIn(c.Bundle, revision); err != nil {
		return err
	}
	return timed(&c.Prepare, prepare)
}

// standIn returns the bundle with a small charter instead of its own.
func standIn(b *bundle.Bundle, revision string) (*bundle.Bundle, error) {
	small, findings := charter.Parse("small.yaml", workload.New(10).YAML())
	if small == nil {
		return nil, fmt.Errorf("read charter: %v", findings)
	}
	files := map[string][]byte{}
	for _, path := range b.Paths() {
		text, _ := b.File(path)
		files[path] = bytes.ReplaceAll(text, []byte(revision), []byte(small.Revision()))
	}
	files[compile.CharterPath] = small.Canonical()
	return bundle.New(files)
}

// timed adds the CPU time of f to spent.
func timed(spent *time.Duration, f func() error) error {
	start, err := measure.Self()
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	end, err := measure.Self()
	*spent = end - start
	return err
}

// Cold decides without the cache of decisions.
func (c *Charter) Cold(ctx context.Context, in decision.Input) (bool, error) {
	d, err := c.Policy.Decide(ctx, in)
	return d.Allow, err
}
