package decisionapi

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
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

// FuzzAllowed makes sure that nothing in a query is overlooked: whatever is
// taken must be in the question.
func FuzzAllowed(f *testing.F) {
	for _, s := range []string{
		"metric=a&node=n", "metric=a&node=n&labels=x,y&claims=,c&obligations=true&pretty", "metric=a&metric=b", "metrik=a", "labels=%zz", "a;b", "metric=%ff&node=n", "time=x",
	} {
		f.Add(s)
	}
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		in, carriesOut, err := readAllowed(q)
		if err == nil {
			in, err = anybody.own(in)
		}
		if err != nil {
			if fieldError(err).Message == "" {
				t.Fatalf("%q: refused without words", query)
			}
			return
		}
		if in.Metric != q.Get("metric") || in.Node != q.Get("node") || in.Purpose != q.Get("purpose") || carriesOut != (q.Get("obligations") == "true") || in.Validate() != nil {
			t.Fatalf("%q was read as %+v", query, in)
		}
		for _, label := range strings.Split(q.Get("labels"), ",") {
			if _, ok := in.Labels[label]; !ok && label != "" {
				t.Fatalf("%q: label %q was overlooked", query, label)
			}
		}
	})
}

// FuzzList holds the request of a list against encoding/json.
func FuzzList(f *testing.F) {
	for _, s := range []string{
		`{"role":"r","operation":"read"}`, `{"role":"r","node":"n","operation":"collect","metrics":["a","b"],"claims":["c"],"purpose":"p"}`, `{"role":"r","operation":"read","metrics":null}`,
		`{"role":"r","role":"s"}`, `{"metrics":[1]}`, `[]`, ``, "\xff", `{"role":"r","operation":"read","time":"2026-01-01"}`,
	} {
		f.Add([]byte(s))
	}
	anybody := base{who: &Identity{Kind: KindSelf, Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, metrics, err := readList(anybody, body)
		if err != nil {
			if fieldError(err).Message == "" {
				t.Fatalf("%q: refused without words", body)
			}
			return
		}
		var want struct {
			Role, Node, Operation, Purpose string
			Metrics                        []string
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if in.Role != want.Role || in.Node != want.Node || in.Operation != want.Operation || in.Purpose != want.Purpose || in.Time != "" || !slices.Equal(metrics, want.Metrics) {
			t.Fatalf("%q was read as %+v, %q", body, in, metrics)
		}
	})
}
