package charter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// largeCharter is a charter of n clauses, one on a line.
func largeCharter(n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: charter/v1\nkind: Charter\nmetadata: {name: large, version: 1.0.0}\n" +
		"access_levels: [public]\npurposes: [operations]\nroles: [{name: public, reads: [public], collects: [network]}]\n" +
		"metrics:\n  network:\n")
	for i := range n {
		fmt.Fprintf(&b, "    - {id: net.m%d, match: [metric_name_%d], access: public, purposes: [operations], retention: 30d}\n", i, i)
	}
	return []byte(b.String())
}

// BenchmarkParse reads a charter of 1,000 clauses. The metric x_yaml is the time
// as a multiple of what the YAML library needs to read the same text in the same
// run; slow/x_yaml is that of a charter that only the library can read.
func BenchmarkParse(b *testing.B) {
	plain := largeCharter(1000)
	anchored := []byte(strings.Replace(string(plain), "[public]", "&levels [public]", 1))
	for _, c := range []struct {
		name string
		data []byte
	}{{"plain", plain}, {"slow", anchored}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var parse, library time.Duration
			for b.Loop() {
				start := time.Now()
				var n yaml.Node
				if err := yaml.Unmarshal(c.data, &n); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if c, list := Parse("large.yaml", c.data); c == nil {
					b.Fatal(list)
				}
				library += middle.Sub(start)
				parse += time.Since(middle)
			}
			b.ReportMetric(float64(parse)/float64(library), "x_yaml")
			b.ReportMetric(float64(parse.Microseconds())/float64(b.N)/1000, "ms/parse")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkCanonical(b *testing.B) {
	c, list := Parse("large.yaml", largeCharter(1000))
	if c == nil {
		b.Fatal(list)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Canonical()
	}
}
