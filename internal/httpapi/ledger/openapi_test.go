package ledgerapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// document is the OpenAPI document as JSON values, and as schemas.
func document(t *testing.T) (map[string]any, *jsonschema.Compiler) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(openapi, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", plain); err != nil {
		t.Fatal(err)
	}
	doc, _ := plain.(map[string]any)
	return doc, c
}

func child(t *testing.T, v any, keys ...string) map[string]any {
	t.Helper()
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("the document has nothing at %v", keys)
	}
	return m
}

// What is documented is served and what is served is documented, for everybody or
// for auditors.
func TestDocumentedRoutes(t *testing.T) {
	doc, _ := document(t)
	s := newSite(t, 1)
	served := map[string]bool{}
	inEcho := strings.NewReplacer("/tile/*", "/tile/{level}/{index}", "/entries/*", "/entries/{index}", ":index", "{index}", ":origin", "{origin}")
	for _, r := range s.routes {
		path := inEcho.Replace(r.Path)
		served[path] = true
		op := child(t, doc, "paths", path, strings.ToLower(r.Method))
		open, stated := op["security"].([]any)
		if public := stated && len(open) == 0; public != (r.Scope == wire.Public) {
			t.Errorf("%s: for %s, and the document says %v", path, r.Scope, public)
		}
		if tags, _ := op["tags"].([]any); slices.Contains(tags, any("admin")) != (r.Scope == wire.ScopeAdmin) {
			t.Errorf("%s: for %s, and its tags are %v", path, r.Scope, tags)
		}
	}
	for path := range child(t, doc, "paths") {
		if !served[path] {
			t.Errorf("%s is not served", path)
		}
	}
	if a := s.do(http.MethodGet, openapiPath, "", "").want(t, 200); !bytes.Equal(a.body, openapi) {
		t.Error("the served document is another one")
	}
}

// Answers fit their schemas.
func TestDocumentedAnswers(t *testing.T) {
	_, c := document(t)
	s := newSite(t, 30)
	for path, schema := range map[string]string{
		"/v1/ledger/entries?limit=3": "Page", "/v1/ledger/entries?from=30": "Page", "/v1/ledger/entries/7": "Entry",
		"/v1/ledger/proof/inclusion?index=3": "Inclusion", "/v1/ledger/proof/consistency?old=3": "Consistency", "/v1/witness/evidence": "EvidenceList",
		"/v1/ledger/entries?x=y": "Error", "/v1/ledger/entries/30": "Error", "/v1/ledger/tile/0/001": "Error",
	} {
		a := s.get(path)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		compiled, err := c.Compile("openapi.json#/components/schemas/" + schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Examples are what the server answers to one request after the other, and fit
// their schemas.
func TestDocumentedExamples(t *testing.T) {
	doc, c := document(t)
	s := newSite(t, 7)
	if err := os.WriteFile(filepath.Join(s.dir, keyring.NextFile), []byte(secondSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Load(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.ring = ring
	for _, call := range []struct{ method, path, media string }{
		{http.MethodPost, rotatePath, wire.TypeJSON}, {http.MethodGet, keysPath, "text/plain"}, {http.MethodPost, retirePath, wire.TypeJSON},
	} {
		media := child(t, doc, "paths", call.path, strings.ToLower(call.method), "responses", "200", "content", call.media)
		a := s.do(call.method, call.path, operator, "").want(t, 200)
		var got any = string(a.body)
		if call.media == wire.TypeJSON {
			if got, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.body)); err != nil {
				t.Fatal(err)
			}
		}
		for name := range child(t, media, "examples") {
			if want := child(t, media, "examples", name)["value"]; !equalJSON(t, got, want) {
				t.Errorf("%s: example %s is %v, and the answer %v", call.path, name, want, got)
			}
		}
		schema := fmt.Sprintf("openapi.json#/paths/%s/%s/responses/200/content/%s/schema",
			strings.ReplaceAll(call.path, "/", "~1"), strings.ToLower(call.method), strings.ReplaceAll(call.media, "/", "~1"))
		compiled, err := c.Compile(schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(got); err != nil {
			t.Errorf("%s: %v", call.path, err)
		}
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(one, other)
}

// The parameters of a search and the kinds of entries are the documented ones.
func TestDocumentedParameters(t *testing.T) {
	doc, _ := document(t)
	list, _ := child(t, doc, "paths", "/v1/ledger/entries", "get")["parameters"].([]any)
	s := newSite(t, 1)
	for _, p := range list {
		name, _ := p.(map[string]any)["name"].(string)
		var f wire.Error
		if a := s.get("/v1/ledger/entries?" + name + "=~"); json.Unmarshal(a.body, &f) == nil && len(f.Errors) > 0 && f.Errors[0].Code == wire.CodeUnknownField {
			t.Errorf("%s is not known", name)
		}
	}
	kinds, _ := child(t, doc, "components", "schemas", "Kind")["enum"].([]any)
	for _, kind := range ledger.Kinds() {
		if !slices.Contains(kinds, any(string(kind))) {
			t.Errorf("kind %s is not documented", kind)
		}
	}
	if len(kinds) != len(ledger.Kinds()) || len(list) != 14 {
		t.Errorf("%d kinds and %d parameters are documented", len(kinds), len(list))
	}
}

// Clients switch on the codes of errors: docs/api.md lists every one.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\tcode\w+ += "(\w+)"`)
	for _, file := range []string{"respond.go", "../../witness/http.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := constant.FindAllSubmatch(source, -1)
		if len(found) < 3 {
			t.Errorf("%s: only %d codes were found", file, len(found))
		}
		for _, m := range found {
			if !strings.Contains(string(page), "`"+string(m[1])+"`") {
				t.Errorf("%s of %s is not in docs/api.md", m[1], file)
			}
		}
	}
}
