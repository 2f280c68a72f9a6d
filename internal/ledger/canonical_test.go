package ledger

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// What is encoded in the order of names must have the same members.
func TestCanonicalEntryIsTheEntry(t *testing.T) {
	members := func(v any) (tags []string) {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			f := typ.Field(i)
			tags = append(tags, f.Tag.Get("json")+" "+f.Name+" "+f.Type.String())
		}
		return tags
	}
	got, want := members(canonicalEntry{}), members(Entry{})
	if !slices.IsSorted(got) {
		t.Error("members are out of order:", got)
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if reasons := members(Reason{}); !slices.IsSorted(reasons) {
		t.Error("members of a reason are out of order:", reasons)
	}
}

// The short way to the canonical form must give what the long way does, and a
// scan must find in it what the entry has.
func TestBodyIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\{}\[\],:a-z\n\x00<>]{0,9}`), rapid.Just(""))
		e := Entry{
			Schema: Schema, Kind: Kind("k" + text.Draw(t, "kind")), Metric: text.Draw(t, "metric"), Node: text.Draw(t, "node"),
			Labels: rapid.SliceOf(text).Draw(t, "labels"), Clause: text.Draw(t, "clause"), Principal: text.Draw(t, "principal"),
			RequestID: text.Draw(t, "request"), Outcome: text.Draw(t, "outcome"), Severity: text.Draw(t, "severity"), ClockBack: rapid.Bool().Draw(t, "back"),
		}
		if rapid.Bool().Draw(t, "data") {
			data, err := json.Marshal(map[string]any{text.Draw(t, "key"): text.Draw(t, "value"), "n": rapid.Float64().Draw(t, "n"), "a": []any{nil, true}})
			if err != nil {
				t.Skip() // not UTF-8
			}
			e.Data = data
		}
		e.Time = "2026-06-01T10:00:00.000000007Z"
		body, err := e.Body()
		long, err2 := json.Marshal(&e)
		if err != nil || err2 != nil {
			if (err == nil) != (err2 == nil) {
				t.Fatal(err, err2)
			}
			return
		}
		want := jsontext.Value(long)
		if err := want.Canonicalize(); err != nil || !bytes.Equal(body, want) {
			t.Fatalf("got  %s\nwant %s", body, want)
		}
		if !strings.HasSuffix(string(body), `,"time":"`+e.Time+`"}`) {
			t.Fatalf("time is not the last member: %s", body)
		}
		if _, err := ParseEntry(body); err != nil {
			t.Fatal(err)
		}
		got, request, err := ScanBody(body)
		columns, err2 := e.Columns()
		if err != nil || err2 != nil || got != columns {
			t.Fatalf("%s: scanned %+v, want %+v, %v %v", body, got, columns, err, err2)
		}
		if once := e.Principal != "" && e.RequestID != "" && e.Kind != Conflict; once != (request != [32]byte{}) {
			t.Fatalf("%s: request hash %x", body, request)
		}
	})
}

// The scan is for bodies of a damaged ledger, too.
func FuzzScanBody(f *testing.F) {
	e := denial()
	body, err := e.Body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"a":"\\\"","time":"x"}`))
	f.Add([]byte(`{"a":[{"b":"]"}],"c":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, err := ScanBody(data)
		e, parseErr := ParseEntry(data)
		if parseErr != nil {
			return
		}
		if want, columnsErr := e.Columns(); err != nil || columnsErr != nil || got != want {
			t.Fatalf("%+v, %v; want %+v, %v", got, err, want, columnsErr)
		}
	})
}
