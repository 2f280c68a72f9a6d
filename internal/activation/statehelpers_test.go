package activation

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/committee/committeetest"
	"github.com/westworld-charter/charter/internal/release"
)

// mesh is the charter of tests about state: ana, ben and chidi are its committee.
const mesh = `
apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: %s}
access_levels: [public]
purposes: [operations, billing]
roles:
  - {name: node_operator, collects: ["*"], reads: ["*"], exports: [public]}
  - {name: responder, collects: ["*"], reads: ["*"], exports: [public], renew: 2h}
nodes:
  groups: [{name: berlin, labels: {site: berlin}}]
metrics:
  network:
    - {id: net.latency, match: [latency], access: public, operations: [collect, read, export], purposes: [operations], retention: 30d}
    - {id: net.core, match: [core], access: public, operations: [collect, read, export], retention: 30d, protected: true}
    - {id: net.berlin, match: [berlin], access: public, retention: 30d, nodes: ["group:berlin"]}
enforcement: {mode: enforce, unknown: deny, state: %s}
committee:
  members: [%s]
  quorum: {power: 0.66, heads: 2}
emergency: {max: 4h, renew: 2h, quorum: 0.66, may: [retention, purposes]}
`

// people are the members of a committee.
type people []*committee.Key

func newPeople(t testing.TB) people {
	t.Helper()
	return committeetest.Keys(t, 3)
}

// text is the charter of a mesh with those people.
func (all people) text(version, state string) string {
	var members []string
	for i, key := range all {
		members = append(members, fmt.Sprintf("{id: m%d, address: %q, power: 1}", i, key.Address()))
	}
	return fmt.Sprintf(mesh, version, state, strings.Join(members, ", "))
}

func (all people) charter(t testing.TB) *charter.Charter {
	t.Helper()
	c, findings := charter.Parse("charter.yaml", []byte(all.text("1.0.0", "optional")))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	return c
}

// sign has the first n sign a request that can have effect for an hour. What is
// missing in it is filled in.
func (all people) sign(t rapid.TB, n int, now time.Time, r committee.Request) committee.Signed {
	t.Helper()
	if r.Charter == "" {
		r.Charter = "mesh"
	}
	return committeetest.Sign(t, now, r, all[:n]...)
}

// loosen is a request for an override of net.latency that begins at a time.
func loosen(from time.Time, d time.Duration) committee.Request {
	from = from.Truncate(time.Second)
	return committee.Request{Kind: committee.Override, Clauses: []string{"net.latency"}, Retention: "60d", From: from, Until: from.Add(d)}
}

func idOf(t rapid.TB, s committee.Signed) string {
	t.Helper()
	id, err := s.Request.ID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

type (
	doc  = map[string]any
	rows = map[string]any
)

// encoded is a document as a bundle has it.
func encoded(t rapid.TB, d doc) doc {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	d, err = bundle.ParseObject(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newState(t rapid.TB, sequence int64, d doc, signed ...committee.Signed) *bundle.State {
	t.Helper()
	var proofs []json.RawMessage
	for _, s := range signed {
		text, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		proofs = append(proofs, text)
	}
	s, err := bundle.NewState(sequence, encoded(t, d), proofs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// believer is a node as far as holdings go.
type believer struct {
	holding

	charter  *charter.Charter
	now      time.Time
	last     *bundle.State
	granted  map[string]any
	findings findings
}

// hears puts the next bundle of a server on top, issued now.
func (b *believer) hears(t rapid.TB, d doc, signed ...committee.Signed) {
	t.Helper()
	b.last = newState(t, b.Sequence+1, d, signed...)
	b.again(release.State{Charter: "mesh", Sequence: b.Sequence + 1, Issued: b.now, Expires: b.now.Add(15 * time.Minute)})
}

func (b *believer) again(p release.State) {
	b.holding, b.granted, b.findings = b.next(b.last, p, fmt.Sprint("sha256:", p.Sequence), b.charter, b.now)
}

// gated reports whether a node may not collect.
func (b *believer) gated(node string) bool {
	s, held := b.Standing[node]
	return held && !over(s.Until, b.now)
}
