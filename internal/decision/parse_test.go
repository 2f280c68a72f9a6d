package decision_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/decision"
)

const ok = `"metric":"latency_p50","node":"edge-1","role":"node_operator","operation":"collect"`

// A misspelt or missing field must be named, or a caller would take a denial
// that its own typing mistake caused for the charter's answer.
func TestParseInputRefuses(t *testing.T) {
	long := strings.Repeat("x", decision.MaxNameBytes+1)
	labels, claims := `"l0":"v"`, `"c"`
	for i := range decision.MaxLabels {
		labels += fmt.Sprintf(`,"l%d":"v"`, i+1)
	}
	claims += strings.Repeat(`,"c"`, decision.MaxClaims)
	for _, tc := range []struct {
		name, input string
		want        []string // field:code of every problem, in order
		message     string   // of the first
	}{
		{"unknown field", `{` + ok + `,"metrc":"a"}`, []string{"metrc:unknown_field"}, `unknown field "metrc", did you mean "metric"?`},
		{"case matters", `{"Metric":"a",` + ok + `}`, []string{"Metric:unknown_field"}, `unknown field "Metric", did you mean "metric"?`},
		{"unknown field near nothing", `{` + ok + `,"colour":1}`, []string{"colour:unknown_field"}, `unknown field "colour"`},
		{"field named input", `{` + ok + `,"input":1}`, []string{"input:unknown_field"}, `unknown field "input"`},
		{"repeated field", `{` + ok + `,"role":"admin"}`, []string{"role:invalid_value"}, `field "role" is given more than once`},
		{"repeated label", `{` + ok + `,"labels":{"a":"","a":"1"}}`, []string{"labels:invalid_value"}, "a label is given more than once"},
		{"nothing given", `{}`, []string{"metric:missing_field", "operation:missing_field", "role:missing_field"}, `field "metric" is required`},
		{"empty is missing", `{"metric":"","role":"r","operation":"read"}`, []string{"metric:missing_field"}, ""},
		{"collect without node", `{"metric":"m","role":"r","operation":"collect"}`, []string{"node:missing_field"}, `field "node" is required to collect and export`},
		{"null", `{"metric":null,"role":"r","operation":"read"}`, []string{"metric:wrong_type"}, `field "metric" must be a string`},
		{"null labels", `{` + ok + `,"labels":null}`, []string{"labels:wrong_type"}, `field "labels" must be an object of strings`},
		{"null claims", `{` + ok + `,"claims":null}`, []string{"claims:wrong_type"}, ""},
		{"number", `{` + ok + `,"purpose":1}`, []string{"purpose:wrong_type"}, ""},
		{"object for text", `{` + ok + `,"time":{"a":[{}]}}`, []string{"time:wrong_type"}, ""},
		{"labels as array", `{` + ok + `,"labels":["a"]}`, []string{"labels:wrong_type"}, ""},
		{"label of number", `{` + ok + `,"labels":{"a":1}}`, []string{"labels:wrong_type"}, ""},
		{"claims as text", `{` + ok + `,"claims":"mtls"}`, []string{"claims:wrong_type"}, ""},
		{"claim of number", `{` + ok + `,"claims":["a",1]}`, []string{"claims:wrong_type"}, ""},
		{"operation", `{"metric":"m","role":"r","operation":"Collect"}`, []string{"operation:invalid_value"}, `operation "Collect" is none of collect, export, read`},
		{"retention", `{` + ok + `,"retention":"forever"}`, []string{"retention:invalid_value"}, ""},
		{"time", `{` + ok + `,"time":"yesterday"}`, []string{"time:invalid_value"}, ""},
		{"long name", `{` + ok + `,"purpose":"` + long + `"}`, []string{"purpose:invalid_value"}, `field "purpose" is longer than 512 bytes`},
		{"long label", `{` + ok + `,"labels":{"` + long + `":"v"}}`, []string{"labels:invalid_value"}, ""},
		{"long claim", `{` + ok + `,"claims":["` + long + `"]}`, []string{"claims:invalid_value"}, ""},
		{"many labels", `{` + ok + `,"labels":{` + labels + `}}`, []string{"labels:invalid_value"}, "more than 128 labels"},
		{"many claims", `{` + ok + `,"claims":[` + claims + `]}`, []string{"claims:invalid_value"}, "more than 64 claims"},
		{
			"all problems by precedence", `{"time":"x","labels":1,"nod":"a","metric":"m"}`,
			[]string{"nod:unknown_field", "operation:missing_field", "role:missing_field", "labels:wrong_type", "time:invalid_value"},
			"",
		},
		{"invalid UTF-8", "{\"metric\":\"a\xff\"}", []string{"input:invalid_value"}, "the input is not valid UTF-8"},
		{"array", `[]`, []string{"input:wrong_type"}, "the input must be an object"},
		{"null document", `null`, []string{"input:wrong_type"}, ""},
		{"empty", ``, []string{"input:wrong_type"}, "the input is not JSON: unexpected end"},
		{"cut off", `{` + ok, []string{"input:wrong_type"}, ""},
		{"cut off in value", `{"metric":"a`, []string{"input:wrong_type"}, ""},
		{"cut off in key", `{"met`, []string{"input:wrong_type"}, ""},
		{"two documents", `{` + ok + `} {}`, []string{"input:wrong_type"}, "the input is more than one JSON value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := decision.ParseInput([]byte(tc.input))
			fe, isFieldError := errors.AsType[*decision.FieldError](err)
			if !isFieldError {
				t.Fatalf("accepted, or another error: %v", err)
			}
			var got []string
			for _, e := range fe.All() {
				got = append(got, e.Field+":"+e.Code)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("problems %v, want %v", got, tc.want)
			}
			if tc.message != "" && fe.Error() != tc.message {
				t.Errorf("message %q, want %q", fe, tc.message)
			}
		})
	}
}

