package exportconfig

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
)

// Not a variable: the package keeps no globals, tests included.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite golden files")
	os.Exit(m.Run())
}

// targets are the exports of a plan by name.
func targets() map[string]func(*Plan) ([]byte, error) {
	return map[string]func(*Plan) ([]byte, error){
		"prometheus":     func(p *Plan) ([]byte, error) { return p.Prometheus(nil) },
		"otel-filter":    (*Plan).OTelFilter,
		"otel-redaction": (*Plan).OTelRedaction,
		"otep4738":       (*Plan).OTEP4738,
	}
}

// refusals is what is refused, as it is reported, or the bytes.
func exported(data []byte, err error) []byte {
	var refused *Refused
	if !errors.As(err, &refused) {
		if err != nil {
			return []byte(err.Error())
		}
		return data
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s cannot express the charter\n", refused.Target)
	for _, f := range refused.Findings {
		fmt.Fprintf(&b, "%s:%d: %s: %s (%s)\n", filepath.ToSlash(f.Pos.File), f.Pos.Line, f.Code, f.Message, f.Fix)
	}
	return b.Bytes()
}

// A review of these files is a review of what changes for everybody who scrapes by them.
func TestShippedChartersExported(t *testing.T) {
	for _, name := range []string{"development", "staging", "production"} {
		p := shipped(t, name)
		plans := map[string]*Plan{}
		plan := func(out []string) *Plan {
			key := strings.Join(out, ",")
			if plans[key] == nil {
				var err error
				if plans[key], err = Build(t.Context(), p, question("edge-1", "node_operator"), Options{LeaveOut: out}); err != nil {
					t.Fatal(err)
				}
			}
			return plans[key]
		}
		for target, export := range targets() {
			for way, out := range map[string][]string{"whole": nil, "left-out": leaveOutFor(p.Charter(), target)} {
				if target == "otep4738" && way == "left-out" {
					continue // refused for the patterns over labels of the base
				}
				t.Run(name+"/"+target+"/"+way, func(t *testing.T) {
					golden(t, filepath.Join("testdata", "golden", name+"."+target+"."+way+".txt"), exported(export(plan(out))))
				})
			}
		}
	}
}

func TestExportsAreDeterministic(t *testing.T) {
	p := shipped(t, "staging")
	for target, export := range targets() {
		var got [2][]byte
		for i := range got {
			plan, err := Build(t.Context(), p, question("edge-1", "node_operator"), Options{LeaveOut: leaveOutFor(p.Charter(), target)})
			if err != nil {
				t.Fatal(err)
			}
			got[i] = exported(export(plan))
		}
		if !bytes.Equal(got[0], got[1]) {
			t.Errorf("two exports for %s differ", target)
		}
	}
}

// leaveOutFor is the clauses that are in the way of the target.
func leaveOutFor(c *charter.Charter, target string) []string {
	out := hashed(c)
	for _, clause := range c.AllClauses() {
		if len(clause.Labels.Drop) > 0 && len(clause.Labels.Hash) == 0 && (target == "otel-filter" || target == "otep4738") {
			out = append(out, clause.ID)
		}
	}
	return out
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if updating() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test ./internal/exportconfig -update rewrites it. Now it is\n%s", path, got)
	}
}
