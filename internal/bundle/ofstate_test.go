package bundle_test

import (
	"bytes"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
)

// What only those read who verify nothing must not pass for something that was signed.
func TestOfState(t *testing.T) {
	some := map[string]any{"standing": map[string]any{"edge-1": map[string]any{"state": "quarantined"}}}
	seen := map[string]bool{}
	for _, document := range []map[string]any{nil, {}, some} {
		archive, err := bundle.OfState(document)
		if err != nil {
			t.Fatal(err)
		}
		again, err := bundle.OfState(document)
		if err != nil || !bytes.Equal(archive, again) {
			t.Errorf("%v has two archives: %v", document, err)
		}
		seen[string(archive)] = true
		if _, err := bundle.ReadState(bytes.NewReader(archive), bundle.Limits{}); err == nil {
			t.Errorf("%v passes for a state bundle", document)
		}
		if _, err := bundle.Read(bytes.NewReader(archive), bundle.Limits{}); err == nil {
			t.Errorf("%v passes for the bundle of a charter", document)
		}
	}
	if len(seen) != 3 {
		t.Error("no document, an empty one and one with something in it are not told apart")
	}
	if _, err := bundle.OfState(map[string]any{"x": func() {}}); err == nil {
		t.Error("what JSON cannot say was written")
	}
}
