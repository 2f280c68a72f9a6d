package compile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/diag"
)

// render writes findings as the golden files hold them.
func render(list diag.List) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%s: %s[%s]: %s\n", d.Pos, d.Severity, d.Code, d.Message)
		for _, r := range d.Related {
			fmt.Fprintf(&b, "\tsee %s: %s\n", r.Pos, r.Message)
		}
		if d.Fix != "" {
			fmt.Fprintf(&b, "\tfix: %s\n", d.Fix)
		}
	}
	return b.String()
}

func TestCheckGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts, want, kept := map[string]string{}, "", archive.Files[:0:0]
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				texts[f.Name], kept = string(f.Data), append(kept, f)
			}
			got := render(compile.Check(load(t, texts)))
			if *update {
				archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("findings differ from the golden file; run with -update and read the diff\ngot:\n%s", got)
			}
		})
	}
}

// many writes a charter with one clause for each match.
func many(n int, head string, clause func(i int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: charter/v1\nkind: Charter\n%s\naccess_levels: [public]\nroles: [{name: r, reads: [public]}]\nmetrics:\n  net:\n", head)
	for i := range n {
		fmt.Fprintf(&b, "    - {id: c%d, access: public, %s}\n", i, clause(i))
	}
	return b.String()
}

func codes(list diag.List) map[string]int {
	n := map[string]int{}
	for _, d := range list {
		n[d.Code]++
	}
	return n
}

// What patterns without a prefix cost is said before anybody measures it.
func TestCheckFloating(t *testing.T) {
	floating := func(n int) map[string]int {
		text := many(n-3, alone, func(i int) string { return fmt.Sprintf(`match: ["*_%d"]`, i) })
		text += `forbidden: [{id: f, match: ["*gps*"], labels: ["*mac*", "*ip"], severity: low, reason: r}]` + "\n"
		return codes(compile.Check(load(t, map[string]string{"charter.yaml": text})))
	}
	if n := floating(100); n["too_many_floating"] != 0 {
		t.Error("100 such patterns are no reason to warn")
	}
	if n := floating(101); n["too_many_floating"] != 1 {
		t.Error("no warning about 101 patterns that begin with a star")
	}
}

// Patterns that no index tells apart would make every check and every decision
// slow; they are refused, in a base as well.
func TestCheckRefusesCrowds(t *testing.T) {
	crowd := func(head string) string {
		return many(4097, head, func(i int) string { return fmt.Sprintf(`match: ["node_*_%d"]`, i) })
	}
	if n := codes(compile.Check(load(t, map[string]string{"charter.yaml": crowd(alone)}))); n["too_many_globs"] != 1 || len(n) != 1 {
		t.Error(n)
	}
	fits := many(4096, alone, func(i int) string { return fmt.Sprintf(`match: ["node_*_%d"]`, i) })
	if n := codes(compile.Check(load(t, map[string]string{"charter.yaml": fits}))); n["too_many_globs"] != 0 {
		t.Error(n)
	}
}

// When a comparison would take too long it is not passed over in silence.
func TestProtectionThatCannotBeProved(t *testing.T) {
	text := func(head string) string {
		return many(700, head, func(int) string { return `match: ["a*"], protected: true` })
	}
	n := codes(compile.Check(load(t, map[string]string{"base.yaml": text(alone), "charter.yaml": text(above)})))
	if n["protection_not_proved"] != 1 {
		t.Error(n)
	}
}

// Many clauses of one name, each for nodes of its own, are an ordinary thing.
func TestProtectionOfOneNameOnManyNodes(t *testing.T) {
	text := func(head string) string {
		return many(2000, head, func(i int) string {
			return fmt.Sprintf("match: [load], nodes: [n%d], retention: %dd, protected: true", i, i+1)
		})
	}
	files := map[string]string{"base.yaml": text(alone), "charter.yaml": text(above)}
	if list := compile.Check(load(t, files)); len(list) > 0 {
		t.Error(list[0])
	}
	files["charter.yaml"] = strings.Replace(text(above), "nodes: [n7], retention: 8d", "nodes: [n7], retention: 9d", 1)
	if n := codes(compile.Check(load(t, files))); n["relaxes_protected"] != 1 || len(n) != 1 {
		t.Error(n)
	}
	files["charter.yaml"] = strings.Replace(text(above), "nodes: [n7],", "nodes: [n7, m7],", 1)
	if n := codes(compile.Check(load(t, files))); n["relaxes_protected"] != 1 || len(n) != 1 {
		t.Error(n)
	}
}
