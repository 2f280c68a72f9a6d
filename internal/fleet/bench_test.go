package fleet

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFleet is of as many nodes as there may be.
func BenchmarkFleet(b *testing.B) {
	f, err := openOn(quick(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	must(b)(f.Publish(b.Context(), "ana", []Release{signed(production, 1, "a")}))
	mustBegin(b, f, 1, Plan{Stages: []Stage{{Percent: 100, Soak: Duration(time.Hour)}}, Gates: DefaultGates()})
	now := time.Now()
	var reports []Report
	for i := range DefaultMaxNodes {
		r := running(fmt.Sprintf("edge-%d.site-%d.example.org", i, i%50), 1, now)
		r.Labels = map[string]string{"site": fmt.Sprint(i % 50), "env": "production"}
		f.nodes[r.Node] = &node{First: now, Report: &r, Marks: map[string]*mark{production: {Ran: 1, Highest: 1}}}
		reports = append(reports, r)
	}
	i := 0
	b.Run("report", func(b *testing.B) {
		for b.Loop() {
			f.mustReport(b, reports[i%len(reports)])
			i++
		}
	})
	b.Run("offer", func(b *testing.B) {
		for b.Loop() {
			f.Offer(production, reports[i%len(reports)].Node)
			i++
		}
	})
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			if err := f.look(b.Context(), production); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			f.Nodes()
		}
	})
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			f.version++
			if err := f.saveAll(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
