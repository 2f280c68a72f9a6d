package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

const quarterCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: production, version: 1.2.0}
access_levels: [public]
purposes: [operations]
roles:
  - {name: node_operator, reads: [public], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d}
`

// quarterOf is a small quarter in which something of everything happens, with one
// name that a caller chose.
func quarterOf(t *testing.T, hostile string) (*history, *charter.Charter) {
	c, found := charter.Parse("charter.yaml", []byte(quarterCharter))
	if c == nil {
		t.Fatal(found)
	}
	h := newHistory(t, q4.From.AddDate(0, -4, 0))
	activation := entry(ledger.Activation, "", map[string]any{"trigger": "start", "charter": "production", "version": "1.2.0", "digest": c.Digest(), "at": "2026-06-01T00:00:00Z"})
	activation.Revision = c.Revision()
	latency := allowed("edge-7", "latency_p50", "net.latency", 1440)
	latency.Revision, latency.Purpose, latency.Retention = c.Revision(), "operations", "7d"
	seen := allowed("edge-7", "latency_"+hostile, "net.latency", 12)
	seen.Revision = c.Revision()
	h.add(0, activation, denial("edge-7", "node_gps_fix", "privacy.location", "enforce", "forbidden_metric"))
	h.add(40*24*time.Hour, denial("edge-9", "node_gps_fix", "privacy.location", "enforce", "forbidden_metric"), window("w0", h.now, 0, latency))
	h.add(q4.From.Sub(h.now)+5*24*time.Hour, entry(ledger.WindowOpen, "", ledger.Window{ID: "w1", From: h.now.Format(time.RFC3339)}), window("w1", h.now, 3, latency, seen))
	h.add(time.Hour, denial("edge-7", hostile, "privacy.location", "enforce", "forbidden_metric", "forbidden_label"), denial("edge-7", "node_gps_fix", "net.latency", "warn", "unknown_role"))
	first := uint64(5)
	violation := entry(ledger.Violation, "edge-7", ledger.ViolationRecord{ID: "v5", Source: "denial", Type: "silent_collection", Denial: &first, Consequence: &ledger.Consequence{Level: 2, Action: "suspend", Count: 2, For: "24h"}})
	violation.Clause, violation.Metric, violation.Severity = "privacy.location", hostile, "critical"
	h.add(time.Second, violation, entry(ledger.Standing, "edge-7", ledger.StandingChange{From: "good", To: "suspended", Action: "suspend", Level: 2, Cause: "v5", Until: "2026-10-07T01:00:00Z"}))
	opened := entry(ledger.Investigation, "edge-7", ledger.InvestigationStep{ID: "iv5", Violation: "v5", Type: "silent_collection", Action: "open", By: "token:" + hostile, Due: "2026-10-20T00:00:00Z"})
	opened.Severity = "critical"
	h.add(time.Hour, opened)
	h.add(24*time.Hour, entry(ledger.Standing, "edge-7", ledger.StandingChange{From: "suspended", To: "good", Action: "expire", Cause: "v5"}))
	h.add(49*time.Hour, entry(ledger.Investigation, "edge-7", ledger.InvestigationStep{ID: "iv5", Violation: "v5", Action: "resolve", Outcome: "confirmed", By: "token:ana"}))
	h.add(time.Hour, entry(ledger.Override, "", ledger.OverrideChange{ID: "o-1", Action: "begin", By: "quorum", Clauses: []string{"net.latency"}, Retention: "60d", From: "2026-10-09T00:00:00Z", Until: "2026-10-09T02:00:00Z", Signers: []string{"0xb", "0xa"}}))
	h.add(2*time.Hour, entry(ledger.Override, "", ledger.OverrideChange{ID: "o-1", Action: "end", By: "expiry"}))
	h.add(time.Hour, entry(ledger.Revocation, "edge-7", ledger.RevocationChange{Action: "begin", Reason: "consent_withdrawn", By: "token:ana", ExportUntil: "2026-11-08T00:00:00Z"}))
	h.add(0, entry(ledger.Membership, "", ledger.CommitteeChange{Added: []string{"ana", hostile}, Size: 2}), entry(ledger.Load, "", map[string]string{"result": "refused", "code": "unknown_field", "part": "policy", "trigger": "watch", "at": "2026-10-09T00:00:00Z"}))
	h.add(0, entry(ledger.Notification, "", ledger.Delivery{ID: "m1", Receiver: "committee", Channel: "slack", State: "delivered", Messages: 3, Attempts: 1}),
		entry(ledger.Notification, "", ledger.Delivery{ID: "m2", Receiver: "legal", Channel: "email", State: "dead", Messages: 1, Attempts: 9, Error: "refused"}),
		entry(ledger.Alert, "", ledger.AlertRecord{Name: "Critical" + hostile, Status: "firing", Fingerprint: "f"}))
	missing := uint64(4)
	h.add(0, entry(ledger.Gap, "", ledger.Missing{Reason: "unavailable", Count: &missing, From: "2026-10-09T00:00:00Z", To: "2026-10-09T00:01:00Z"}), entry(ledger.Sealed, "", ledger.Seal{From: 0, To: 2, Manifest: "bafy"}))
	h.releases(c.Revision(), hostile)
	h.add(q4.To.Sub(h.now), denial("edge-7", "x", "privacy.location", "enforce", "forbidden_metric"))
	return h, c
}

func documents(t *testing.T, hostile string) map[string]report.Document {
	h, c := quarterOf(t, hostile)
	o := report.Options{Period: q4, Charters: []*charter.Charter{c}}
	return map[string]report.Document{"audit": verified(t, h, report.NewAudit(o)), "collection": verified(t, h, report.NewCollection("edge-7", o))}
}

func extension(f report.Format) string {
	return map[report.Format]string{report.JSON: "json", report.Markdown: "md", report.HTML: "html"}[f]
}

func TestGolden(t *testing.T) {
	for what, d := range documents(t, "p99") {
		for _, f := range report.Formats() {
			path := filepath.Join("testdata", what+"."+extension(f))
			got := render(t, f, d)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || got != string(want) {
				t.Errorf("%s is another report now (%v); look at the difference, then run with -update", path, err)
			}
		}
	}
	for what, d := range documents(t, "p99") { // once more, from the beginning
		if want, err := os.ReadFile(filepath.Join("testdata", what+".json")); err != nil || render(t, report.JSON, d) != string(want) {
			t.Errorf("%s: the same entries give two reports", what)
		}
	}
}

var hostileNames = []string{
	"</code></td><script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "{{.Title}}", "`code` | cell | `", `\|\`, "\\`|", "# heading\n\n| a | b |", "[link](javascript:alert(1))",
	"www.evil.example http://evil.example a@evil.example @ana", "\u202egpj.exe\u2066", "\x00\x1b[31m\r\n", "<!-- -->", "]]>&lt;&amp;", "`", "|", "\\", " ", "a, b", "\u2028\u2029\ufeff", "~~x~~ **b** _i_ $x$ <b>",
}

