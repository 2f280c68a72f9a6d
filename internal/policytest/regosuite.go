package policytest

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/loader"

	"github.com/westworld-charter/charter/internal/diag"
)

// CodeRego is the code of findings about Rego that does not parse or compile.
const CodeRego = "rego_invalid"

// regoSuite runs the tests of a tree of Rego, with the files data.json and
// data.yaml in it as data, like `opa test`.
func (r *runner) regoSuite(ctx context.Context, p *plan) (*Suite, error) {
	s := &Suite{Name: p.name, Results: []Result{}}
	loaded, err := loader.NewFileLoader().WithProcessAnnotation(true).Filtered([]string{p.root}, p.excludes)
	if err != nil {
		s.regoErrors(err)
		return s, ctx.Err()
	}
	modules := make(map[string]*ast.Module, len(loaded.Modules))
	for _, m := range loaded.Modules {
		modules[m.Name] = m.Parsed
	}
	set := regoSet{modules: modules, data: loaded.Documents, capabilities: ast.CapabilitiesForThisVersion()}
	if r.opts.Coverage {
		set.cover = cover.New()
	}
	if err := r.runRego(ctx, set, s); err != nil {
		return nil, err
	}
	if set.cover != nil && !s.Findings.HasErrors() {
		s.Coverage = lineCoverage(set.cover, modules)
	}
	return s, nil
}

// excludes tells OPA's loader what to leave out: all but the Rego of the plan
// and data files outside the directories of charters.
func (p *plan) excludes(path string, info fs.FileInfo, _ int) bool {
	if info.IsDir() {
		return false
	}
	if name := info.Name(); name == "data.json" || name == "data.yaml" {
		dir := filepath.Dir(path)
		return !slices.ContainsFunc(p.rego, func(file string) bool {
			return filepath.Dir(file) == dir || strings.HasPrefix(file, dir+string(filepath.Separator))
		})
	}
	return !slices.Contains(p.rego, filepath.Clean(path))
}

// regoErrors turns errors of OPA's loader, parser and compiler into findings.
func (s *Suite) regoErrors(err error) {
	var many ast.Errors
	var several loader.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
		for _, e := range many {
			s.regoErrors(e)
		}
	case errors.As(err, &several):
		for _, e := range several {
			s.regoErrors(e)
		}
	case errors.As(err, &one):
		var at diag.Pos
		if one.Location != nil {
			at = diag.Pos{File: one.Location.File, Line: one.Location.Row, Col: one.Location.Col}
		}
		s.Findings.Errorf(at, CodeRego, "%s", one.Message)
	default:
		s.Findings.Errorf(diag.Pos{File: s.Name}, CodeRego, "%v", err)
	}
	s.Findings.Sort()
}

// lineCoverage reports the files that are not tests.
func lineCoverage(c *cover.Cover, modules map[string]*ast.Module) *Coverage {
	total := &Coverage{Unit: "lines"}
	for file, report := range c.Report(modules).Files {
		if isTest(file) || modules[file] == nil {
			continue
		}
		f := FileCoverage{
			File:      file,
			Covered:   report.CoveredLines,
			Total:     report.CoveredLines + report.NotCoveredLines,
			Uncovered: lineRanges(report.NotCovered),
		}
		f.Percent = percent(f.Covered, f.Total)
		total.Covered += f.Covered
		total.Total += f.Total
		total.Files = append(total.Files, f)
	}
	slices.SortFunc(total.Files, func(a, b FileCoverage) int { return strings.Compare(a.File, b.File) })
	total.Percent = percent(total.Covered, total.Total)
	return total
}

// lineRanges joins ranges that overlap or touch.
func lineRanges(ranges []cover.Range) []LineRange {
	var out []LineRange
	for _, rg := range ranges { // sorted by start
		if n := len(out); n > 0 && rg.Start.Row <= out[n-1].End+1 {
			out[n-1].End = max(out[n-1].End, rg.End.Row)
			continue
		}
		out = append(out, LineRange{Start: rg.Start.Row, End: rg.End.Row})
	}
	return out
}
