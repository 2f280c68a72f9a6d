package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/policytest"
)

// findings loads and checks a charter and returns all there is to say about it;
// the charter is nil when it cannot be used.
func findings(path string) (*charter.Charter, diag.List) {
	c, found := charter.Load(path)
	if c != nil {
		found = append(found, compile.Check(c)...)
		found.Sort()
	}
	if found.HasErrors() {
		return nil, found
	}
	return c, found
}

// loadCharter is [findings] for commands whose result is not the findings: they
// go to stderr, warnings as a count.
func (p *program) loadCharter(path string) (*charter.Charter, error) {
	c, found := findings(path)
	if c == nil {
		if err := p.printFindings(found); err != nil {
			return nil, err
		}
		return nil, invalid(fmt.Errorf("%s is not a valid charter: %s", path, tally(found)))
	}
	if _, warnings := found.Count(); warnings > 0 {
		fmt.Fprintf(p.stderr, "%s: %s; see charter-admin validate\n", path, tally(found))
	}
	return c, nil
}

func (p *program) printFindings(found diag.List) error {
	return diag.Write(p.stderr, diag.Pretty, found, os.ReadFile, diag.Options{Color: p.color.stderr})
}

// tally renders "2 errors, 1 warning".
func tally(found diag.List) string {
	errs, warnings := found.Count()
	var parts []string
	if errs > 0 {
		parts = append(parts, plural(errs, "error"))
	}
	if warnings > 0 {
		parts = append(parts, plural(warnings, "warning"))
	}
	if len(parts) == 0 {
		return "no findings"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// isBundle tells a bundle (an archive, or a directory with a manifest) from a
// charter.
func isBundle(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
	}
	_, err = os.Stat(filepath.Join(path, bundle.ManifestFile))
	return err == nil
}

// charterPath lets a directory stand for the charter.yaml in it.
func charterPath(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, bundle.CharterFile)
	}
	return path
}

// openBundle opens the bundle at path, or compiles the charter at path, which it
// then returns as it is written.
func (p *program) openBundle(path string) (*bundle.Bundle, *charter.Charter, error) {
	if isBundle(path) {
		b, err := bundle.Open(path)
		if err != nil {
			return nil, nil, invalid(fmt.Errorf("open %s: %w", path, err))
		}
		return b, nil, nil
	}
	c, err := p.loadCharter(charterPath(path))
	if err != nil {
		return nil, nil, err
	}
	b, err := compile.Build(c)
	if err != nil {
		return nil, nil, fmt.Errorf("compile %s: %w", path, err)
	}
	return b, c, nil
}

// loadPolicy makes a policy of the charter or bundle at path, with the state
// document in the file statePath unless that is empty.
func (p *program) loadPolicy(ctx context.Context, path, statePath string) (*engine.Policy, error) {
	var state map[string]any
	if statePath != "" {
		var err error
		if state, err = policytest.LoadState(statePath); err != nil {
			return nil, usagef("check: %w", err)
		}
	}
	b, written, err := p.openBundle(path)
	if err != nil {
		return nil, err
	}
	policy, err := engine.Prepare(ctx, b, state)
	var ee *engine.Error
	if errors.As(err, &ee) {
		return nil, invalid(fmt.Errorf("%s: %w", path, err))
	}
	if err != nil || written == nil {
		return policy, err
	}
	return policy.WithCharter(written) // answers then name the files of the charter
}
