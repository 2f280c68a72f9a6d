package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/compile"
)

// wide writes a charter of n clauses, of the shapes that real ones have: two of
// three exact names, the others globs under common prefixes, a few without one.
func wide(n int, head string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: charter/v1
kind: Charter
%s
access_levels: [public, operator]
purposes: [operations]
roles:
  - {name: node_operator, reads: ["*"], collects: ["*"], requires: [mtls]}
forbidden:
  - {id: privacy.location, match: ["*_location*", "*gps*"], labels: [latitude, "geo_*"], severity: high, reason: r, protected: true}
  - {id: privacy.identity, match: ["user_*", "*_serial", "*_uuid*"], severity: high, reason: r}
metrics:
  infrastructure:
`, head)
	for i := range n {
		match := fmt.Sprintf("node_sub%d_metric_%d_total", i%50, i)
		switch {
		case i%50 == 3:
			match = fmt.Sprintf("*_kind%d_bytes", i)
		case i%3 == 0:
			match = fmt.Sprintf("node_sub%d_group_%d_*", i%50, i)
		}
		fmt.Fprintf(&b, "    - {id: clause.%d, match: [\"%s\"], access: operator, purposes: [operations], retention: 30d, labels: {drop: [address]}, protected: %v}\n", i, match, i%2 == 0)
	}
	return b.String()
}

const (
	alone = "metadata: {name: wide, version: 1.0.0}"
	above = "metadata: {name: over, version: 1.0.0}\nextends: base.yaml"
)

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		files := map[string]string{"charter.yaml": wide(n, alone)}
		b.Run(fmt.Sprintf("alone/%d", n), func(b *testing.B) {
			c := load(b, files)
			for b.Loop() {
				compile.Check(c)
			}
		})
		files = map[string]string{"base.yaml": wide(n, alone), "charter.yaml": wide(n, above)}
		b.Run(fmt.Sprintf("derived/%d", n), func(b *testing.B) {
			c := load(b, files)
			for b.Loop() {
				compile.Check(c)
			}
		})
	}
}
