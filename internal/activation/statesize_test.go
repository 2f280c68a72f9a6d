package activation

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
)

// restricted is a document that quarantines so many nodes, with the texts that a server
// gives them.
func restricted(nodes int, prefix, reason string) doc {
	says := rows{}
	for i := range nodes {
		says[fmt.Sprintf("%s-%06d.berlin.example.org", prefix, i)] = doc{"state": "quarantined", "reason": reason, "until": "2026-07-01T12:00:00.123456789Z"}
	}
	return doc{"standing": says}
}

// 100,000 restrictions fit into what a node takes by default; whoever signs states can
// send no more than that.
func TestStateSize(t *testing.T) {
	d := restricted(100_000, "edge", "the third violation within 30 days; lifted by a vote of the committee")
	s, err := bundle.NewState(1, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := s.Archive()
	if err != nil {
		t.Fatal(err)
	}
	if s.Size() > DefaultMaxState*3/4 || int64(len(archive)) > MaxPackedState(DefaultMaxState)*3/4 {
		t.Errorf("100,000 restrictions are %d bytes, %d packed: less than a quarter is left", s.Size(), len(archive))
	}
	t.Logf("100,000 restrictions are %d bytes, %d packed", s.Size(), len(archive))
	m := newMeshNode(t, "optional")
	m.node.MaxState = 1 << 20
	m.node.start(t)
	small := restricted(10, "edge", "x")
	if code := m.hears(t, statement{says: small, sequence: 1}); code != "" {
		t.Fatal(code)
	}
	large := doc(maps.Clone(small))
	large["padding"] = strings.Repeat("x", 1<<20)
	if code := m.hears(t, statement{says: large, sequence: 2}); code != bundle.CodeTooLarge {
		t.Errorf("code %q", code)
	}
	if st := m.node.Status(); st.State.Sequence != 1 || st.State.Restricted != 10 {
		t.Errorf("%+v", st.State)
	}
}

// A node keeps what vanishes from one bundle to the next, and not without an end: beyond
// a bound the bundle is refused, and all that was held stays so, also after a restart.
func TestHeldRestrictionsAreBounded(t *testing.T) {
	m := newMeshNode(t, "optional")
	m.node.MaxState = 64 << 10
	m.node.start(t)
	const each, most = 100, 64 << 10 / restriction
	sequence, code := int64(0), ""
	for code == "" {
		if sequence++; sequence > 10 {
			t.Fatal("it goes on and on")
		}
		code = m.hears(t, statement{says: restricted(each, fmt.Sprint("site-", sequence), "x"), sequence: sequence})
	}
	if held := (sequence - 1) * each; code != CodeTooManyHeld || held > most || held+each <= most {
		t.Errorf("%s after %d restrictions, at most %d", code, held, most)
	}
	want := int(sequence-1) * each
	for range 2 {
		if st := m.node.Status(); st.State.Restricted != want || st.State.Sequence != sequence-1 {
			t.Errorf("%+v, want %d restrictions", st.State, want)
		}
		m.node.start(t)
	}
	if code := m.hears(t, statement{says: restricted(each, "site-1", "x"), sequence: sequence + 1}); code != "" {
		t.Errorf("one that adds nothing: %s", code)
	}
}
