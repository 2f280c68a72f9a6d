package activation

import (
	"os"
	"strings"
	"testing"
)

// Every code about state is explained to users.
func TestStateCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/state.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range stateCodes() {
		if !strings.Contains(string(page), "| `"+code+"` |") {
			t.Errorf("docs/state.md lacks a row for %s", code)
		}
	}
}
