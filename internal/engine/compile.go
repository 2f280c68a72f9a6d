package engine

import "github.com/open-policy-agent/opa/v1/ast"

// compileModules compiles modules with a compiler that fresh makes. The errors, which are
// [ast.Errors], are those of [ast.Compiler.Compile].
//
// OPA looks for recursion from each rule anew, which takes as many steps as rules
// times the rules that they need, and a charter has a rule for each of its globs.
// Whether there is recursion at all follows from the order of the rules, which OPA
// works out in any case. Only when there is none is its search left out: what calls
// itself, and through what, is for OPA to say.
func compileModules(modules map[string]*ast.Module, fresh func() *ast.Compiler) (*ast.Compiler, error) {
	recursive := false
	compiler := fresh().WithSkipStages(ast.StageCheckRecursion).
		WithStageAfterID(ast.StageRewriteDynamicTerms, ast.CompilerStageDefinition{
			Name: "CheckOrder", MetricName: "compile_stage_check_order",
			Stage: func(c *ast.Compiler) *ast.Error {
				if _, ordered := c.Graph.Sort(); ordered {
					return nil
				}
				recursive = true
				return ast.NewError(ast.RecursionErr, nil, "recursive rules")
			},
		})
	if compiler.Compile(modules); recursive {
		compiler = fresh()
		compiler.Compile(modules)
	}
	if compiler.Failed() {
		return nil, compiler.Errors
	}
	return compiler, nil
}
