package policytest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// Limits of a case table; beyond them it is refused.
const (
	MaxTableBytes = 4 << 20
	MaxTableDepth = 32
	MaxTableNodes = 1_000_000 // values, aliases counted as often as they are used
	MaxFields     = 64        // of one input, defaults, or state
	MaxEach       = 10_000    // cases that one entry expands to
	MaxCases      = 100_000   // cases of a table after expansion
)

// DefaultCharter is the charter of a table that does not name one.
const DefaultCharter = "charter.yaml"

// Table is a case table with its defaults merged and its entries expanded:
// every case stands for itself.
type Table struct {
	// Path is the table as it was named to [LoadCases].
	Path string
	// Charter is the path of the charter, relative to the same place as Path.
	Charter string
	Cases   []TestCase
}

// TestCase is one question and what is expected of the answer.
type TestCase struct {
	// Name is unique in its table. Cases of an entry with `each` carry the
	// values that tell them apart: "name/metric=a,role=b".
	Name string
	Pos  diag.Pos
	// Input is the question as written, deliberate mistakes included.
	Input map[string]any
	// State is the document data.charter_state; nil means that there is none.
	State  map[string]any
	Expect Expectation
}

// Expectation is what a case says about the answer; nil fields say nothing. At
// least one is set.
type Expectation struct {
	Allow    *bool
	Outcome  *string
	Clause   *string
	Severity *string
	Mode     *string
	// Codes is the complete list of reason codes in order; nil says nothing.
	Codes []string
	// Obligations are compared in full.
	Obligations *decision.Obligations
}

// TableError is a case table that was refused, with every finding. The codes
// are the Table* constants.
type TableError struct {
	Findings diag.List
}

func (e *TableError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, d := range e.Findings {
		lines[i] = oneLine(d)
	}
	return strings.Join(lines, "\n")
}

func oneLine(d diag.Diagnostic) string {
	text := fmt.Sprintf("%s: %s[%s]: %s", d.Pos, d.Severity, d.Code, d.Message)
	if d.Fix != "" {
		text += " (" + d.Fix + ")"
	}
	return text
}

// LoadCases reads the case table in the file path. It fails with a
// [*TableError] for what the table says and with the error of the file system
// when it cannot be read.
func LoadCases(path string) (*Table, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read case table: %w", err)
	}
	return ParseCases(path, data)
}

// LoadState reads a state document, the value of data.charter_state, from a
// YAML or JSON file, by the rules and with the errors of [LoadCases].
func LoadState(path string) (map[string]any, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	r := &reader{file: path, what: "state document"}
	var state map[string]any
	if root := r.document(data); root != nil {
		state = r.object(root, "the state document")
	}
	if len(r.found) > 0 {
		r.found.Sort()
		return nil, &TableError{Findings: r.found}
	}
	return state, nil
}

// readFile reads at most one byte more than a table may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxTableBytes+1))
	return data, errors.Join(err, f.Close())
}

// ParseCases reads a case table; path is used for positions and to resolve the
// charter. It fails with a [*TableError].
func ParseCases(path string, data []byte) (*Table, error) {
	r := &reader{file: path, what: "table"}
	table := r.table(data)
	if len(r.found) > 0 {
		r.found.Sort()
		return nil, &TableError{Findings: r.found}
	}
	table.Path = path
	if !filepath.IsAbs(table.Charter) {
		table.Charter = filepath.Join(filepath.Dir(path), table.Charter)
	}
	return table, nil
}
