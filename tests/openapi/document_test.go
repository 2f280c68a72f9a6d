package openapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// document is the OpenAPI document, as text, as nodes that know their line, and
// as schemas.
type document struct {
	path     string
	lines    []string
	root     *yaml.Node
	compiler *jsonschema.Compiler
}

const (
	specification = "../../internal/httpapi/decision/openapi.yaml"
	// resource names the document among schemas, wherever a test runs.
	resource = "https://charter.example.org/openapi.json"
)

func readDocument(t *testing.T) *document { return readDocumentAt(t, specification) }

func readDocumentAt(t *testing.T, path string) *document {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	d := &document{path: path, lines: strings.Split(string(text), "\n"), root: file.Content[0], compiler: jsonschema.NewCompiler()}
	if err := d.compiler.AddResource(resource, plain(t, d.root)); err != nil {
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
	return decode(t, text)
}

func decode(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// at walks down a mapping; nil when there is nothing.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if n == nil {
			return nil
		}
		i := slices.IndexFunc(n.Content, func(c *yaml.Node) bool { return c.Value == key })
		for i >= 0 && i%2 == 1 {
			next := slices.IndexFunc(n.Content[i+1:], func(c *yaml.Node) bool { return c.Value == key })
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 || n.Kind != yaml.MappingNode {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

// each visits the members of a mapping in their order.
func each(n *yaml.Node, visit func(key string, value *yaml.Node)) {
	if n == nil {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		visit(n.Content[i].Value, n.Content[i+1])
	}
}

// fits checks a value against the schema at a pointer into the document.
func (d *document) fits(t *testing.T, pointer []string, value any) error {
	t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	var b strings.Builder
	for _, p := range pointer {
		b.WriteString("/" + escape.Replace(p))
	}
	schema, err := d.compiler.Compile(resource + "#" + b.String())
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

// replace writes JSON into the line of an example.
func (d *document) replace(n *yaml.Node, text string) {
	line := d.lines[n.Line-1]
	d.lines[n.Line-1] = line[:strings.Index(line, "value:")] + "value: " + text
}

func (d *document) write(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(d.path, []byte(strings.Join(d.lines, "\n")), 0o644); err != nil { //nolint:gosec // a document for everybody
		t.Fatal(err)
	}
}
