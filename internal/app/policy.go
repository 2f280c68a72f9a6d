package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
)

// maxState bounds a state document in bytes.
const maxState = 64 << 20

// Codes of a [PolicyError], and of what /health says is degraded; the list is
// closed.
const (
	CodeInvalidCharter        = "invalid_charter"         // the charter, or one it extends, has errors
	CodeInvalidBundle         = "invalid_bundle"          // not a bundle, or one whose content is not valid
	CodeBundleNotReproducible = "bundle_not_reproducible" // not what its charter compiles to
	CodeInvalidState          = "invalid_state"           // the state document cannot be read
	CodeInvalidTrust          = "invalid_trust"           // the trust policy, or a file that it names, cannot be used
)

// PolicyError is a charter, bundle or state document that cannot be served.
// Findings hold the places, when the cause has any.
type PolicyError struct {
	Path     string
	Code     string
	Findings diag.List
	Err      error

	// read returns the files that findings speak of: on disk for a charter,
	// inside the bundle for a bundle.
	read func(file string) ([]byte, error)
}

func (e *PolicyError) Error() string { return fmt.Sprintf("load %s: %v [%s]", e.Path, e.Err, e.Code) }

// Unwrap returns the cause.
func (e *PolicyError) Unwrap() error { return e.Err }

// loadPolicy prepares the policy that the options name, without the state document,
// and notes in from every file it looks at, also when it fails. The list holds
// warnings about a charter that is served nevertheless. Every failure is a
// [*PolicyError], except that of ctx.
func (c Compiler) loadPolicy(ctx context.Context, o Options, from stamps) (*engine.Policy, diag.List, error) {
	path, open := o.Charter, c.openCharter
	if o.Bundle != "" {
		path, open = o.Bundle, c.openBundle
	}
	b, written, warnings, err := open(path, from)
	if err != nil {
		return nil, nil, err
	}
	p, err := engine.Prepare(ctx, b, nil)
	if err == nil && written != nil {
		p, err = p.WithCharter(written) // answers then name the files of the charter
	}
	if err == nil {
		return p, warnings, nil
	}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("load %s: %w", path, ctx.Err())
	}
	return nil, nil, refusedByEngine(path, o, b, err)
}

func refusedByEngine(path string, o Options, b *bundle.Bundle, err error) error {
	refused := &PolicyError{Path: path, Code: CodeInvalidBundle, Err: err}
	if o.Bundle == "" {
		refused.Code = CodeInvalidCharter
	}
	if e, ok := errors.AsType[*engine.Error](err); ok {
		refused.Findings, refused.read = e.Findings, inside(b)
	}
	return refused
}

// openCharter compiles the charter at path, and also returns it as it is written.
func (c Compiler) openCharter(path string, from stamps) (*bundle.Bundle, *charter.Charter, diag.List, error) {
	read := func(name string) ([]byte, error) {
		from.note(filepath.FromSlash(name))
		return readFile(name, charter.DefaultLimits().DocumentBytes)
	}
	written, findings := charter.Loader{Read: read}.Load(path)
	if written != nil && !findings.HasErrors() {
		findings = append(findings, c.Check(written)...)
		findings.Sort()
	}
	if written == nil || findings.HasErrors() {
		return nil, nil, nil, &PolicyError{Path: path, Code: CodeInvalidCharter, Findings: findings, Err: errors.New("the charter is not valid"), read: os.ReadFile}
	}
	b, err := c.Build(written)
	if err != nil {
		return nil, nil, nil, &PolicyError{Path: path, Code: CodeInvalidCharter, Err: err}
	}
	return b, written, findings, nil
}

// readFile reads at most one byte more than the limit, which the loader then
// refuses.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return data, errors.Join(err, f.Close())
}

// openBundle reads a bundle and makes sure that it is what its charter compiles
// to.
func (c Compiler) openBundle(path string, from stamps) (*bundle.Bundle, *charter.Charter, diag.List, error) {
	from.note(path)
	b, err := bundle.Open(path)
	if err != nil {
		return nil, nil, nil, &PolicyError{Path: path, Code: CodeInvalidBundle, Err: err}
	}
	warnings, err := c.verify(path, b)
	if err != nil {
		return nil, nil, nil, err
	}
	return b, nil, warnings, nil
}

// loadState reads the state document; no path is no document.
func loadState(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxState {
		return nil, fmt.Errorf("larger than %d bytes", maxState)
	}
	return parseState(data)
}
