package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// questions is how many of the uniform workload there are; slow sides ask the
// first of them only.
const questions = 20_000

// bench is what the rows of one run share.
type bench struct {
	options
	stderr   io.Writer
	dir      string // temporary
	subjects map[int]*subject
	server   string // path of charter-server once it is built
}

// subject is our side at one size.
type subject struct {
	*rival.Charter
	spec    *workload.Spec
	uniform []decision.Input
}

func newBench(_ context.Context, o options, stderr io.Writer) (*bench, error) {
	dir, err := os.MkdirTemp("", "charter-bench-")
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	return &bench{options: o, stderr: stderr, dir: dir, subjects: map[int]*subject{}}, nil
}

func (b *bench) close() {
	_ = os.RemoveAll(b.dir) // temporary: nothing depends on it
}

// log reports progress; nothing depends on it.
func (b *bench) log(format string, args ...any) {
	_, _ = fmt.Fprintf(b.stderr, "bench: "+format+"\n", args...)
}

func (b *bench) plan(n int) measure.Plan {
	return measure.Plan{Rounds: b.rounds, Target: b.target, Questions: n}
}

// subject compiles the charter of n metrics, once.
func (b *bench) subject(ctx context.Context, n int) (*subject, error) {
	if s := b.subjects[n]; s != nil {
		return s, nil
	}
	spec := workload.New(n)
	c, err := rival.NewCharter(ctx, spec)
	if err != nil {
		return nil, err
	}
	b.log("charter of %d metrics and %d globs: read %v, check %v, build %v, prepare %v CPU", n, min(n, 1000), c.Load, c.Check, c.Build, c.Prepare)
	if c.StandIn {
		b.log("the engine refuses to read an embedded charter of %d metrics; a small one stands in for it beside the tables and rules of the large one", n)
	}
	s := &subject{Charter: c, spec: spec, uniform: spec.Uniform(questions)}
	b.subjects[n] = s
	// What a process converts once, when a row is first asked for, is not the cost
	// of a decision.
	for _, in := range spec.EveryClause() {
		if _, err := c.Cold(ctx, in); err != nil {
			return nil, err
		}
	}
	return s, rival.Both(ctx, s.uniform[:2*measure.Block], c.Cold)
}

// note of lines about a subject.
func (s *subject) note() string {
	if s.StandIn {
		return "a small charter is embedded: the engine refuses one of this size"
	}
	return ""
}

// write puts the bundle where servers can load it.
func (s *subject) write(dir string) (string, error) {
	path := filepath.Join(dir, "bundle")
	return path, s.Bundle.WriteDir(path)
}

// cached is the engine as the server runs it, with its cache of decisions.
func (s *subject) cached() *engine.Engine {
	e := engine.New()
	e.Swap(s.Policy)
	return e
}

// deciding is an engine as a side of a comparison.
func deciding(e *engine.Engine) rival.Decider {
	return func(ctx context.Context, in decision.Input) (bool, error) {
		d, err := e.Decide(ctx, in)
		return d.Allow, err
	}
}

// asking makes a side of a decider in this process.
func asking(d rival.Decider, questions []decision.Input) measure.Side {
	return measure.Side{CPU: measure.Self, Ask: func(ctx context.Context, i int) error {
		_, err := d(ctx, questions[i])
		return err
	}}
}
