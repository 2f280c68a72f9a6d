package app

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
)

// verify makes sure that a bundle is exactly what its charter compiles to, so
// that nobody has to trust the Rego in it, and that its rules pass the lint.
// Findings name files inside the bundle; warnings come without an error.
func (c Compiler) verify(path string, b *bundle.Bundle) (diag.List, error) {
	refuse := func(code string, findings diag.List, err error) error {
		return &PolicyError{Path: path, Code: code, Findings: findings, Err: err, read: inside(b)}
	}
	text, ok := b.File(bundle.CharterFile)
	if !ok {
		return nil, refuse(CodeInvalidBundle, nil, fmt.Errorf("the bundle has no %s", bundle.CharterFile))
	}
	read, findings := charter.Loader{Limits: bundledCharter()}.Parse(bundle.CharterFile, text)
	if read != nil && !findings.HasErrors() {
		findings = append(findings, c.Check(read)...)
		findings.Sort()
	}
	if read == nil || findings.HasErrors() {
		return nil, refuse(CodeInvalidBundle, findings, errors.New("the charter in the bundle is not valid"))
	}
	made, err := c.Build(read)
	if err != nil {
		return nil, refuse(CodeInvalidBundle, nil, err)
	}
	if made.LayerDigest() != b.LayerDigest() {
		return nil, refuse(CodeBundleNotReproducible, nil, difference(made, b))
	}
	rules, err := c.Lint(b)
	if err != nil {
		return nil, refuse(CodeInvalidBundle, nil, err)
	}
	if rules.HasErrors() {
		return nil, refuse(CodeInvalidBundle, rules, errors.New("the rules in the bundle do not pass the lint"))
	}
	return findings, nil
}

// bundledCharter are the limits of a charter in a bundle, those of the engine: a
// bundle has its own limits and the compiler wrote the charter in it.
func bundledCharter() charter.Limits {
	return charter.Limits{DocumentBytes: 64 << 20, TotalBytes: 64 << 20, Nodes: 8_000_000}
}

// difference names the first file that sets a bundle apart from the one its
// charter compiles to.
func difference(made, got *bundle.Bundle) error {
	const why = "so the rules may not be those of its charter; build it again with this version's charter-admin"
	for _, path := range made.Paths() {
		want, _ := made.File(path)
		have, ok := got.File(path)
		switch {
		case !ok:
			return fmt.Errorf("%s is missing, %s", path, why)
		case !bytes.Equal(want, have):
			return fmt.Errorf("%s is not what %s compiles to, %s", path, bundle.CharterFile, why)
		}
	}
	for _, path := range got.Paths() {
		if _, ok := made.File(path); !ok {
			return fmt.Errorf("%s is in no bundle that the compiler makes, %s", path, why)
		}
	}
	return errors.New("the bundle is not what its charter compiles to")
}

// inside reads the files that findings about a bundle speak of.
func inside(b *bundle.Bundle) func(string) ([]byte, error) {
	return func(file string) ([]byte, error) {
		data, _ := b.File(file)
		return data, nil
	}
}
