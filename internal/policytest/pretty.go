package policytest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/diag"
)

// printer writes the pretty format: what went wrong, each with its place, then
// coverage, then the counts, the way `opa test` ends.
type printer struct {
	bytes.Buffer
	opts WriteOptions
}

// ANSI colours of outcomes.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

func (p *printer) paint(color, text string) string {
	if !p.opts.Color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func writePretty(w io.Writer, rep *Report, opts WriteOptions) error {
	p := &printer{opts: opts}
	for _, s := range rep.Suites {
		p.suite(s)
	}
	for _, s := range rep.Suites {
		if s.Coverage != nil {
			p.coverage(s)
		}
	}
	p.summary(rep)
	_, err := w.Write(p.Bytes())
	return err
}

func (p *printer) suite(s *Suite) {
	// Nothing can fail here: the writer is memory and the format exists.
	_ = diag.Write(p, diag.Pretty, s.Findings, p.opts.Read, diag.Options{Color: p.opts.Color})
	for _, res := range s.Results {
		if res.Outcome != Pass || p.opts.Verbose {
			p.result(res)
		}
	}
}

func (p *printer) result(res Result) {
	color := map[Outcome]string{Pass: green, Skip: yellow}[res.Outcome]
	if color == "" {
		color = red
	}
	at := diag.Pos{File: res.Pos.File, Line: res.Pos.Line}
	p.printf("%s: %s %s", at, p.paint(color, strings.ToUpper(string(res.Outcome))), res.Name)
	if res.Outcome != Skip {
		p.printf(" (%s)", time.Duration(res.Duration).Round(time.Microsecond))
	}
	p.printf("\n")
	if res.Outcome == Error || len(res.Differences) == 0 && res.Message != "" {
		p.indent(res.Message, 4)
	}
	p.differences(res)
	if f := res.FailedAt; f != nil {
		p.printf("    %s: not true:\n", diag.Pos{File: f.Pos.File, Line: f.Pos.Line})
		p.indent(firstOf(f.Detail, f.Expression), 8)
	}
	if res.Output != "" {
		p.printf("    printed:\n")
		p.indent(res.Output, 8)
	}
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// differences shows both sides of each expectation, then why the decision is as
// it is: the reasons usually name the mistake.
func (p *printer) differences(res Result) {
	for _, d := range res.Differences {
		p.printf("    %s\n", d.Field)
		p.printf("      %s\n", p.paint(green, "- expected "+d.Want))
		p.printf("      %s\n", p.paint(red, "+ got      "+d.Got))
	}
	if res.Got == nil {
		return
	}
	for _, reason := range res.Got.Reasons {
		p.printf("    reason %s by clause %s: %s\n", reason.Code, reason.Clause, reason.Message)
	}
	if len(res.Got.Reasons) == 0 {
		p.printf("    %s by clause %s\n", res.Got.Outcome, res.Got.Clause)
	}
}

func (p *printer) indent(text string, by int) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \t\n"); line != "" {
			p.printf("%s%s\n", strings.Repeat(" ", by), line)
		}
	}
}

func (p *printer) coverage(s *Suite) {
	c := s.Coverage
	p.printf("coverage of %s: %s of %s (%d of %d)\n", s.Name, c.Percent, c.Unit, c.Covered, c.Total)
	for _, clause := range c.Clauses {
		p.printf("    %s: no case reaches clause %s\n", diag.Pos{File: clause.Pos.File, Line: clause.Pos.Line}, clause.ID)
	}
	for _, f := range c.Files {
		for _, lines := range f.Uncovered {
			p.printf("    %s:%s: not covered\n", f.File, lines)
		}
	}
}

// String renders "7" or "7-9".
func (r LineRange) String() string {
	if r.Start == r.End {
		return fmt.Sprint(r.Start)
	}
	return fmt.Sprintf("%d-%d", r.Start, r.End)
}

func (p *printer) summary(rep *Report) {
	for _, s := range rep.Suites {
		if s.Tests == 0 && !s.Findings.HasErrors() && rep.Counts.Total > 0 {
			p.printf("%s: no tests\n", s.Name)
		}
	}
	for _, problem := range rep.Problems {
		p.printf("%s %s\n", p.paint(red, "FAIL:"), problem)
	}
	c := rep.Counts
	for _, line := range []struct {
		color, name string
		n           int
	}{
		{green, "PASS", c.Passed},
		{red, "FAIL", c.Failed},
		{yellow, "SKIPPED", c.Skipped},
		{red, "ERROR", c.Errors},
	} {
		if line.n > 0 {
			p.printf("%s %d/%d\n", p.paint(line.color, line.name+":"), line.n, c.Total)
		}
	}
}
