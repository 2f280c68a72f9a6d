package policytest

import (
	"fmt"
	"math"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// Outcome is how a test ended.
type Outcome string

// The outcomes. An error is a test that could not say pass or fail; skip is a
// Rego test named todo_test_.
const (
	Pass  Outcome = "pass"
	Fail  Outcome = "fail"
	Error Outcome = "error"
	Skip  Outcome = "skip"
)

// Report is the result of one [Run].
type Report struct {
	Suites []*Suite `json:"suites"`
	Counts Counts   `json:"counts"`
	// Problems are why the run fails although no test did: a filter that
	// matches nothing, no tests, coverage below the threshold.
	Problems []string `json:"problems,omitempty"`
	// Seconds is the time of the whole run.
	Seconds float64 `json:"seconds"`
}

// Counts are numbers of tests by outcome.
type Counts struct {
	Total   int `json:"total"`
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Errors  int `json:"errors"`
	Skipped int `json:"skipped"`
}

func (c *Counts) add(o Outcome) {
	c.Total++
	switch o {
	case Pass:
		c.Passed++
	case Fail:
		c.Failed++
	case Error:
		c.Errors++
	case Skip:
		c.Skipped++
	}
}

// Suite is the tests of one charter, or of one tree of Rego.
type Suite struct {
	// Name is the directory of the tests.
	Name string `json:"name"`
	// Charter and Revision are empty for a tree of Rego.
	Charter  string `json:"charter,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Tests counts the tests that exist, selected by the filter or not.
	Tests   int      `json:"tests"`
	Results []Result `json:"results"`
	// Coverage is nil when it was not asked for or the suite could not run.
	Coverage *Coverage `json:"coverage,omitempty"`
	// Findings are the errors of the charter, the case tables or the Rego. With
	// any the suite, or the table named, was not run.
	Findings diag.List `json:"findings,omitempty"`
}

// Result is one test.
type Result struct {
	// Name is what a filter is matched with: data.package.test_name for Rego,
	// table/case for a case.
	Name     string   `json:"name"`
	Pos      diag.Pos `json:"location"`
	Outcome  Outcome  `json:"outcome"`
	Duration Seconds  `json:"seconds"`
	// Message says why a test failed or erred.
	Message string `json:"message,omitempty"`
	// Output is what the test printed.
	Output string `json:"output,omitempty"`
	// FailedAt is the expression of a Rego test that was not true.
	FailedAt *FailedAt `json:"failed_at,omitempty"`
	// Differences are the expectations of a case that were not met, Got the
	// decision as a whole.
	Differences []Difference       `json:"differences,omitempty"`
	Got         *decision.Decision `json:"got,omitempty"`

	group string // what Name begins with: the package or the table
}

// FailedAt is where a Rego test stopped being true. Detail is the expression
// with the values of its variables underneath.
type FailedAt struct {
	Pos        diag.Pos `json:"location"`
	Expression string   `json:"expression"`
	Detail     string   `json:"detail,omitempty"`
}

// Difference is one expectation that was not met, both sides as text.
type Difference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// Seconds is a duration that JSON shows in seconds.
type Seconds time.Duration

// MarshalJSON renders seconds with microseconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.6f", time.Duration(s).Seconds()), nil
}

// Coverage says what the tests of a suite reached.
type Coverage struct {
	// Unit is "clauses" for a charter and "lines" for Rego.
	Unit    string  `json:"unit"`
	Covered int     `json:"covered"`
	Total   int     `json:"total"`
	Percent Percent `json:"percent"`
	// Clauses are the clauses that no case reached, in the order of the charter.
	Clauses []UncoveredClause `json:"uncovered_clauses,omitempty"`
	// Files are the Rego files that are not tests, by name.
	Files []FileCoverage `json:"files,omitempty"`
}

// UncoveredClause is a clause that no decision of a case named.
type UncoveredClause struct {
	ID  string   `json:"id"`
	Pos diag.Pos `json:"location"`
}

// FileCoverage is the coverage of one Rego file in lines.
type FileCoverage struct {
	File      string      `json:"file"`
	Covered   int         `json:"covered"`
	Total     int         `json:"total"`
	Percent   Percent     `json:"percent"`
	Uncovered []LineRange `json:"uncovered,omitempty"`
}

// LineRange is a run of lines, both ends included, counted from 1.
type LineRange struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Percent is a share of 100, rounded down to a tenth, so that 100 means all.
type Percent float64

// percent of nothing is 100: there is nothing left to cover.
func percent(covered, total int) Percent {
	if total == 0 {
		return 100
	}
	return Percent(math.Floor(1000*float64(covered)/float64(total)) / 10)
}

// String renders one decimal.
func (p Percent) String() string { return fmt.Sprintf("%.1f%%", float64(p)) }

// OK reports whether everything passed and nothing is missing.
func (r *Report) OK() bool {
	return r.Counts.Failed == 0 && r.Counts.Errors == 0 && len(r.Problems) == 0 && !r.Invalid()
}

// Invalid reports whether a charter, a case table or a Rego file has errors.
func (r *Report) Invalid() bool {
	for _, s := range r.Suites {
		if s.Findings.HasErrors() {
			return true
		}
	}
	return false
}
