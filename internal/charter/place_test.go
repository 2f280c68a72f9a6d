package charter

import "testing"

// An entry is found where it was written: in the base too, and in the file that
// replaced it when both have it.
func TestPlace(t *testing.T) {
	files := map[string]string{
		"base/charter.yaml": `apiVersion: charter/v1
kind: Charter
metadata: {name: base, version: 1.0.0}
access_levels: [public]
roles: [{name: r, reads: [public], collects: [net]}]
metrics:
  net:
    - {id: a, match: [a], access: public}
    - {id: b, match: [b], access: public}
    - {id: gone, match: [c], access: public}
forbidden: [{id: f, match: [x], severity: low, reason: r}]
limits: [{id: l, rate: 1/1m}]
`,
		"own/charter.yaml": `apiVersion: charter/v1
kind: Charter
metadata: {name: own, version: 1.0.0}
extends: ../base/charter.yaml
remove: [gone]
metrics:
  net:
    - description: written anew
      id: b
      match: [b]
      access: public
waivers: [{id: w, clause: a, nodes: [n], grants: {retention: 1d}, owner: o, ticket: t, until: 2026-01-01}]
`,
	}
	c, findings := LoadFS(func(name string) ([]byte, error) { return []byte(files[name]), nil }, "own/charter.yaml")
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	for id, want := range map[string]string{
		"a": "base/charter.yaml:8:7", "b": "own/charter.yaml:8:7", "f": "base/charter.yaml:11:13", "l": "base/charter.yaml:12:10", "w": "own/charter.yaml:12:11",
	} {
		if got, ok := c.Place(id); !ok || got.String() != want {
			t.Errorf("%s is at %s, want %s", id, got, want)
		}
	}
	for _, id := range []string{"gone", "default", ""} {
		if got, ok := c.Place(id); ok {
			t.Errorf("%s is at %s", id, got)
		}
	}
}
