package signing_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
)

// Codes are what users filter on and look up: each is listed, documented, and in the
// documentation nothing else is.
func TestCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/signing.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, c := range signing.Codes() {
		listed = append(listed, string(c))
	}
	for _, test := range []struct {
		section, file, prefix string
		listed                []string // nil: there is no list in the order of the table
	}{
		{"## Why a release is not trusted", "error.go", "Code", listed},
		{"## What is wrong with trust.yaml", "yaml.go", "Trust", nil},
	} {
		_, section, found := strings.Cut(string(page), test.section+"\n")
		if !found {
			t.Fatalf("docs/signing.md has no section %q", test.section)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		var documented []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1) {
			documented = append(documented, m[1])
		}
		declared := constants(t, test.file, test.prefix)
		if !slices.Equal(documented, declared) {
			t.Errorf("docs/signing.md lists\n%q, %s declares\n%q", documented, test.file, declared)
		}
		if test.listed != nil && !slices.Equal(test.listed, declared) {
			t.Errorf("Codes returns\n%q, %s declares\n%q", test.listed, test.file, declared)
		}
	}
}

// constants returns the values of the text constants of a file whose names begin so, in
// their order.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, decl := range parsed.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err == nil && strings.HasPrefix(value.Names[0].Name, prefix) {
				values = append(values, text)
			}
		}
	}
	return values
}

// The policy in the documentation is one.
func TestDocumentedTrustIsValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/signing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```yaml\n")
	text, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatal("no trust policy in docs/signing.md")
	}
	_, a := newKey(t)
	_, b := newKey(t)
	_, c := newKey(t)
	store := signingtest.New(t)
	trust(t, text, files{"release.pub": a, "dao.pub": b, "state.pub": c, "trusted_root.json": store.RootWithCT(store)})
}
