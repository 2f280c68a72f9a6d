package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const header = "mode: set\n"

func TestGate(t *testing.T) {
	for _, tc := range []struct {
		name, profile, min string
		exit               int
		want               string
	}{
		{
			name: "reached by the second of two test binaries counts once", min: "75", exit: 0, want: "  75.0%      4 statements  total",
			profile: "m/a/x.go:1.1,2.2 3 0\nm/a/x.go:1.1,2.2 3 7\nm/b/y.go:1.1,2.2 1 0\nm/b/y.go:1.1,2.2 1 0\n",
		},
		{
			name: "below the minimum", min: "75.1", exit: 1, want: "coverage 75.0% is below the minimum of 75.1%",
			profile: "m/a/x.go:1.1,2.2 3 1\nm/b/y.go:1.1,2.2 1 0\n",
		},
		{
			name: "a line for each package", min: "0", exit: 0, want: "   0.0%      1 statements  m/b\n",
			profile: "m/a/x.go:1.1,2.2 3 1\nm/b/y.go:1.1,2.2 1 0\n",
		},
		{name: "an empty profile covers nothing", min: "0", exit: 1, want: "no statements"},
		{name: "a damaged profile", min: "0", exit: 1, want: "line 2", profile: "m/a/x.go:1.1,2.2 3\n"},
		{name: "a damaged count", min: "0", exit: 1, want: "line 2", profile: "m/a/x.go:1.1,2.2 x 1\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cover.out")
			if err := os.WriteFile(file, []byte(header+tc.profile), 0o644); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if exit := run([]string{"-min", tc.min, file}, &out, &out); exit != tc.exit {
				t.Errorf("exit %d, want %d", exit, tc.exit)
			}
			if !strings.Contains(out.String(), tc.want) {
				t.Errorf("output lacks %q:\n%s", tc.want, out.String())
			}
		})
	}
}

// Statements that one of two runs reached are reached.
func TestGateMergesProfiles(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for name, text := range map[string]string{
		"race.out":  "mode: atomic\nm/a/x.go:1.1,2.2 3 9\nm/b/y.go:1.1,2.2 1 0\n",
		"plain.out": "mode: set\nm/a/x.go:1.1,2.2 3 0\nm/b/y.go:1.1,2.2 1 1\n",
	} {
		names = append(names, filepath.Join(dir, name))
		if err := os.WriteFile(names[len(names)-1], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if exit := run(append([]string{"-min", "100"}, names...), &out, &out); exit != 0 {
		t.Errorf("exit %d:\n%s", exit, out.String())
	}
}

func TestGateUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		exit int
	}{
		{nil, 2},
		{[]string{"-nonsense"}, 2},
		{[]string{filepath.Join(t.TempDir(), "none")}, 1},
	} {
		var out strings.Builder
		if exit := run(tc.args, &out, &out); exit != tc.exit || out.Len() == 0 {
			t.Errorf("%q: exit %d with %q, want %d with a message", tc.args, exit, out.String(), tc.exit)
		}
	}
}
