package decisionapi

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
)

// FuzzUnwrap compares the strict envelope with encoding/json: whatever passes
// must be an object that holds exactly the question, and a refusal must name a
// field.
func FuzzUnwrap(f *testing.F) {
	for _, s := range []string{
		`{"input":{"metric":"a"}}`, `{"input":1,"input":2}`, `{"inp\u0075t":[]}`, `{}`, `[]`, `{"input":`, `{"x":{}}`, "\xff", `{"input":{}} {}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		question, err := unwrap(body)
		if err != nil {
			var field *decision.FieldError
			if !errors.As(err, &field) || field.Code == "" || field.Message == "" {
				t.Fatalf("%q: %v names no field", body, err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(want) != 1 || string(want[inputKey]) != string(question) {
			t.Fatalf("%q gave %q: %v", body, question, err)
		}
	})
}

func FuzzShorten(f *testing.F) {
	f.Add("plain")
	f.Fuzz(func(t *testing.T, s string) {
		got := shorten(s)
		if len(got) > maxEcho+len("…") || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
