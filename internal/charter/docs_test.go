package charter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks returns the code blocks of a page that are of a language.
func blocks(page, language string) []string {
	var out []string
	for _, part := range strings.Split(page, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		out = append(out, block)
	}
	return out
}

// What the reference shows must load, as a whole and without warnings: people
// copy it.
func TestLanguageReferenceIsACharter(t *testing.T) {
	page := readDoc(t, "charter-language.md")
	text := strings.Join(blocks(page, "yaml"), "")
	c, list := Parse("charter-language.md", []byte(text))
	if c == nil || len(list) > 0 {
		t.Fatalf("%v\n%s", list, text)
	}
	derived := blocks(page, "yml")[0]
	files := map[string]string{"charter.yaml": derived, "../base/charter.yaml": strings.Replace(text, "clause: net.node", "clause: net.latency", 1)}
	mustLoad(t, files)
}

// Every field is in the reference, or nobody finds it.
func TestLanguageReferenceIsComplete(t *testing.T) {
	page := readDoc(t, "charter-language.md")
	words := make(map[string]bool)
	for _, w := range regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`).FindAllString(strings.Join(blocks(page, "yaml"), "")+strings.Join(blocks(page, "yml"), "")+page, -1) {
		words[w] = true
	}
	var walk func(p *plan)
	walk = func(p *plan) {
		for i := range p.fields {
			f := &p.fields[i]
			for _, w := range append(slices.Clone(f.rule.enum), f.name) {
				if w != "charter/v1" && !words[w] {
					t.Errorf("%s is not in charter-language.md", w)
				}
			}
			if f.elem != nil {
				walk(f.elem)
			}
		}
	}
	walk(newPlanner().plan(reflect.TypeFor[Charter]()))
}

// A code that is printed and not explained leaves its reader alone.
func TestDiagnosticsAreDocumented(t *testing.T) {
	page := readDoc(t, "diagnostics.md")
	_, section, found := strings.Cut(page, "## Package charter")
	if !found {
		t.Fatal("no section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1)
	var got []string
	for _, m := range documented {
		got = append(got, m[1])
	}
	if sorted := slices.Sorted(slices.Values(got)); len(slices.Compact(sorted)) != len(got) {
		t.Error("a code is documented twice")
	}
	want := codesInSource(t)
	for _, p := range patterns() {
		want = append(want, p.code)
	}
	for _, code := range want {
		if !slices.Contains(got, code) {
			t.Errorf("%s is not documented", code)
		}
	}
	for _, code := range got {
		if !slices.Contains(want, code) {
			t.Errorf("%s is documented and never reported", code)
		}
	}
}

// codesInSource reads the constants of codes.go.
func codesInSource(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			code, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	return codes
}

// Every code has a fault that shows it: a code that no fault reaches may be dead.
func TestEveryCodeHasAFault(t *testing.T) {
	_, all := readFaults(t)
	seen := make(map[string]bool)
	for _, list := range all {
		for i := range list {
			seen[list[i].Code] = true
		}
	}
	elsewhere := []string{codeUnreadable, codeTooManyValues, codeTooMany, codeExtendsRefused} // charter_test.go
	for _, code := range codesInSource(t) {
		if !seen[code] && !slices.Contains(elsewhere, code) {
			t.Errorf("no fault shows %s", code)
		}
	}
}
