// Package document reads OpenAPI documents for the tests that hold services against them:
// the places in it with [At] and [Each], its schemas with [Document.Fits]. The answers
// that it shows can be written anew where they stand, the rest of the text unchanged.
package document

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// resource names the document among schemas, wherever a test runs.
const resource = "https://charter.example.org/openapi.json"

// Document is an OpenAPI document as text, as nodes that know their line, and as schemas.
type Document struct {
	Root *yaml.Node // the mapping at the top

	path     string
	lines    []string
	compiler *jsonschema.Compiler
}

// Read reads the document at a path.
func Read(t testing.TB, path string) *Document {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var top yaml.Node
	if err := yaml.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.Abs(path); err != nil { // tests work in other directories later
		t.Fatal(err)
	}
	d := &Document{Root: top.Content[0], path: path, lines: strings.Split(string(text), "\n"), compiler: jsonschema.NewCompiler()}
	if err := d.compiler.AddResource(resource, Plain(t, d.Root)); err != nil {
		t.Fatal(err)
	}
	return d
}

// Plain is a node as encoding/json would decode it, with numbers as they are written.
func Plain(t testing.TB, n *yaml.Node) any {
	t.Helper()
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return Decode(t, text)
}

// Decode decodes JSON as [Plain] does.
func Decode(t testing.TB, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// At walks down mappings by their keys; nil when there is nothing.
func At(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1]
			}
		}
		n = found
	}
	return n
}

// Each visits the members of a mapping in their order; a nil one has none.
func Each(n *yaml.Node, visit func(key string, value *yaml.Node)) {
	if n == nil {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		visit(n.Content[i].Value, n.Content[i+1])
	}
}

// Fits checks a value of [Decode] against the schema at a pointer into the document.
func (d *Document) Fits(t testing.TB, value any, pointer ...string) error {
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

// Replace puts JSON into the line of an example; see [Document.Write].
func (d *Document) Replace(n *yaml.Node, text string) {
	line := d.lines[n.Line-1]
	d.lines[n.Line-1] = line[:strings.Index(line, "value:")] + "value: " + text
}

// Write writes the document with what was replaced.
func (d *Document) Write(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(d.path, []byte(d.Text()), 0o644); err != nil { //nolint:gosec // a document for everybody
		t.Fatal(err)
	}
}

// Text is the whole document, with what was replaced.
func (d *Document) Text() string { return strings.Join(d.lines, "\n") }
