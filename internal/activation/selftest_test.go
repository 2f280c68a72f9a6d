package activation

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/releases"
)

const odd = `apiVersion: charter/v1
kind: Charter
metadata: {name: odd, version: 1.0.0, expires: 2026-06-02}
access_levels: [public]
roles: [{name: public, reads: [public]}]
enforcement: {mode: %s, state: %s}
metrics:
  network:
    - {id: net.any, match: ["net_*"], access: public, nodes: [edge-1]}
forbidden:
  - {id: f.any, match: ["*.gps.*", "*-x", "a*b*c", "*:user", "exact_name"], severity: critical, reason: r, protected: true}
  - {id: f.shadow, match: ["s_*"], severity: low, reason: r, mode: shadow}
  - {id: f.label, labels: ["*user*"], severity: low, reason: r}
`

// No charter that is right fails: not the shipped ones, not those that only warn, need
// a state document or have lapsed.
func TestSelfTestPassesGoodCharters(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	check := func(name string, c *charter.Charter) {
		t.Helper()
		b, err := compile.Build(c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := engine.Prepare(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{now, now.AddDate(20, 0, 0)} {
			if err := selfTest(t.Context(), p, at); err != nil {
				t.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
	for _, name := range []string{"base", "production"} {
		c, findings := charter.Load(filepath.Join("..", "..", "policies", name, "charter.yaml"))
		if c == nil {
			t.Fatal(findings)
		}
		check(name, c)
	}
	for _, mode := range []string{"enforce", "warn", "shadow"} {
		for _, state := range []string{"optional", "required"} {
			c, findings := charter.Parse("charter.yaml", fmt.Appendf(nil, odd, mode, state))
			if c == nil {
				t.Fatal(findings)
			}
			check(mode+" "+state, c)
		}
	}
}

// A bundle without any one of its modules is refused, whether or not a question of the
// self-test needs that.
func TestSelfTestMissesEveryModule(t *testing.T) {
	whole := releases.Bundle(t, 1)
	for _, module := range whole.Modules() {
		archive := releases.Edited(t, whole, func(files map[string][]byte) { delete(files, module) })
		c := &candidate{statement: releases.Release{Version: 1, Sequence: 1}.Statement(t)}
		c.manifest.Layer.Digest, c.manifest.Layer.Size = release.Digest(archive), int64(len(archive))
		b, err := c.open(archive)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.prepare(t.Context(), b, noon()); err == nil {
			t.Errorf("%s is not missed", module)
		}
	}
}
