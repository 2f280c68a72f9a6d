package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
)

// maxState bounds a state document in bytes.
const maxState = 64 << 20

// PolicyError is a charter, bundle or state document that cannot be served.
// Findings hold the places, when the cause has any.
type PolicyError struct {
	Path     string
	Findings diag.List
	Err      error

	// read returns the files that findings speak of: on disk for a charter,
	// inside the bundle for a bundle.
	read func(file string) ([]byte, error)
}

func (e *PolicyError) Error() string { return fmt.Sprintf("load %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *PolicyError) Unwrap() error { return e.Err }

// loadPolicy prepares the policy that the options name. The list holds warnings
// about a charter that is served nevertheless. Every failure is a
// [*PolicyError], except that of ctx.
func loadPolicy(ctx context.Context, o Options) (*engine.Policy, diag.List, error) {
	state, err := loadState(o.State)
	if err != nil {
		return nil, nil, &PolicyError{Path: o.State, Err: err}
	}
	path, open := o.Charter, openCharter
	if o.Bundle != "" {
		path, open = o.Bundle, openBundle
	}
	b, warnings, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	p, err := engine.Prepare(ctx, b, state)
	if err == nil {
		return p, warnings, nil
	}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("load %s: %w", path, ctx.Err())
	}
	refused := &PolicyError{Path: path, Err: err}
	if e, ok := errors.AsType[*engine.Error](err); ok {
		refused.Findings = e.Findings
		refused.read = func(file string) ([]byte, error) {
			data, _ := b.File(file)
			return data, nil
		}
	}
	return nil, nil, refused
}

// openCharter compiles the charter at path.
func openCharter(path string) (*bundle.Bundle, diag.List, error) {
	c, findings := charter.Load(path)
	if c != nil && !findings.HasErrors() {
		findings = append(findings, compile.Check(c)...)
		findings.Sort()
	}
	if c == nil || findings.HasErrors() {
		return nil, nil, &PolicyError{Path: path, Findings: findings, Err: errors.New("the charter is not valid"), read: os.ReadFile}
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, nil, &PolicyError{Path: path, Err: err}
	}
	return b, findings, nil
}

func openBundle(path string) (*bundle.Bundle, diag.List, error) {
	b, err := bundle.Open(path)
	if err != nil {
		return nil, nil, &PolicyError{Path: path, Err: err}
	}
	return b, nil, nil
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
