package app

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// What is given twice, and would be read once, could be a revocation.
func TestStateIsReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		`{"nodes":{"edge-1":{},"edge-1":{}}}`:      `"edge-1" is given twice`,
		`{"nodes":{},"nodes":{}}`:                  `"nodes" is given twice`,
		`{"overrides":[{"id":1},{"id":2,"id":3}]}`: `"id" is given twice`,
		"{\"nodes\":{\"\xff\":1}}":                 "UTF-8",
		`{} {}`:                                    "more than one",
		`null`:                                     "must be a JSON object",
		`[{}]`:                                     "must be a JSON object",
		`{"a":`:                                    "unexpected EOF",
		`{"a":1`:                                   "unexpected EOF",
		`{"a":[1`:                                  "unexpected EOF",
		`{"a":1,}`:                                 "invalid character",
		``:                                         "unexpected EOF",
		strings.Repeat(`{"a":`, 65) + `1` + strings.Repeat("}", 65): "nested deeper",
	} {
		if state, err := parseState([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || state != nil {
			t.Errorf("%.60s: %v, %v; want %s", text, state, err, want)
		}
	}
	got, err := parseState([]byte(` {"a": [1.50, "x", null, true], "b": {"c": {}}} `))
	want := map[string]any{"a": []any{json.Number("1.50"), "x", nil, true}, "b": map[string]any{"c": map[string]any{}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}
