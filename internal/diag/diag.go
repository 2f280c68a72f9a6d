// Package diag is the vocabulary of positioned findings: what is wrong, where,
// and how to mend it. Parsers, the compiler and the lints report a [List];
// the command line renders it (see [Write]) for people, editors and CI.
//
// A List is a value, never an error by itself: callers ask [List.HasErrors].
// Sorted lists are byte-stable: the same findings render to the same bytes.
package diag

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity tells a finding that stops the work from one that does not.
type Severity string

// The severities, most severe first.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Pos is a place in a source file. Line and Col count from 1, Col in bytes;
// zero means unknown (the finding then concerns the file as a whole).
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// String renders file:line:col, leaving out what is unknown.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
}

// Compare orders positions by file, line and column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Related is a second place that a finding speaks of, such as the other of two
// conflicting clauses.
type Related struct {
	Pos     Pos    `json:"location"`
	Message string `json:"message"`
}

// Diagnostic is one finding. Code is a stable snake_case identifier from a
// closed, documented list; Message is one sentence without a trailing stop;
// Fix, when set, says what to write instead.
type Diagnostic struct {
	Severity Severity  `json:"severity"`
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Pos      Pos       `json:"location"`
	Related  []Related `json:"related,omitempty"`
	Fix      string    `json:"fix,omitempty"`
}

// List is a set of findings in the order they were made until [List.Sort].
type List []Diagnostic

// Errorf appends an error at pos and returns it for [Diagnostic] details to be
// filled in (Fix, Related).
func (l *List) Errorf(pos Pos, code, format string, args ...any) *Diagnostic {
	return l.add(Error, pos, code, format, args)
}

// Warnf appends a warning at pos, like [List.Errorf].
func (l *List) Warnf(pos Pos, code, format string, args ...any) *Diagnostic {
	return l.add(Warning, pos, code, format, args)
}

func (l *List) add(sev Severity, pos Pos, code, format string, args []any) *Diagnostic {
	*l = append(*l, Diagnostic{Severity: sev, Code: code, Message: fmt.Sprintf(format, args...), Pos: pos})
	return &(*l)[len(*l)-1]
}

// HasErrors reports whether any finding is an error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort orders the list by place, severity, code and message, and drops exact
// repetitions.
func (l *List) Sort() {
	slices.SortStableFunc(*l, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	*l = slices.CompactFunc(*l, func(a, b Diagnostic) bool {
		return a.Pos == b.Pos && a.Severity == b.Severity && a.Code == b.Code && a.Message == b.Message
	})
}
