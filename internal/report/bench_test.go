package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

// BenchmarkAdd is the work of a report on one entry, without reading and verifying
// it. One entry in a hundred is a window of 20 counts.
func BenchmarkAdd(b *testing.B) {
	h := newHistory(b, q4.From.Add(time.Hour))
	var batch []ledger.Entry
	for i := range 2000 {
		e := denial(fmt.Sprintf("edge-%d", i%100), fmt.Sprintf("gps_%d", i%50), "privacy.location", "enforce", "forbidden_metric")
		if i%100 == 0 {
			var counts []ledger.Counted
			for j := range 20 {
				counts = append(counts, allowed(fmt.Sprintf("edge-%d", j), fmt.Sprintf("latency_%d", j), "net.node", uint64(i)))
			}
			e = window(fmt.Sprint(i), h.now, 0, counts...)
		}
		batch = append(batch, e)
	}
	h.add(0, batch...)
	rows := h.store.Entries
	for name, fresh := range map[string]func() report.Builder{
		"audit":      func() report.Builder { return report.NewAudit(report.Options{Period: q4}) },
		"collection": func() report.Builder { return report.NewCollection("edge-7", report.Options{Period: q4}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			builder := fresh()
			for i := range b.N {
				row := rows[i%len(rows)]
				row.Index = uint64(i)
				if err := builder.Add(row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
