package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
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

// loadPolicy prepares the policy that the options name and notes in from every
// file it looks at, also when it fails. The list holds warnings about a charter
// that is served nevertheless. Every failure is a [*PolicyError], except that of
// ctx.
func loadPolicy(ctx context.Context, o Options, from stamps) (*engine.Policy, diag.List, error) {
	from.note(o.State)
	path, open := o.Charter, openCharter
	if o.Bundle != "" {
		path, open = o.Bundle, openBundle
	}
	b, warnings, err := open(path, from)
	if err != nil {
		return nil, nil, err
	}
	state, err := loadState(o.State)
	if err != nil {
		return nil, nil, &PolicyError{Path: o.State, Code: CodeInvalidState, Err: err}
	}
	p, err := engine.Prepare(ctx, b, state)
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
	e, ok := errors.AsType[*engine.Error](err)
	switch {
	case ok && e.Code == engine.CodeBadState:
		refused.Path, refused.Code = o.State, CodeInvalidState
	case ok:
		refused.Findings, refused.read = e.Findings, inside(b)
	}
	return refused
}

// openCharter compiles the charter at path.
func openCharter(path string, from stamps) (*bundle.Bundle, diag.List, error) {
	read := func(name string) ([]byte, error) {
		from.note(filepath.FromSlash(name))
		return readFile(name, charter.DefaultLimits().DocumentBytes)
	}
	c, findings := charter.Loader{Read: read}.Load(path)
	if c != nil && !findings.HasErrors() {
		findings = append(findings, compile.Check(c)...)
		findings.Sort()
	}
	if c == nil || findings.HasErrors() {
		return nil, nil, &PolicyError{Path: path, Code: CodeInvalidCharter, Findings: findings, Err: errors.New("the charter is not valid"), read: os.ReadFile}
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, nil, &PolicyError{Path: path, Code: CodeInvalidCharter, Err: err}
	}
	return b, findings, nil
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
func openBundle(path string, from stamps) (*bundle.Bundle, diag.List, error) {
	from.note(path)
	b, err := bundle.Open(path)
	if err != nil {
		return nil, nil, &PolicyError{Path: path, Code: CodeInvalidBundle, Err: err}
	}
	warnings, err := verify(path, b)
	if err != nil {
		return nil, nil, err
	}
	return b, warnings, nil
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

// parseState decodes one JSON object; numbers keep their digits.
func parseState(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var state map[string]any
	if err := dec.Decode(&state); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if state == nil {
		return nil, errors.New("decode state: null is not a state document")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode state: more than one JSON value")
	}
	return state, nil
}
