// Package rego is the hand-written Rego library: all logic of a decision, the
// same bytes in every bundle. What differs between charters is data and the
// generated package charter.patterns; see docs/design/compiled-form.md.
//
// Its tests are the *_test.rego files beside each module.
package rego

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed charter
var library embed.FS

// Modules returns the library as it stands in a bundle: slash paths below the
// bundle's root and the text of each module, without tests.
func Modules() (map[string][]byte, error) {
	modules := map[string][]byte{}
	err := fs.WalkDir(library, "charter", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".rego") || strings.HasSuffix(path, "_test.rego") {
			return err
		}
		modules[path], err = library.ReadFile(path)
		return err
	})
	return modules, err
}
