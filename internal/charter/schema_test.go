package charter

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

var update = flag.Bool("update", false, "rewrite golden files")

const schemaFile = "../../docs/charter.schema.json"

func TestSchemaIsPublished(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, Schema()) {
		t.Errorf("%s is not what the code describes (go test -update rewrites it)", schemaFile)
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plainValue is a YAML value as JSON, dates as the text they are written as: what
// editors check against a schema.
func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return plainValue(n.Content[0])
	case yaml.AliasNode:
		return plainValue(n.Alias)
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, child := range n.Content {
			list[i] = plainValue(child)
		}
		return list
	}
	if n.Tag == "!!timestamp" {
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return n.Value
	}
	return v
}

func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return s.Validate(plainValue(&n))
}

func TestSchemaAcceptsCharters(t *testing.T) {
	s := compileSchema(t)
	good := goodCharter(t)
	for i, text := range append(seeds(t), []byte(good), mustLoad(t, map[string]string{"charter.yaml": good}).Canonical()) {
		if err := validate(t, s, string(text)); err != nil {
			t.Errorf("charter %d: %v", i, err)
		}
	}
}

// Faults of shape and of most values are seen by an editor already; and what the
// schema refuses, the loader refuses too.
func TestSchemaRefusesFaults(t *testing.T) {
	s := compileSchema(t)
	good, all := readFaults(t)
	missed := make(map[string]int)
	beyond := map[string]bool{ // faults that JSON does not show
		"date for text": true, "category that is a truth value": true, "hexadecimal number": true,
		"emergency without max": true, "emergency without quorum": true, "committee without quorum": true,
	}
	for _, theme := range []string{"shape", "values"} {
		for i := range all[theme] {
			f := &all[theme][i]
			text, err := f.text(good)
			if err != nil {
				t.Fatal(err)
			}
			var n yaml.Node
			if yaml.Unmarshal([]byte(text), &n) != nil || f.Severity == "warning" || f.Code == codeDuplicateField || f.Code == codeBadKey {
				continue // an editor sees these without a schema
			}
			if s.Validate(plainValue(&n)) == nil {
				missed[f.Code]++
				if theme == "shape" && !beyond[f.Fault] {
					t.Errorf("not refused by the schema: %s", f.Fault)
				}
			}
		}
	}
	for code, n := range missed {
		if n > 8 {
			t.Errorf("%d faults of code %s are not refused by the schema", n, code)
		}
	}
}

func TestSchemaDescribesFields(t *testing.T) {
	text := string(Schema())
	for _, want := range []string{
		`"$schema": "https://json-schema.org/draft/2020-12/schema"`, `"additionalProperties": false`,
		`"description": "ordered, least to most restricted"`, `"uniqueItems": true`, `"pattern": "^[1-9][0-9]{0,5}[smhdwy]$"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}
