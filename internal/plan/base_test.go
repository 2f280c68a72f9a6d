package plan

import (
	"fmt"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// documentOf returns a table of rows, too large to be kept as a whole.
func documentOf(rows int) map[string]any {
	table := map[string]any{}
	for i := range rows {
		table[fmt.Sprintf("r%d", i)] = map[string]any{"only": fmt.Sprintf("c%d", i), "list": []any{"a", true, nil}}
	}
	return map[string]any{"charter": map[string]any{"table": table, "scalar": "x", "small": map[string]any{"k": map[string]any{"v": true}}}}
}

// If a shared document were not the one in the store, rules would decide about
// another charter.
func TestDocumentsAreTheData(t *testing.T) {
	data := documentOf(2000)
	whole := ast.MustInterfaceToValue(data)
	d := NewBase(data)
	for text, found := range map[string]bool{
		"data.charter.table.r7":               true,
		"data.charter.table.r7.only":          true,
		"data.charter.table.r7.list":          true,
		"data.charter.table.r7.list[1]":       false, // an array is not looked into
		"data.charter.scalar":                 true,
		"data.charter.small":                  true,
		"data.charter.small.k.v":              true,
		"data.charter.table.none":             false,
		"data.charter.table.r7.none":          false,
		"data.charter.table.r7.only.deeper":   false,
		"data.charter.scalar.deeper":          false,
		"data.charter.small[7]":               false,
		"data.charter.table[true]":            false,
		"data.charter.table":                  false, // too large
		"data.charter":                        false,
		`data.charter.table["r7"].list[3]`:    false,
		`data.charter.table.r7.list["three"]`: false,
	} {
		for range 2 { // found anew, then among what is kept
			ref := ast.MustParseRef(text)
			got := d.Get(ref)
			if (got != nil) != found {
				t.Fatalf("%s: got %v, want found %t", text, got, found)
			}
			want, err := whole.Find(ref[1:])
			if found && (err != nil || got.Compare(want) != 0) {
				t.Fatalf("%s: got %v, want %v (%v)", text, got, want, err)
			}
		}
	}
}

// A charter of a million names must not be kept twice.
func TestDocumentsAreBounded(t *testing.T) {
	d := NewBase(documentOf(keptDocuments + 1000))
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range keptDocuments + 1000 {
				ref := ast.MustParseRef("data.charter.table.r0")
				ref[3] = ast.StringTerm(fmt.Sprintf("r%d", (i+w*97)%(keptDocuments+1000)))
				if d.Get(ref) == nil {
					t.Errorf("%v is missing", ref)
					return
				}
			}
		})
	}
	workers.Wait()
	if kept := d.size.Load(); kept > keptDocuments+4 {
		t.Errorf("%d documents are kept, at most %d may be", kept, keptDocuments)
	}
}
