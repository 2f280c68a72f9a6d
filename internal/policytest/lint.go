package policytest

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
)

// Lint holds the modules of a bundle against the rules for Rego that decides,
// see [compile.Lint]. Files in the findings are paths inside the bundle. The
// error is about modules that do not compile under the capabilities of the
// engine.
func Lint(b *bundle.Bundle) (diag.List, error) {
	modules := map[string]*ast.Module{}
	for _, path := range b.Modules() {
		text, _ := b.File(path)
		m, err := ast.ParseModule(path, string(text))
		if err != nil {
			return nil, fmt.Errorf("parse compiled Rego: %w", err)
		}
		modules[path] = m
	}
	c := ast.NewCompiler().WithCapabilities(engine.Capabilities())
	if c.Compile(modules); c.Failed() {
		return nil, fmt.Errorf("compile Rego: %w", c.Errors)
	}
	return compile.Lint(c), nil
}
