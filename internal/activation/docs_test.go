package activation

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/releases"
)

const page = "../../docs/activation.md"

// The page shows exactly the cases that are tested, with the codes and with what stock
// OPA was seen to do.
func TestPageShowsTheCases(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "| stock OPA |\n|---|---|---|\n")
	table, _, _ := strings.Cut(rest, "\n\n")
	var want []string
	for _, c := range releases.Cases() {
		want = append(want, fmt.Sprintf("| %s | `%s` | %s |", c.Name, c.Code, c.OPA))
	}
	if got := strings.Split(table, "\n"); !slices.Equal(got, want) {
		t.Errorf("the table of %s is\n%s\nand should be\n%s", page, table, strings.Join(want, "\n"))
	}
}

// Every code of this package is explained, and no other.
func TestPageExplainsTheCodes(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, codes, _ := strings.Cut(string(text), "## Codes\n")
	var explained []string
	for line := range strings.Lines(codes) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			code, _, _ := strings.Cut(rest, "`")
			explained = append(explained, code)
		}
	}
	want := ownCodes()
	slices.Sort(want)
	if !slices.Equal(explained, want) {
		t.Errorf("%s explains %q, the package has %q", page, explained, want)
	}
	all := Codes()
	for i, code := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '`' }) {
		if i%2 == 1 && strings.Contains(code, "_") && !slices.Contains(all, code) {
			t.Errorf("%s speaks of the code %s, which there is not", page, code)
		}
	}
}
