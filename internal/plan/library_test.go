package plan_test

import (
	"context"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/rego"

	library "github.com/westworld-charter/charter/rego"
)

// The library has nothing that OPA's planner is known to plan otherwise than topdown
// evaluates it.
func TestLibraryIsPlannedRightly(t *testing.T) {
	texts, err := library.Modules()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]*ast.Module{
		"patterns.rego": ast.MustParseModule("package charter.patterns\n\nmetric contains \"a*\" if startswith(input.metric, \"a\")\n\nnode contains \"b*\" if startswith(input.node, \"b\")\n"),
	}
	for path, text := range texts {
		if modules[path], err = ast.ParseModuleWithOpts(path, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true}); err != nil {
			t.Fatal(err)
		}
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		t.Fatal(compiler.Errors)
	}
	if err := vet(compiler.Modules); err != nil {
		t.Error(err)
	}
	registerTarget()
	var policy *ir.Policy
	ctx := context.WithValue(t.Context(), intoKey{}, &policy)
	if err := prepare(ctx, rego.New(rego.Query("x = data.charter.decision"), rego.Compiler(compiler), rego.Target(testTarget))); err != nil {
		t.Fatal(err)
	}
	for _, fn := range policy.Funcs.Funcs {
		var text strings.Builder
		if err := ir.Pretty(&text, fn); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "CallDynamicStmt") {
			t.Errorf("%s looks up rules by variables: the planner overlooks some", fn.Name)
		}
	}
}
