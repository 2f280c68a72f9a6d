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

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/fleet"
)

var update = flag.Bool("update", false, "write the answers into openapi.yaml")

// document is the OpenAPI document as nodes that know their line, and as schemas.
type document struct {
	root     *yaml.Node
	lines    []string
	compiler *jsonschema.Compiler
}

func readDocument(t *testing.T) *document {
	t.Helper()
	var file yaml.Node
	if err := yaml.Unmarshal(openapi, &file); err != nil {
		t.Fatal(err)
	}
	d := &document{root: file.Content[0], lines: strings.Split(string(openapi), "\n"), compiler: jsonschema.NewCompiler()}
	if err := d.compiler.AddResource("openapi.json", plain(t, d.root)); err != nil {
		t.Fatal(err)
	}
	return d
}

// plain is a node as encoding/json would decode it.
func plain(t *testing.T, n *yaml.Node) any {
	t.Helper()
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return decoded(t, text)
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// at walks down a mapping; nil when there is nothing.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		found := (*yaml.Node)(nil)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1]
			}
		}
		n = found
	}
	return n
}

func (d *document) fits(t *testing.T, value any, pointer ...string) {
	t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	var where strings.Builder
	for _, p := range pointer {
		where.WriteString("/" + escape.Replace(p))
	}
	schema, err := d.compiler.Compile("openapi.json#" + where.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v: %v", pointer, err)
	}
}

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
	d, s, asked := readDocument(t), newSite(t), 0
	for _, c := range story() {
		op := at(d.root, "paths", c.path, c.method)
		media := typeTar
		if c.body == "" {
			media = typeJSON
			if request := at(op, "requestBody", "content", typeJSON); request != nil {
				value := plain(t, at(request, "examples", c.name, "value"))
				d.fits(t, value, "paths", c.path, c.method, "requestBody", "content", typeJSON, "schema")
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
		got := decoded(t, a.Body.Bytes())
		d.fits(t, got, "paths", c.path, c.method, "responses", c.status, "content", typeJSON, "schema")
		example := at(op, "responses", c.status, "content", typeJSON, "examples", c.name, "value")
		if example == nil {
			t.Fatalf("%s %s has no example %s", c.method, c.path, c.name)
		}
		asked++
		one, _ := json.Marshal(got)
		if other, _ := json.Marshal(plain(t, example)); *update {
			line := d.lines[example.Line-1]
			d.lines[example.Line-1] = line[:strings.Index(line, "value:")] + "value: " + strings.TrimSpace(a.Body.String())
		} else if !bytes.Equal(one, other) {
			t.Errorf("%s %s %s: the answer is\n%s\nand documented is\n%s", c.name, c.method, c.path, one, other)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^ +value: \{("|\})`).FindAll(openapi, -1)); n != asked {
		t.Errorf("%d examples, %d were asked", n, asked)
	}
	if *update {
		if err := os.WriteFile("openapi.yaml", []byte(strings.Join(d.lines, "\n")), 0o644); err != nil { //nolint:gosec // a document for everybody
			t.Fatal(err)
		}
	}
}

// What is documented is served and what is served is documented, with its scopes.
func TestDocumentedRoutes(t *testing.T) {
	d, s := readDocument(t), newSite(t)
	served := map[string]bool{}
	for _, r := range s.routes {
		path := strings.NewReplacer(":id", "{id}", ":channel", "{channel}").Replace(r.Path)
		served[path] = true
		op := at(d.root, "paths", path, strings.ToLower(r.Method))
		if op == nil {
			t.Errorf("%s %s is not documented", r.Method, path)
			continue
		}
		if open := at(op, "security") != nil; open != (r.Scope == "") {
			t.Errorf("%s %s asks for the scope %q", r.Method, path, r.Scope)
		}
	}
	paths := at(d.root, "paths")
	for i := 0; i < len(paths.Content); i += 2 {
		if path := paths.Content[i].Value; !served[path] {
			t.Errorf("%s is not served", path)
		}
	}
	if a := s.do(http.MethodGet, openapiPath, "", ""); a.Code != 200 || !bytes.Equal(a.Body.Bytes(), openapi) {
		t.Error("the served document is another one")
	}
	conditions, _ := plain(t, at(d.root, "components", "schemas", "Condition", "enum")).([]any)
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
	source, err := os.ReadFile("respond.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, m := range regexp.MustCompile(`(?m)^\tcode\w+ += "(\w+)"`).FindAllSubmatch(source, -1) {
		codes = append(codes, string(m[1]))
	}
	if len(codes) < 10 {
		t.Fatalf("only %v were found", codes)
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
