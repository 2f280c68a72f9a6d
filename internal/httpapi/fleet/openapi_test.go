package fleetapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/tests/openapi/document"
)

var update = flag.Bool("update", false, "write the answers into openapi.yaml")

// story is the order in which the examples are asked.
func story() []struct{ name, method, path, body, status string } {
	return []struct{ name, method, path, body, status string }{
		{"first", "post", releasesPath, "1 a", "201"},
		{"unsigned", "post", releasesPath, "unsigned", "422"},
		{"first", "post", rolloutsPath, "", "200"},
		{"withoutRollback", "post", releasesPath, "3 b", "422"},
		{"second", "post", releasesPath, "3 b,4 a", "201"},
		{"again", "post", releasesPath, "3 b,4 a", "200"},
		{"all", "get", releasesPath, "", "200"},
		{"done", "post", rolloutsPath + "/{channel}/promote", "", "200"},
		{"wrongPlan", "post", rolloutsPath, "", "400"},
		{"staged", "post", rolloutsPath, "", "200"},
		{"reached", "post", nodesPath + "/{id}/report", "", "200"},
		{"foreign", "post", nodesPath + "/{id}/report", "", "400"},
		{"running", "get", rolloutsPath, "", "200"},
		{"all", "get", fleetPath, "", "200"},
		{"halted", "post", rolloutsPath + "/{channel}/halt", "", "200"},
		{"rolledBack", "post", rolloutsPath + "/{channel}/rollback", "", "200"},
		{"over", "post", rolloutsPath + "/{channel}/promote", "", "409"},
	}
}

// Whoever sends the requests of the document, one after the other, gets the answers that
// are written beside them; requests and answers fit their schemas.
func TestExamples(t *testing.T) {
	d, s, asked := document.Read(t, "openapi.yaml"), newSite(t), 0
	for _, c := range story() {
		op := document.At(d.Root, "paths", c.path, c.method)
		media := typeTar
		if c.body == "" {
			media = wire.TypeJSON
			if request := document.At(op, "requestBody", "content", wire.TypeJSON); request != nil {
				value := document.Plain(t, document.At(request, "examples", c.name, "value"))
				if err := d.Fits(t, value, "paths", c.path, c.method, "requestBody", "content", wire.TypeJSON, "schema"); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				c.body = string(text)
			}
		}
		path := strings.NewReplacer("{channel}", "production", "{id}", "edge-1").Replace(c.path)
		a := s.do(strings.ToUpper(c.method), path, media, c.body)
		if a.status(t) != c.status {
			t.Fatalf("%s %s %s: %d %s, documented is %s", c.name, c.method, c.path, a.Code, a.Body, c.status)
		}
		got := document.Decode(t, a.Body.Bytes())
		if err := d.Fits(t, got, "paths", c.path, c.method, "responses", c.status, "content", wire.TypeJSON, "schema"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		example := document.At(op, "responses", c.status, "content", wire.TypeJSON, "examples", c.name, "value")
		if example == nil {
			t.Fatalf("%s %s has no example %s", c.method, c.path, c.name)
		}
		asked++
		one, _ := json.Marshal(got)
		if other, _ := json.Marshal(document.Plain(t, example)); *update {
			d.Replace(example, strings.TrimSpace(a.Body.String()))
		} else if !bytes.Equal(one, other) {
			t.Errorf("%s %s %s: the answer is\n%s\nand documented is\n%s", c.name, c.method, c.path, one, other)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^ +value: \{("|\})`).FindAll(openapi, -1)); n != asked {
		t.Errorf("%d examples, %d were asked", n, asked)
	}
	if *update {
		d.Write(t)
	}
}

// What is documented is served and what is served is documented, with its scopes.
func TestDocumentedRoutes(t *testing.T) {
	d, s := document.Read(t, "openapi.yaml"), newSite(t)
	served := map[string]bool{}
	for _, r := range s.routes {
		path := strings.NewReplacer(":id", "{id}", ":channel", "{channel}").Replace(r.Path)
		served[path] = true
		op := document.At(d.Root, "paths", path, strings.ToLower(r.Method))
		if op == nil {
			t.Errorf("%s %s is not documented", r.Method, path)
			continue
		}
		if open := document.At(op, "security") != nil; open != (r.Scope == wire.Public) {
			t.Errorf("%s %s asks for the scope %q", r.Method, path, r.Scope)
		}
	}
	paths := document.At(d.Root, "paths")
	for i := 0; i < len(paths.Content); i += 2 {
		if path := paths.Content[i].Value; !served[path] {
			t.Errorf("%s is not served", path)
		}
	}
	if a := s.do(http.MethodGet, openapiPath, "", ""); a.Code != 200 || !bytes.Equal(a.Body.Bytes(), openapi) {
		t.Error("the served document is another one")
	}
	conditions, _ := document.Plain(t, document.At(d.Root, "components", "schemas", "Condition", "enum")).([]any)
	for i, c := range fleet.Conditions() {
		if len(conditions) != len(fleet.Conditions()) || conditions[i] != c {
			t.Fatalf("conditions %v are documented, there are %v", conditions, fleet.Conditions())
		}
	}
}

// Clients switch on the codes of errors: docs/fleet.md lists every one.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{
		codeNoTrust, wire.CodeInvalidRequest, wire.CodeUnknownField, wire.CodeInvalidValue, wire.CodeWrongType, wire.CodeNodeMismatch, wire.CodeNotFound,
		wire.CodeRequestTimeout, wire.CodeBodyTooLarge, wire.CodeUnsupportedMedia, wire.CodeTooMany, wire.CodeTimeout, wire.CodeCanceled, wire.CodeInternal,
	}
	for _, c := range fleet.Codes() {
		codes = append(codes, string(c))
	}
	for _, c := range slices.Compact(codes) {
		if !strings.Contains(string(page), "`"+c+"`") {
			t.Errorf("%s is not in docs/fleet.md", c)
		}
	}
}
