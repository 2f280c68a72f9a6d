package report_test

import (
	"bytes"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

// Whatever an entry holds, it is counted or refused, and what is counted can be
// written in every format.
func FuzzEntry(f *testing.F) {
	for _, data := range []string{
		`{"counts":[{"clause":"c","count":3,"metric":"m","node":"n","operation":"collect","outcome":"allowed","role":"r"}],"from":"2026-10-01T00:00:00Z","id":"w"}`,
		`{"action":"open","id":"i","violation":"v"}`, `{"reason":"crash","window":"w"}`, `{"consequence":{"level":2,"action":"suspend","count":1},"id":"v","source":"denial"}`,
		`{"new":"k","old":"j","signature":""}`, `{"from":1,"to":0}`, `{"messages":-1,"receiver":"` + "`|<b>" + `"}`, `[]`, `{"percent":200}`, "",
		`{"action":"publish","channel":"c","sequence":3,"rollback":4,"rollback_digest":"d","signers":["s"]}`,
		`{"action":"rollback","channel":"c","sequence":3,"rollback":3,"stage":-1,"stages":1,"cause":{"gate":"errors","value":1e300,"limit":-0,"reached":-1,"reports":1}}`,
		`{"action":"finish","channel":"c|` + "`" + `","sequence":-1}`, `{"action":"went-backwards","sequence":9,"before":10}`,
		`{"trigger":"release","release":"sha256:","channel":"c","sequence":3,"expires":"x","result":"refused","part":"state","code":"c","repeats":18446744073709551615}`,
	} {
		for i := range ledger.Kinds() {
			f.Add(uint8(i), "n", "m|`", data)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, node, metric, data string) {
		e := ledger.Entry{
			Schema: ledger.Schema, Kind: ledger.Kinds()[int(kind)%len(ledger.Kinds())], Time: "2026-10-05T00:00:00.000000000Z", Node: node, Metric: metric, Data: []byte(data),
			Operation: "collect", Clause: node, Severity: metric, Outcome: node, Reasons: []ledger.Reason{{Code: metric}},
		}
		if data == "" {
			e.Data = nil
		}
		body, err := e.Body()
		if err != nil {
			return
		}
		columns, _, err := ledger.ScanBody(body)
		if err != nil {
			return
		}
		for _, b := range []report.Builder{report.NewAudit(report.Options{Period: q4, Rows: 2}), report.NewCollection(node, report.Options{Period: q4, Rows: 2})} {
			row := ledger.Row{Body: body, Columns: columns}
			if b.Add(row) != nil {
				continue
			}
			row.Index = 1
			if err := b.Add(row); err != nil {
				t.Fatal(err)
			}
			d, err := b.Document(nil, report.Assurance{})
			if err != nil {
				t.Fatal(err)
			}
			for _, format := range report.Formats() {
				var out bytes.Buffer
				if err := report.Write(&out, format, d); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
