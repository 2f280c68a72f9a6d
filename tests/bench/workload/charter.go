package workload

import (
	"bytes"
	"fmt"
	"strings"
)

// Expires is when the charter lapses; there is no grace. RFC 3339.
const Expires = "2029-01-11T00:00:00Z"

// YAML returns the charter. It also forbids what a real charter forbids, two
// patterns of names and one label; no question meets them, and no rival is asked to look.
func (s *Spec) YAML() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `apiVersion: charter/v1
kind: Charter
metadata: {name: bench, version: 1.0.0, expires: %q}
access_levels: [%s]
purposes: [%s]
roles:
  - {name: %s, reads: [public], collects: ["*"], requires: [%s]}
  - {name: %s, reads: ["*"]}
forbidden:
  - {id: privacy.location, match: ["*_location*", "*gps*"], labels: [latitude], severity: critical, reason: location can endanger people, protected: true}
nodes:
  groups:
    - {name: fleet, match: [%s]}
  entries:
`, Expires, list(Levels()), list(Purposes()), Operator, list(Claims()), Auditor, list(s.Nodes))
	for _, node := range s.Quarantined {
		fmt.Fprintf(&b, "    - {node: %s, status: quarantined, reason: under investigation}\n", node)
	}
	b.WriteString("metrics:\n")
	for _, category := range Categories() {
		fmt.Fprintf(&b, "  %s:\n", category)
		for _, clauses := range [][]Clause{s.Exact, s.Globs} {
			for _, c := range clauses {
				if c.Category != category {
					continue
				}
				fmt.Fprintf(&b, "    - {id: %s, match: [\"%s\"], access: %s, purposes: [%s], retention: 30d, nodes: [\"group:fleet\"], labels: {drop: [address]}}\n",
					c.ID, strings.Join(c.Match, `", "`), c.Access, list(Purposes()[:2]))
			}
		}
	}
	return b.Bytes()
}

func list(names []string) string { return strings.Join(names, ", ") }