func TestParseInputAccepts(t *testing.T) {
	got, err := decision.ParseInput([]byte(` {
		"metric" : "latency_p50", "node":"edge-1","role":"auditor","operation":"read","purpose":"operations",
		"labels": {"instance":"a:9100", "empty":""}, "claims": ["mtls", "mtls"], "retention":"30d","time":"2026-01-31T12:00:00+02:00"} `))
	want := decision.Input{
		Metric: "latency_p50", Node: "edge-1", Role: "auditor", Operation: "read", Purpose: "operations",
		Labels: map[string]string{"instance": "a:9100", "empty": ""}, Claims: []string{"mtls", "mtls"},
		Retention: "30d", Time: "2026-01-31T12:00:00+02:00",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, input := range []string{
		`{"metric":"m","role":"r","operation":"read"}`,
		`{"metric":"m","role":"r","operation":"read","node":"","purpose":"","retention":"","time":"","labels":{},"claims":[]}`,
		`{"metric":"` + strings.Repeat("x", decision.MaxNameBytes) + `","role":"r","operation":"read"}`,
	} {
		if _, err := decision.ParseInput([]byte(input)); err != nil {
			t.Errorf("%.60s: %v", input, err)
		}
	}
}

// A flood of unknown fields must not cost a message each.
func TestProblemsAreBounded(t *testing.T) {
	fields := make([]string, 5000)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"%s%d":0`, strings.Repeat("x", 2000), i)
	}
	_, err := decision.ParseInput([]byte("{" + strings.Join(fields, ",") + "}"))
	fe, isFieldError := errors.AsType[*decision.FieldError](err)
	if !isFieldError || len(fe.All()) > 100 || len(fe.Error()) > 200 {
		t.Fatalf("unbounded: %.300v", err)
	}
}

func TestValidate(t *testing.T) {
	base := decision.Input{Metric: "m", Role: "r", Operation: decision.Read}
	for _, tc := range []struct {
		name  string
		edit  func(*decision.Input)
		field string // "" when valid
	}{
		{"valid", func(*decision.Input) {}, ""},
		{"bad bytes in metric", func(in *decision.Input) { in.Metric = "a\xff" }, "metric"},
		{"bad bytes in label", func(in *decision.Input) { in.Labels = map[string]string{"a\xff": ""} }, "labels"},
		{"bad bytes in label value", func(in *decision.Input) { in.Labels = map[string]string{"a": "\xff"} }, "labels"},
		{"bad bytes in claim", func(in *decision.Input) { in.Claims = []string{"\xff"} }, "claims"},
		{"no role", func(in *decision.Input) { in.Role = "" }, "role"},
		{"long node", func(in *decision.Input) { in.Node = strings.Repeat("n", 600) }, "node"},
	} {
		in := base
		tc.edit(&in)
		fe, _ := errors.AsType[*decision.FieldError](in.Validate())
		if (fe == nil) != (tc.field == "") || fe != nil && fe.Field != tc.field {
			t.Errorf("%s: %v", tc.name, fe)
		}
	}
}

func TestRetentionAndTime(t *testing.T) {
	in := decision.Input{Metric: "m", Role: "r", Operation: decision.Read}
	for text, want := range map[string]bool{
		"30d": true, "1s": true, "999999y": true, "5m": true, "2w": true, "24h": true,
		"0d": false, "030d": false, "1000000d": false, "d": false, "30": false, "30D": false, "1.5d": false, "-1d": false, " 1d": false, "1d ": false, "1ms": false,
	} {
		in.Retention = text
		if got := in.Validate() == nil; got != want {
			t.Errorf("retention %q: valid %t", text, got)
		}
	}
	in.Retention = ""
	for text, want := range map[string]bool{
		"2026-01-31": true, "2026-01-31T23:59:59Z": true, "2026-01-31T23:59:59.123456789-07:00": true, "2262-04-11": true,
		"2026-02-30": false, "2026-1-1": false, "2026-01-31T23:59:59": false, "31.01.2026": false, "2300-01-01": false, "1600-01-01": false, "now": false, "1700000000": false,
	} {
		in.Time = text
		if got := in.Validate() == nil; got != want {
			t.Errorf("time %q: valid %t", text, got)
		}
	}
}

// What a Go caller builds and what a service sends as JSON are one question.
func TestValidInputsSurviveJSON(t *testing.T) {
	name := rapid.StringMatching(`[a-z_:.]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		in := decision.Input{
			Metric: name.Draw(t, "metric"), Role: name.Draw(t, "role"), Node: rapid.StringN(0, 20, 60).Draw(t, "node"),
			Operation: rapid.SampledFrom(decision.Operations()).Draw(t, "operation"),
			Labels:    rapid.MapOfN(name, rapid.String(), 1, 4).Draw(t, "labels"),
			Claims:    rapid.SliceOfN(name, 1, 4).Draw(t, "claims"),
			Retention: rapid.SampledFrom([]string{"", "30d", "x"}).Draw(t, "retention"),
		}
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decision.ParseInput(data)
		if (err == nil) != (in.Validate() == nil) {
			t.Fatalf("parse says %v, validate %v", err, in.Validate())
		}
		if err == nil && !reflect.DeepEqual(got, in) {
			t.Fatalf("got %+v, want %+v", got, in)
		}
	})
}

