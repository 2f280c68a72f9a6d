package decisionapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// FuzzCursor compares the fast reader of JSON with encoding/json: a text that
// one of them takes and the other does not would be two different requests.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `null`, `tru`, `-0.1e+5`, `01`, `1.`, `-`, `1e`, `"a\u00e9\"\\"`, `"\u12g4"`, "\"\x01\"", `"\x"`, `[1,]`, `{"a":1,}`, `{"a" 1}`, `{a:1}`,
		` [ { "a" : [ true , false , null ] } ] `, `{} {}`, `[`, `"`, `{"`, `{"a":`, "", "\ufeff{}", "\"\\u\x10\x11\x12\x13\"", "[1\x0b]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return
		}
		c := cursor{text: text}
		_, err := c.value()
		if err == nil {
			err = c.end()
		}
		if err != nil && strings.Contains(err.Error(), "nested deeper") {
			return
		}
		if (err == nil) != json.Valid(text) {
			t.Fatalf("%q: %v, encoding/json says %v", text, err, json.Valid(text))
		}
		if err != nil && fieldError(err).Message == "" {
			t.Fatalf("%q: a fault without words", text)
		}
	})
}

// FuzzQuestion compares the fast path with the strict parser: both must take the
// same questions, and read them alike.
func FuzzQuestion(f *testing.F) {
	const ok = `"metric":"m","node":"n","role":"r","operation":"collect"`
	for _, s := range []string{
		`{` + ok + `}`, `{` + ok + `,"labels":{"a":"b","c":""},"claims":["x"],"retention":"30d"}`, `{"metric":1}`, `{"metrc":"a"}`, `[]`, `null`,
		`{` + ok + `,"labels":{"a":1,"a":2}}`, `{"claims":[[[[]]]]}`, `{"metric":"\ud800","role":"\n","operation":"read"}`, "\xff", `{} {}`, `{` + ok + `,"role":"x"}`,
		`{` + ok + `,"labels":null}`, `{` + ok + `,"claims":[]}`, `{"m\u0065tric":"m","role":"r","operation":"read"}`,
	} {
		f.Add([]byte(s))
	}
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert, wire.ScopeReplay}}}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, wantErr := decision.ParseInput(text)
		got, err := anybody.question(text)
		if (err == nil) != (wantErr == nil) {
			if err != nil && strings.Count(string(text), "[")+strings.Count(string(text), "{") > maxDepth {
				return
			}
			t.Fatalf("%q: %v, the parser says %v", text, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, the parser reads %+v", text, got, want)
		}
		if err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q: %v, the parser says %v", text, err, wantErr)
		}
	})
}

// FuzzBatch makes sure that what is in a batch is decided as if it came alone.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"role":"r","operation":"read","labels":{"a":"1"}}`), []byte(`{"metric":"m","labels":{"b":"2"}}`))
	f.Add([]byte(`{"role":"r"}`), []byte(`{"metric":"m","role":"","operation":"read"}`))
	f.Add([]byte(`{"metric":"m","node":"n","role":"r","operation":"collect"}`), []byte(`{"retention":"30d","claims":["c"]}`))
	f.Add([]byte(`{"time":"2026-01-01"}`), []byte(`[]`))
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}}
	f.Fuzz(func(t *testing.T, commonText, itemText []byte) {
		body := []byte(`{"items":[` + string(itemText) + `],"common":` + string(commonText) + `}`)
		common, items, err := readBatch(anybody, body)
		if err != nil {
			if fieldError(err).Field == "" && !strings.Contains(string(body), `""`) {
				t.Fatalf("%q: %v names no field", body, err)
			}
			return
		}
		if len(items) > maxItems {
			t.Fatalf("%d items", len(items))
		}
		for _, text := range items {
			got, err := common.question(text)
			var over, under map[string]any
			if json.Unmarshal(commonText, &under) != nil || json.Unmarshal(text, &over) != nil {
				continue // no object: refused, or spliced by the fuzzer
			}
			if err != nil {
				continue
			}
			for field, value := range under {
				if inner, ok := over[field].(map[string]any); ok {
					for label, v := range value.(map[string]any) {
						if _, own := inner[label]; !own {
							inner[label] = v
						}
					}
				} else if _, own := over[field]; !own {
					over[field] = value
				}
			}
			text, _ := json.Marshal(over)
			want, wantErr := decision.ParseInput(text)
			if wantErr != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %+v, alone %+v, %v", body, got, want, wantErr)
			}
		}
	})
}

// FuzzDataBatch holds EOPA's envelope against encoding/json.
func FuzzDataBatch(f *testing.F) {
	for _, s := range []string{
		`{"inputs":{"a":{"metric":"m"}},"common_input":{"role":"r"}}`, `{"inputs":{"a":1,"a":2}}`, `{"inputs":{}}`, `{"inputs":[]}`, `{}`, `[]`, `{"input":{}}`, "\xff", `{"inputs":{"":null}}`,
	} {
		f.Add([]byte(s))
	}
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, ids, texts, err := readDataBatch(anybody, body)
		if err != nil {
			if e := fieldError(err); e.Message == "" || e.Code == "" {
				t.Fatalf("%q: refused without words", body)
			}
			return
		}
		if len(ids) > maxItems {
			t.Fatalf("%d ids", len(ids))
		}
		var want struct {
			Inputs map[string]json.RawMessage `json:"inputs"`
		}
		if err := json.Unmarshal(body, &want); err != nil || len(want.Inputs) != len(ids) {
			t.Fatalf("%q: %d ids, %v", body, len(ids), err)
		}
		for i, id := range ids {
			if string(want.Inputs[id]) != string(texts[i]) {
				t.Fatalf("%q: %s is %q", body, id, texts[i])
			}
		}
	})
}

// FuzzEvaluations makes sure that an AuthZEN request is understood in full or
// refused with a field, and that what is decided is what it says.
func FuzzEvaluations(f *testing.F) {
	for _, s := range []string{
		`{"subject":{"type":"role","id":"r","properties":{"node":"n","claims":["c"]}},"action":{"name":"read"},"resource":{"type":"metric","id":"m","properties":{"labels":{"a":"b"},"retention":"1d"}},"context":{"purpose":"p","obligations":true}}`,
		`{"subject":{"type":"node","id":"n","properties":{"role":"r"}},"evaluations":[{},{"action":{"name":"collect"},"resource":{"type":"metric","id":"m"}},7],"options":{"evaluations_semantic":"deny_on_first_deny","x":1}}`,
		`{"subject":"r"}`, `{"resource":{"type":"metric","id":"m","label":{}}}`, `{"context":{"time":"2026-01-01"}}`, `[]`, `{}`, "\xff", `{"subject":{"type":"role","id":"a"},"subject":{}}`,
	} {
		f.Add([]byte(s))
	}
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		top, batch, err := readEvaluations(body, true)
		if err != nil {
			if fieldError(err).Message == "" {
				t.Fatalf("%q: refused without words", body)
			}
			return
		}
		for _, e := range append(batch.items, top) {
			input, in, err := e.over(top).question(anybody)
			if err != nil {
				for _, p := range fieldError(err).All() {
					if in.locate(p.Field) == "" {
						t.Fatalf("%q: %v names no field", body, p)
					}
				}
				continue
			}
			if err := input.Validate(); err != nil || input.Time != "" {
				t.Fatalf("%q: %+v: %v", body, input, err)
			}
		}
	})
}
