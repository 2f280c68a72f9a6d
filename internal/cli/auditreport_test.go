package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

func TestAuditReport(t *testing.T) {
	d := newData(t, 300)
	c, found := charter.Parse("charter.yaml", []byte(charterForReport))
	if c == nil {
		t.Fatal(found)
	}
	write(t, "charter.yaml", charterForReport)
	at := time.Now().UTC().Format(time.RFC3339)
	d.open(t, func(log *ledger.Log) {
		for _, e := range []ledger.Entry{
			{Kind: ledger.Activation, Revision: c.Revision(), Data: []byte(`{"at":"` + at + `","charter":"demo","digest":"` + c.Digest() + `","trigger":"start","version":"1.0.0"}`)},
			{Kind: ledger.WindowClose, Data: []byte(`{"counts":[{"clause":"net.latency","count":41,"metric":"latency_p50","node":"edge-7","operation":"collect","outcome":"allowed","revision":"` +
				c.Revision() + `","role":"node_operator"}],"from":"` + at + `","id":"w","to":"` + at + `"}`)},
		} {
			if _, err := log.Append(t.Context(), e, ledger.Durable); err != nil {
				t.Fatal(err)
			}
		}
	})
	var audit report.Audit
	text := ok(t, strings.Fields("audit report --data data --from 1h --format json --key log.pub --charter charter.yaml")...)
	if err := json.Unmarshal([]byte(text), &audit); err != nil {
		t.Fatal(err)
	}
	if audit.Decisions.Denied.Count != 300 || audit.Decisions.Allowed.Count != 41 || audit.Coverage.Assurance != "anchored" || audit.Coverage.Size != 302 || audit.Coverage.Signature != "verified" {
		t.Errorf("%s", text)
	}
	var node report.Collection
	text = ok(t, strings.Fields("audit report --data data --from 1h --format json --node edge-7 --charter charter.yaml")...)
	if err := json.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	if node.Summary.Denied.Count != 3 || node.Summary.Collected.Count != 41 || len(node.Kept) != 1 || node.Kept[0].Retention != "30d" || node.Coverage.Assurance != "self-consistent" {
		t.Errorf("%s", text)
	}
	ok(t, strings.Fields("audit report --data data --from 1h --format html -o report.html")...)
	if page, err := os.ReadFile("report.html"); err != nil || !strings.HasPrefix(string(page), "<!doctype html>") {
		t.Error(err)
	}
	if text := ok(t, strings.Fields("audit report --data data --quarter 2020Q1")...); !strings.HasPrefix(text, "# Audit report 2020Q1\n") {
		t.Error(text)
	}
}

const charterForReport = `apiVersion: charter/v1
kind: Charter
metadata: {name: demo, version: 1.0.0}
access_levels: [public]
roles:
  - {name: node_operator, reads: [public], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d}
`

// There is no report of a ledger that does not verify, unless somebody asks for one
// that says so.
func TestAuditReportRefuses(t *testing.T) {
	newData(t, 300)
	damage(t, "data/ledger/ledger.db", "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'critical', 'harmless') AS BLOB) WHERE idx = 17")
	const args = "audit report --data data --from 1h --format json"
	if r := admin(t, strings.Fields(args)...); r.code != ExitVerify || r.stdout != "" || !strings.Contains(r.stderr, "there is no report") {
		t.Errorf("%+v", r)
	}
	if r := admin(t, strings.Fields(args+" -o report.json")...); r.code != ExitVerify || exists("report.json") {
		t.Errorf("%+v", r)
	}
	text := ok(t, strings.Fields(args+" --insecure-unverified")...)
	if !strings.Contains(text, `"assurance": "unverified"`) || !strings.Contains(text, `"signature": "not_verified"`) {
		t.Error(text)
	}
	for args, code := range map[string]int{
		"--data data":                                               ExitUsage,
		"--data data --quarter 2026Q5":                              ExitUsage,
		"--data data --quarter 2026Q4 --from 1h":                    ExitUsage,
		"--data data --from 2026-02-01 --to 2026-01-01":             ExitUsage,
		"--data data --from 1h --charter nowhere":                   ExitInvalid,
		"--data data --from 1h --format pdf":                        ExitUsage,
		"--data nowhere --from 1h":                                  ExitUsage,
		"--data data --from 1h -o nowhere/report":                   ExitVerify,
		"--data data --from 1h --insecure-unverified --key log.pub": ExitUsage,
		"--data data --from 1h --insecure-unverified -o nowhere/x":  ExitUsage,
	} {
		if r := admin(t, append([]string{"audit", "report"}, strings.Fields(args)...)...); r.code != code || r.stderr == "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// Over HTTP, too, what is counted is what was verified. A server that answers
// otherwise gets no report.
func TestAuditReportOverHTTP(t *testing.T) {
	s := newServed(t, 700, nil)
	args := append(strings.Fields("audit report --key log.pub --from 1h --format json --server"), s.url)
	var audit report.Audit
	if err := json.Unmarshal([]byte(ok(t, args...)), &audit); err != nil || audit.Decisions.Denied.Count != 700 || audit.Coverage.Assurance != "anchored" {
		t.Errorf("%+v: %v", audit.Decisions, err)
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte("critical"), []byte("harmless")))
	})
	if r := admin(t, args...); r.code != ExitVerify || r.stdout != "" {
		t.Errorf("%+v", r)
	}
}
