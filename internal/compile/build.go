// Package compile turns a charter into the bundle that decides by it.
//
// Call [Check] first: it reports what the charter language alone cannot see,
// such as clauses that conflict, clauses that can never apply, and a derived
// charter that relaxes what its base protects. Then [Build] makes the bundle;
// docs/design/compiled-form.md describes every file in it.
//
// Build is a pure function of the canonical charter: the same charter gives the
// same bytes on every machine, from every path, at every time. Whoever holds
// the charter.yaml of a bundle can therefore rebuild the bundle and compare, and
// nobody has to trust generated Rego.
package compile

import (
	"encoding/json"
	"fmt"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/rego"
)

// Form is the version of the compiled form; a change of the tables' shape or of
// the library that old bundles do not fit raises it.
const Form = 1

// Paths of the generated files in a bundle.
const (
	CharterPath  = "charter.yaml"
	DataPath     = "data.json"
	PatternsPath = "charter/patterns/patterns.rego"
)

// Build compiles a charter that passed [Check]. It fails only on values that
// Check or the charter package would have refused.
func Build(c *charter.Charter) (*bundle.Bundle, error) {
	files, err := rego.Modules()
	if err != nil {
		return nil, fmt.Errorf("read the Rego library: %w", err)
	}
	t, err := newTables(c)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Metadata.Name, err)
	}
	patterns, err := patternsModule(c, t)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Metadata.Name, err)
	}
	data, err := t.encode()
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Metadata.Name, err)
	}
	manifest, err := manifestFile(c)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Metadata.Name, err)
	}
	files[".manifest"] = manifest
	files[CharterPath] = c.Canonical()
	files[DataPath] = data
	files[PatternsPath] = patterns
	return bundle.New(files)
}

func manifestFile(c *charter.Charter) ([]byte, error) {
	text, err := json.MarshalIndent(map[string]any{
		"revision":     c.Revision(),
		"roots":        []string{"charter"},
		"rego_version": 1,
		"metadata": map[string]any{
			"charter": map[string]any{"name": c.Metadata.Name, "version": c.Metadata.Version, "digest": c.Digest(), "form": Form},
		},
	}, "", "  ")
	return append(text, '\n'), err
}
