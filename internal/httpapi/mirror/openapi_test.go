package mirrorapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	mirrorapi "github.com/westworld-charter/charter/internal/httpapi/mirror"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/mirror"
)

// document is the OpenAPI document as values, and as schemas.
func document(t *testing.T) (paths map[string]any, schemas *jsonschema.Compiler) {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Paths map[string]any }
	var whole any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	schemas = jsonschema.NewCompiler()
	if err := schemas.AddResource("openapi.json", plain); err != nil {
		t.Fatal(err)
	}
	return v.Paths, schemas
}

func TestDocumentedRoutes(t *testing.T) {
	paths, _ := document(t)
	m, err := mirror.Open(mirror.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	routes, err := mirrorapi.Routes(mirrorapi.Options{Mirrors: m, Caller: nobody})
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, r := range routes {
		path := strings.ReplaceAll(r.Path, ":node", "{node}")
		operations, _ := paths[path].(map[string]any)
		if operations[strings.ToLower(r.Method)] == nil {
			t.Errorf("%s %s is not documented", r.Method, path)
		}
		served[path] = true
	}
	for path := range paths {
		if !served[path] {
			t.Errorf("%s is documented and not served", path)
		}
	}
}

// What is sent and answered fits the schemas.
func TestDocumentedShapes(t *testing.T) {
	_, schemas := document(t)
	fits := func(schema string, text []byte) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		compiled, err := schemas.Compile("openapi.json#/components/schemas/" + schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	who := &mirrorapi.Caller{Node: "edge-1", Scopes: []string{"report"}}
	s := server(t, who)
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 2)
	x, err := l.Reader().Since(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	post := func(from uint64) []byte {
		t.Helper()
		x.From = from
		body, err := json.Marshal(mirror.Upload{Key: signer.VerifierKey(), Extension: x})
		if err != nil {
			t.Fatal(err)
		}
		fits("Upload", body)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/nodes/edge-1/ledger", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	fits("Status", post(0))
	fits("Error", post(0))
}
