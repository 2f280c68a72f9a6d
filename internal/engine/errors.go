package engine

import (
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/diag"
)

// Codes of an [Error]; the list is closed.
const (
	CodeMissingFile      = "missing_file"      // no charter.yaml or data.json
	CodeBadCharter       = "bad_charter"       // charter.yaml is not a valid charter
	CodeRevisionMismatch = "revision_mismatch" // the manifest names another charter than the embedded one
	CodeBadData          = "bad_data"          // data.json is not an object below the root charter
	CodeBadState         = "bad_state"         // the state document is not JSON
	CodeBadPackage       = "bad_package"       // a module outside package charter
	CodeBadRego          = "bad_rego"          // a module that does not compile under the capabilities
	CodeNoEntrypoint     = "no_entrypoint"     // nothing defines the decision
)

// ErrUndefined means that an evaluation gave no document.
var ErrUndefined = errors.New("the decision is undefined")

// Error says why a bundle cannot be loaded. Findings is set where places in
// files are to blame (bad_charter, bad_rego, bad_package); their files are paths
// inside the bundle.
type Error struct {
	Code     string
	Findings diag.List
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("load bundle: %v [%s]", e.Err, e.Code) }

func (e *Error) Unwrap() error { return e.Err }

func failure(code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// blame makes an Error of findings; its text is that of the first.
func blame(code string, findings diag.List) *Error {
	findings.Sort()
	first := diag.Diagnostic{Message: "unusable"}
	if len(findings) > 0 {
		first = findings[0]
	}
	return &Error{Code: code, Findings: findings, Err: fmt.Errorf("%s: %s", first.Pos, first.Message)}
}

// regoFailure words an error of the Rego compiler.
func regoFailure(err error) *Error {
	list, ok := errors.AsType[ast.Errors](err)
	if !ok {
		return failure(CodeBadRego, "%w", err)
	}
	var findings diag.List
	for _, e := range list {
		var pos diag.Pos
		if e.Location != nil {
			pos = diag.Pos{File: e.Location.File, Line: e.Location.Row, Col: e.Location.Col}
		}
		findings.Errorf(pos, e.Code, "%s", e.Message)
	}
	return blame(CodeBadRego, findings)
}
