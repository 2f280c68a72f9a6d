package decision

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// inputField is the Field of an error that concerns the question as a whole.
const inputField = "input"

// FieldError is a question refused because of one field, which Message names.
// Code is one of
// unknown_field, missing_field, wrong_type and invalid_value. Field is a name of
// [Fields], the unknown field's own name, or "input" when the question as a
// whole cannot be read.
type FieldError struct {
	Field   string
	Code    string
	Message string
	// More holds the other problems of the same question, in order of
	// precedence, so that a caller can mend all of them at once.
	More []*FieldError
}

func (e *FieldError) Error() string { return e.Message }

// All returns e and More.
func (e *FieldError) All() []*FieldError {
	return append([]*FieldError{e}, e.More...)
}

// maxProblems bounds the work for a question that is nothing but problems.
const maxProblems = 64

// problems collects what is wrong with one question.
type problems []*FieldError

func (p *problems) add(field, code, format string, args ...any) {
	if len(*p) == maxProblems {
		return
	}
	*p = append(*p, &FieldError{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

func (p problems) has(field string) bool {
	return slices.ContainsFunc(p, func(e *FieldError) bool { return e.Field == field })
}

// err folds the problems into the first by precedence, nil when there is none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	codes := Codes()
	slices.SortStableFunc(p, func(a, b *FieldError) int {
		return cmp.Or(cmp.Compare(slices.Index(codes, a.Code), slices.Index(codes, b.Code)),
			strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
	p[0].More = p[1:]
	return p[0]
}

// nearest returns the input field that name was probably meant to be, or "".
func nearest(name string) string {
	best, limit := "", 3
	if len(name) > 2*MaxNameBytes {
		return ""
	}
	for _, f := range Fields() {
		if d := editDistance(strings.ToLower(name), f); d < limit && d <= len(f)/2 {
			best, limit = f, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and substitutions of bytes
// between a and b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step++
			}
			diagonal = row[j+1]
			row[j+1] = min(step, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