func FuzzParseInput(f *testing.F) {
	for _, seed := range []string{
		`{` + ok + `}`, `{` + ok + `,"labels":{"a":"b","c":""},"claims":["x"],"retention":"30d","time":"2026-01-01"}`,
		`{"metric":1}`, `{"metrc":"a"}`, `[]`, `null`, `{"labels":{"a":1,"a":2}}`, `{"claims":[[[[]]]]}`, `{"metric":"\ud800"}`, "\xff", `{} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := decision.ParseInput(data)
		if err != nil {
			fe, isFieldError := errors.AsType[*decision.FieldError](err)
			if !isFieldError || fe.Field == "" && !strings.Contains(string(data), `""`) || !slices.Contains(decision.Codes()[:4], fe.Code) {
				t.Fatalf("not a proper refusal: %#v", err)
			}
			return
		}
		if in.Validate() != nil {
			t.Fatalf("accepted an invalid question: %v", in.Validate())
		}
		// A reader that is not strict must see the same question.
		var loose map[string]any
		if err := json.Unmarshal(data, &loose); err != nil {
			t.Fatal(err)
		}
		for field := range loose {
			if !slices.Contains(decision.Fields(), field) {
				t.Fatalf("field %q went unnoticed", field)
			}
		}
		if metric, _ := loose["metric"].(string); metric != in.Metric {
			t.Fatalf("metric %q read as %q", metric, in.Metric)
		}
		// What was understood can be said again.
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decision.ParseInput(text)
		if len(in.Labels) == 0 {
			again.Labels = in.Labels // none is none, given or not
		}
		if len(in.Claims) == 0 {
			again.Claims = in.Claims
		}
		if err != nil || !reflect.DeepEqual(again, in) {
			t.Fatalf("%s says %+v, not %+v: %v", text, again, in, err)
		}
	})
}
