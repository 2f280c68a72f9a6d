package ledger

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/decision"
)

func denial() Entry {
	e := Entry{
		Schema: Schema, Kind: Denial, Metric: "gps_fix", Node: "edge-7", Role: "node_operator", Operation: decision.Collect,
		Labels: []string{"device"}, Outcome: decision.Forbidden, Clause: "privacy.location", Severity: "critical",
		Reasons: []Reason{{Code: "forbidden_metric", Clause: "privacy.location", Severity: "critical"}}, Purpose: "<\u2028>",
		Revision: "production-1.2.0+ab12cd34ef56", DecisionID: "0199", Data: jsontext.Value(`{"z":1,"a":["x"]}`),
	}
	e.Time = stampOf(time.Date(2026, 6, 1, 12, 0, 0, 7, time.FixedZone("", 7200)))
	return e
}

// The form of an entry is its identity: receipts of years ago depend on it.
func TestBody(t *testing.T) {
	e := denial()
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"clause":"privacy.location","data":{"a":["x"],"z":1},"decision_id":"0199","kind":"denial","labels":["device"],` +
		`"metric":"gps_fix","node":"edge-7","operation":"collect","outcome":"forbidden","purpose":"<` + "\u2028" + `>",` +
		`"reasons":[{"clause":"privacy.location","code":"forbidden_metric","severity":"critical"}],"revision":"production-1.2.0+ab12cd34ef56",` +
		`"role":"node_operator","schema":1,"severity":"critical","time":"2026-06-01T10:00:00.000000007Z"}`
	if string(body) != want {
		t.Fatalf("got  %s\nwant %s", body, want)
	}
	back, err := ParseEntry(body)
	if err != nil {
		t.Fatal(err)
	}
	e.Data = jsontext.Value(`{"a":["x"],"z":1}`)
	if !reflect.DeepEqual(back, e) {
		t.Fatalf("got  %+v\nwant %+v", back, e)
	}
}

func TestParseEntryRefuses(t *testing.T) {
	e := denial()
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":          "",
		"spaces":           " " + string(body),
		"another order":    strings.Replace(string(body), `{"clause":"privacy.location",`, "{", 1)[:len(body)-30],
		"unknown member":   strings.Replace(string(body), `"clause"`, `"claus"`, 1),
		"duplicate member": strings.Replace(string(body), `"clause"`, `"clause":"x","clause"`, 1),
		"another schema":   strings.Replace(string(body), `"schema":1`, `"schema":2`, 1),
		"no time":          strings.Replace(string(body), `"time":"2026-06-01T10:00:00.000000007Z"`, `"time":""`, 1),
		"a float":          strings.Replace(string(body), `"schema":1`, `"schema":1.0`, 1),
	} {
		if _, err := ParseEntry([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e.Principal = strings.Repeat("p", MaxBody)
	if _, err := e.Body(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// go-cid gives these addresses for the same bytes.
func TestCID(t *testing.T) {
	for text, want := range map[string]string{
		"":      "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
		"hello": "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
	} {
		if got := CID([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Filters know every kind.
func TestKinds(t *testing.T) {
	source, err := os.ReadFile("entry.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := regexp.MustCompile(`(?m)^\t\w+ +Kind = "([a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(constants) != len(Kinds()) {
		t.Errorf("there are %d kinds, and Kinds returns %d", len(constants), len(Kinds()))
	}
	for _, c := range constants {
		if !slices.Contains(Kinds(), Kind(c[1])) {
			t.Errorf("Kinds lacks %s", c[1])
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	e := denial()
	body, err := e.Body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"kind":"gap","schema":1,"time":"2026-06-01T10:00:00.000000007Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEntry(data)
		if err != nil {
			return
		}
		again, err := e.Body()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q becomes %q, %v", data, again, err)
		}
	})
}