// Whatever a caller calls a metric changes nothing about the form of a report: it has
// the same elements, rows and cells as with a harmless name.
func TestHostileNames(t *testing.T) {
	harmless := documents(t, "p99")
	for _, name := range hostileNames {
		for what, d := range documents(t, name) {
			for _, f := range report.Formats() {
				text := render(t, f, d)
				var got, want any
				switch f {
				case report.JSON:
					got, want = shapeJSON(t, text), shapeJSON(t, render(t, f, harmless[what]))
					if !strings.Contains(text, "evil") && strings.ContainsAny(text, "<>&") {
						t.Errorf("%q: markup in JSON", name)
					}
				case report.Markdown:
					got, want = shapeMarkdown(text), shapeMarkdown(render(t, f, harmless[what]))
				case report.HTML:
					got, want = shapeHTML(t, text), shapeHTML(t, render(t, f, harmless[what]))
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s as %s: %q changes its form\n%v\n%v", what, f, name, got, want)
				}
				if f != report.JSON && strings.ContainsAny(text, "\x00\x1b\r\u202e\u2066\u2028\ufeff") {
					t.Errorf("%s as %s: %q is written as it is", what, f, name)
				}
			}
		}
	}
}

// shapeJSON is a document without its texts.
func shapeJSON(t *testing.T, text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return shape(v)
}

func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = shape(v[k])
		}
		return v
	case []any:
		// Rows of the same count stand in the order of their names.
		return len(v)
	default:
		return nil
	}
}

var code = regexp.MustCompile("`[^`]*`")

// shapeMarkdown is, line by line, how it begins and how many cells it has. A cell is
// cut at every bar: none may be in a name.
func shapeMarkdown(text string) (lines [][2]any) {
	for line := range strings.SplitSeq(text, "\n") {
		bare := code.ReplaceAllString(line, "x")
		if bare == "" || strings.ContainsAny(bare, "`<[") {
			lines = append(lines, [2]any{bare, 0})
			continue
		}
		lines = append(lines, [2]any{bare[:1], strings.Count(line, "|")})
	}
	return lines
}

// shapeHTML are the elements and the names of their attributes. XML reads the page
// more strictly than a browser.
func shapeHTML(t *testing.T, text string) (tags []string) {
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return tags
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			tag := start.Name.Local
			for _, a := range start.Attr {
				tag += " " + a.Name.Local
			}
			tags = append(tags, tag)
		}
	}
}

// A page needs nothing from elsewhere, runs nothing, and can be read by a machine that
// reads it out: what the rules for that ask of tables, headings and names.
func TestPageStandsAlone(t *testing.T) {
	for what, d := range documents(t, "p99") {
		page := render(t, report.HTML, d)
		for _, bad := range []string{"<script", " on", "src=", "http:", "https:", "url(", "@import", "<iframe", "<link"} {
			if i := strings.Index(strings.ReplaceAll(page, "\n", " "), bad); i >= 0 && bad != " on" {
				t.Errorf("%s: %s", what, page[max(0, i-40):i+40])
			}
		}
		if regexp.MustCompile(`<[^>]* on\w+=`).MatchString(page) {
			t.Errorf("%s has an event handler", what)
		}
		for _, good := range []string{`<html lang="en">`, "<title>", "<main", `name="viewport"`, "default-src 'none'"} {
			if !strings.Contains(page, good) {
				t.Errorf("%s: no %s", what, good)
			}
		}
		tables := strings.Count(page, "<table>")
		if tables == 0 || tables != strings.Count(page, "<caption>") || tables != strings.Count(page, "<thead>") || strings.Count(page, "<h1>") != 1 || strings.Contains(page, "<th>") {
			t.Errorf("%s: tables without captions or heads, or not one title", what)
		}
		ids := map[string]bool{}
		for _, id := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if ids[id[1]] {
				t.Errorf("%s: id %s twice", what, id[1])
			}
			ids[id[1]] = true
		}
		for _, ref := range regexp.MustCompile(`(?:href="#|labelledby=")([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if !ids[ref[1]] {
				t.Errorf("%s: nothing has the id %s", what, ref[1])
			}
		}
	}
}

// Members of the JSON form are documented.
func TestMembersAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ == reflect.TypeFor[time.Time]() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			member, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && member != "" && !strings.Contains(string(text), "`"+member+"`") {
				t.Errorf("docs/reports.md does not mention `%s` of %s", member, typ)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[report.Audit]())
	walk(reflect.TypeFor[report.Collection]())
}
