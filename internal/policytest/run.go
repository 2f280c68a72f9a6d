package policytest

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Options say what [Run] runs.
type Options struct {
	// Paths are directories, searched with all below them, or case tables.
	// Empty is the working directory.
	Paths []string
	// Filter selects tests by their full name; nil selects all.
	Filter *regexp.Regexp
	// Coverage asks for coverage. Threshold, in percent, is the least that each
	// suite must reach; above 0 it asks for coverage too.
	Coverage  bool
	Threshold float64
	// Timeout bounds one Rego test; zero is [DefaultTimeout].
	Timeout time.Duration
}

// DefaultTimeout is ample for any test, also on a busy machine.
const DefaultTimeout = 30 * time.Second

// Run finds and runs tests. The error is about the run itself (a path that does
// not exist, a cancelled context); what tests, charters and tables have to say
// is in the report.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if len(opts.Paths) == 0 {
		opts.Paths = []string{"."}
	}
	if opts.Threshold > 0 {
		opts.Coverage = true
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	start := time.Now()
	plans, err := find(opts.Paths)
	if err != nil {
		return nil, fmt.Errorf("find tests: %w", err)
	}
	r := runner{opts: opts, extended: map[string]bool{}}
	report := &Report{Suites: []*Suite{}}
	for _, p := range plans {
		s, err := r.suite(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("test %s: %w", p.name, err)
		}
		if s != nil {
			report.Suites = append(report.Suites, s)
		}
	}
	report.finish(opts, &r)
	report.Seconds = time.Since(start).Seconds()
	return report, nil
}

// runner is the state of one run.
type runner struct {
	opts     Options
	extended map[string]bool // charters that another charter extends
}

// suite runs one plan; nil when there is nothing to say about it.
func (r *runner) suite(ctx context.Context, p *plan) (*Suite, error) {
	if p.charter == "" {
		if !p.tested() {
			return nil, nil
		}
		return r.regoSuite(ctx, p)
	}
	if !p.tested() && !r.opts.Coverage {
		return nil, nil
	}
	return r.charterSuite(ctx, p)
}

func (r *runner) selected(name string) bool {
	return r.opts.Filter == nil || r.opts.Filter.MatchString(name)
}

// finish orders and counts the results and says what is wrong with the run as a
// whole.
func (rep *Report) finish(opts Options, r *runner) {
	// What others extend is tested through them.
	rep.Suites = slices.DeleteFunc(rep.Suites, func(s *Suite) bool {
		return len(s.Results) == 0 && len(s.Findings) == 0 && r.extended[s.Charter]
	})
	tests := 0
	for _, s := range rep.Suites {
		tests += s.Tests
		slices.SortStableFunc(s.Results, func(a, b Result) int {
			return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Name, b.Name))
		})
		for _, res := range s.Results {
			rep.Counts.add(res.Outcome)
		}
	}
	switch {
	case rep.Invalid():
	case tests == 0:
		rep.problemf("no tests in %s: tests are rules test_* in *_test.rego and cases in *_cases.yaml", strings.Join(opts.Paths, ", "))
	case rep.Counts.Total == 0:
		rep.problemf("the filter %q matches none of %d tests", opts.Filter, tests)
	}
	for _, s := range rep.Suites {
		if s.Coverage != nil && float64(s.Coverage.Percent) < opts.Threshold {
			rep.problemf("coverage of %s is %s of %s, below the threshold of %g%%",
				s.Name, s.Coverage.Percent, s.Coverage.Unit, opts.Threshold)
		}
	}
}

func (rep *Report) problemf(format string, args ...any) {
	rep.Problems = append(rep.Problems, fmt.Sprintf(format, args...))
}
