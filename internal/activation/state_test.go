package activation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/statedoc"
	"github.com/westworld-charter/charter/tests/releases"
)

// shelf is a source that holds one release.
type shelf struct {
	mu    sync.Mutex
	made  *releases.Made // nil: it does not answer
	loads int
}

func (s *shelf) put(m *releases.Made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = m
}

func (s *shelf) Resolve(_ context.Context, previous distribution.Resolved, _ time.Duration) (distribution.Resolved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		return distribution.Resolved{}, &distribution.Error{Code: distribution.CodeUnreachable, Err: errors.New("silence")}
	}
	r := distribution.Resolved{Digest: s.made.Digest(), Manifest: s.made.Manifest.Bytes(), Statements: s.made.Statements}
	r.Unchanged = r.Digest == previous.Digest && len(r.Statements) == len(previous.Statements)
	return r, nil
}

func (s *shelf) Layer(context.Context, distribution.Resolved) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	return s.made.Archive, nil
}

// statement is a state bundle as a server makes it. Zero fields are made of the others.
type statement struct {
	sequence int64
	says     doc
	proofs   []committee.Signed
	key      *releases.Key
	issued   time.Time
	edit     func(*release.State)
	archive  []byte
	subject  string
	kind     string
}

func (s statement) make(t testing.TB) *releases.Made {
	t.Helper()
	if s.key == nil {
		s.key = releases.StrangeKey(t)
	}
	if s.says == nil {
		s.says = doc{}
	}
	if s.archive == nil {
		archive, err := newState(t, s.sequence, s.says, s.proofs...).Archive()
		if err != nil {
			t.Fatal(err)
		}
		s.archive = archive
	}
	about := release.State{Charter: "mesh", Sequence: s.sequence, Issued: s.issued, Expires: s.issued.Add(15 * time.Minute)}
	if s.edit != nil {
		s.edit(&about)
	}
	m := release.NewManifest(release.Digest(s.archive), int64(len(s.archive)), fmt.Sprint("state-", s.sequence))
	if s.subject == "" {
		s.subject = m.Digest()
	}
	if s.kind == "" {
		s.kind = release.StateType
	}
	return &releases.Made{Manifest: m, Archive: s.archive, Statements: [][]byte{s.key.State(t, s.subject, s.kind, about)}}
}

// meshNode is a node of a mesh with a server.
type meshNode struct {
	*node
	policy, state shelf
	people        people
}

func trustState(t testing.TB, more string) *signing.Trust {
	t.Helper()
	key := strings.ReplaceAll(strings.TrimSpace(string(releases.StrangeKey(t).Public())), "\n", "\n        ")
	return releases.Trust(t, releases.Channel, "state:\n  keys:\n    - |\n        "+key+"\n"+more, releases.TrustedKey(t))
}

func newMeshNode(t *testing.T, required string) *meshNode {
	t.Helper()
	m := &meshNode{people: newPeople(t)}
	m.node = newNode(t, &m.policy)
	m.StateSource = &m.state
	m.trust.Store(trustState(t, ""))
	m.release(t, 1, "1.0.0", required)
	return m
}

// release offers a charter that requires state or does not.
func (m *meshNode) release(t *testing.T, sequence int64, version, required string) {
	t.Helper()
	c, findings := charter.Parse("charter.yaml", []byte(m.people.text(version, required)))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	m.policy.put(releases.Release{Archive: releases.Archive(t, b), Sequence: sequence, Key: releases.TrustedKey(t), Edit: func(p *release.Policy) {
		p.Revision, p.CharterDigest = c.Revision(), c.Digest()
	}}.Make(t))
}

// hears offers a state and polls; it returns the code of the error.
func (m *meshNode) hears(t *testing.T, s statement) string {
	t.Helper()
	if s.issued.IsZero() {
		s.issued = *m.clock.Load()
	}
	m.state.put(s.make(t))
	return m.poll(t)
}

// answers compares what a node may do: "collect read override", by the outcome that is not
// allowed or "allowed".
func (m *meshNode) answers(t *testing.T, name string, collect, read string) {
	t.Helper()
	for operation, want := range map[string]string{decision.Collect: collect, decision.Read: read} {
		in := decision.Input{Metric: "latency", Node: name, Role: "node_operator", Operation: operation, Time: statedoc.Text(*m.clock.Load())}
		if operation == decision.Read {
			in.Purpose, in.Retention = "operations", "60d"
		}
		d, err := m.engine.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		got := d.Outcome
		if len(d.Reasons) > 0 {
			got = d.Reasons[0].Code
		}
		if got != want {
			t.Errorf("%s of %s: %s, want %s (%v)", operation, name, got, want, d.Reasons)
		}
	}
}

// A quarantine is obeyed after one poll, and after a restart without a network.
func TestStateIsObeyed(t *testing.T) {
	m := newMeshNode(t, "optional")
	m.start(t)
	if code := m.poll(t); code != distribution.CodeUnreachable {
		t.Errorf("code %q", code)
	}
	m.answers(t, "a", "allowed", "retention_too_long")
	m.wantEvents(t, "activated", "degraded state_missing", "degraded unreachable")

	o := m.people.sign(t, 2, noon(), loosen(noon(), 2*time.Hour))
	says := quarantined("a")
	says["overrides"] = rows{idOf(t, o): doc{"until": "2026-06-01T13:00:00Z"}}
	if code := m.hears(t, statement{sequence: 5, says: says, proofs: []committee.Signed{o}}); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "a", "node_quarantined", "override_applied")
	m.answers(t, "b", "override_applied", "override_applied")
	m.wantEvents(t, "activated", "recovered state_missing", "recovered unreachable")
	m.problem(t, "")
	if s := m.Status().State; s == nil || s.Sequence != 5 || !s.Current || s.Restricted != 1 || s.Overrides != 1 || s.Charter != "mesh" || !s.LastChecked.Equal(noon()) {
		t.Errorf("%+v", s)
	}

	// The same again is no event and no download.
	loads := m.state.loads
	if code := m.hears(t, statement{sequence: 6, says: says, proofs: []committee.Signed{o}}); code != "" || m.state.loads != loads+1 {
		t.Errorf("%q, %d archives", code, m.state.loads-loads)
	}
	m.poll(t)
	m.wantEvents(t)
	if m.state.loads != loads+1 {
		t.Error("what did not change was downloaded again")
	}

	m.state.put(nil)
	m.start(t)
	m.answers(t, "a", "node_quarantined", "override_applied")
	m.wantEvents(t, "activated")
	m.problem(t, "")

	// Offline for longer than the state is good for: what restricts stays, what loosens ends.
	m.at(noon().Add(20 * time.Minute))
	m.poll(t)
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.answers(t, "b", "allowed", "retention_too_long")
	m.wantEvents(t, "degraded state_expired", "degraded unreachable")
	m.start(t)
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.wantEvents(t, "degraded state_expired", "activated")
	if s := m.Status(); !s.Degraded || s.State.Current || s.State.Overrides != 0 {
		t.Errorf("%+v", s)
	}
	if code := m.hears(t, statement{sequence: 7, says: doc{}, proofs: []committee.Signed{m.people.sign(t, 2, noon(), committee.Request{Kind: committee.Restore, Node: "a"})}}); code != "" {
		t.Error(code)
	}
	m.answers(t, "a", "allowed", "retention_too_long")
	m.problem(t, "")
}

// Where the charter requires state, collecting takes one that is current; reading goes on.
func TestRequiredState(t *testing.T) {
	m := newMeshNode(t, "required")
	m.start(t)
	m.poll(t)
	m.answers(t, "b", "state_missing", "retention_too_long")
	if code := m.hears(t, statement{sequence: 1, says: quarantined("a")}); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "b", "allowed", "retention_too_long")
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.at(noon().Add(15 * time.Minute))
	m.answers(t, "b", "state_expired", "retention_too_long") // by its own clock, without a poll
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.take()
	if code := m.poll(t); code != "" { // the server tells nothing new
		t.Error(code)
	}
	m.wantEvents(t, "degraded state_expired")
	m.problem(t, CodeStateExpired)
	m.state.put(nil)
	m.poll(t)
	m.answers(t, "b", "state_expired", "retention_too_long")
	m.start(t)
	m.answers(t, "b", "state_expired", "retention_too_long")
	if code := m.hears(t, statement{sequence: 2, says: quarantined("a")}); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "b", "allowed", "retention_too_long")

	// What the document says of itself ends it, too.
	m.hears(t, statement{sequence: 3, says: doc{"expires": "2026-06-01T12:20:00Z"}})
	m.at(noon().Add(20 * time.Minute))
	m.answers(t, "b", "state_expired", "retention_too_long")
	m.hears(t, statement{sequence: 4, says: doc{"expires": "2030-01-01"}})
	m.answers(t, "b", "allowed", "retention_too_long")
	m.hears(t, statement{sequence: 5, says: doc{"expires": "some day"}})
	m.answers(t, "b", "state_expired", "retention_too_long")
}

// Every refusal has a code, is told once, and leaves the last state in force.
func TestRefusedStates(t *testing.T) {
	for name, c := range map[string]struct {
		code  string
		offer statement
		with  func(t *testing.T, m *releases.Made)
	}{
		"older":                {CodeOlderSequence, statement{sequence: 4}, nil},
		"the same number":      {CodeSequenceReused, statement{sequence: 5, says: quarantined("b")}, nil},
		"another charter":      {CodeWrongCharter, statement{sequence: 6, edit: func(s *release.State) { s.Charter = "village" }}, nil},
		"expired":              {CodeStateExpired, statement{sequence: 6, issued: noon().Add(-15 * time.Minute)}, nil},
		"a release key":        {"untrusted_key", statement{sequence: 6, key: releases.TrustedKey(t)}, nil},
		"unsigned":             {"unsigned", statement{sequence: 6}, func(_ *testing.T, m *releases.Made) { m.Statements = nil }},
		"about another":        {"subject_mismatch", statement{sequence: 6, subject: "sha256:" + strings.Repeat("0", 64)}, nil},
		"a release statement":  {CodeMissingStatement, statement{sequence: 6, kind: release.PolicyType}, nil},
		"no number":            {release.CodeBadStatement, statement{sequence: 6, edit: func(s *release.State) { s.Sequence = 0 }}, nil},
		"another archive":      {CodeLayerMismatch, statement{sequence: 6}, func(_ *testing.T, m *releases.Made) { m.Archive = append(bytes.Clone(m.Archive), 0) }},
		"another number":       {CodeRevisionMismatch, statement{sequence: 6, edit: func(s *release.State) { s.Sequence = 7 }}, nil},
		"a policy":             {bundle.CodeUnexpectedFile, statement{sequence: 6, archive: releases.Archive(t, releases.Bundle(t, 1))}, nil},
		"an unreadable list":   {bundle.CodeBadState, statement{sequence: 6, says: doc{"standing": "all good"}}, nil},
		"an unreadable list 2": {bundle.CodeBadState, statement{sequence: 6, says: doc{"revocations": []any{}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeshNode(t, "optional")
			m.start(t)
			if code := m.hears(t, statement{sequence: 5, says: quarantined("a")}); code != "" {
				t.Fatal(code)
			}
			m.take()
			offer := c.offer
			if offer.issued.IsZero() {
				offer.issued = noon()
			}
			made := offer.make(t)
			if c.with != nil {
				c.with(t, made)
			}
			if code := m.verifies(t, made, statement{sequence: 5, says: quarantined("a")}); code != c.code {
				t.Errorf("VerifyState has the code %q, want %q", code, c.code)
			}
			m.state.put(made)
			for range 3 {
				if code := m.poll(t); code != c.code {
					t.Fatalf("code %q, want %q", code, c.code)
				}
			}
			if !slices.Contains(Codes(), c.code) {
				t.Errorf("%s is not listed", c.code)
			}
			m.wantEvents(t, "refused "+c.code)
			m.problem(t, c.code)
			m.answers(t, "a", "node_quarantined", "retention_too_long")
			m.answers(t, "b", "allowed", "retention_too_long")
			if code := m.hears(t, statement{sequence: 8, says: quarantined("b")}); code != "" {
				t.Errorf("then nothing is accepted any more: %q", code)
			}
			m.answers(t, "b", "node_quarantined", "retention_too_long")
		})
	}
}

// A state key signs no release, and without one no state is believed.
func TestStateKeysAreApart(t *testing.T) {
	m := newMeshNode(t, "optional")
	m.start(t)
	m.poll(t)
	m.take()
	m.policy.put(releases.Release{Version: 1, Sequence: 3, Key: releases.StrangeKey(t)}.Make(t))
	m.state.put(statement{sequence: 1, issued: noon()}.make(t))
	if code := m.poll(t); code != "untrusted_key" {
		t.Errorf("a release of the state key: %q", code)
	}
	m.release(t, 3, "1.0.1", "optional")
	m.trust.Store(releases.Trust(t, releases.Channel, "", releases.TrustedKey(t)))
	if code := m.hears(t, statement{sequence: 2}); code != "no_state_key" {
		t.Errorf("without a state key: %q", code)
	}
}

// What no quorum signed is believed where the trust policy says so.
func TestGrantsAndLabels(t *testing.T) {
	m := newMeshNode(t, "optional")
	m.start(t)
	says := doc{
		"grants": rows{"responder": rows{"a": doc{"granted": statedoc.Text(noon())}}},
		"nodes":  rows{"a": doc{"labels": doc{"site": "berlin"}}},
	}
	allowed := func() string {
		var got []string
		for _, q := range []struct{ metric, role string }{{"latency", "responder"}, {"berlin", "node_operator"}} {
			d, err := m.engine.Decide(t.Context(), decision.Input{Metric: q.metric, Node: "a", Role: q.role, Operation: decision.Collect, Time: statedoc.Text(noon())})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(d.Allow))
		}
		return strings.Join(got, " ")
	}
	for sequence, c := range map[int64]struct{ may, want string }{
		1: {"", "false false"}, 2: {"  may: [grants]\n", "true false"}, 3: {"  may: [labels]\n", "false true"}, 4: {"  may: [grants, labels]\n", "true true"},
	} {
		m.trust.Store(trustState(t, c.may))
		m.Dir = t.TempDir()
		m.start(t)
		if code := m.hears(t, statement{sequence: sequence, says: says}); code != "" {
			t.Fatal(code)
		}
		if got := allowed(); got != c.want {
			t.Errorf("may %q: %s, want %s", c.may, got, c.want)
		}
	}
}

// What is on disk is verified again. What cannot be, restricts and does not loosen.
func TestStateOnDisk(t *testing.T) {
	m := newMeshNode(t, "optional")
	o := m.people.sign(t, 2, noon(), loosen(noon(), 2*time.Hour))
	says := quarantined("a")
	says["overrides"] = rows{idOf(t, o): doc{"until": "2026-06-01T13:00:00Z"}}
	m.start(t)
	if code := m.hears(t, statement{sequence: 5, says: says, proofs: []committee.Signed{o}}); code != "" {
		t.Fatal(code)
	}
	m.take()

	other := trustState(t, "")
	m.trust.Store(other)
	m.poll(t)
	m.wantEvents(t) // the same keys

	m.trust.Store(releases.Trust(t, releases.Channel, "", releases.TrustedKey(t)))
	if code := m.poll(t); code != "no_state_key" {
		t.Errorf("code %q", code)
	}
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.start(t)
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.trust.Store(other)
	m.poll(t)
	m.answers(t, "a", "node_quarantined", "override_applied")
	m.problem(t, "")
	m.take()

	path := filepath.Join(m.Dir, stateDir, stateBundleFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.state.put(nil)
	for name, bad := range map[string][]byte{
		"cut off": good[:len(good)/2], "a byte": bytes.Replace(bytes.Clone(good), []byte(`"sequence":5`), []byte(`"sequence":4`), 1), "nothing": nil,
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		m.start(t)
		if events := m.take(); !slices.Contains(events, "refused "+CodeDiskTampered) {
			t.Errorf("%s: %q", name, events)
		}
		m.answers(t, "a", "allowed", "retention_too_long")
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	m.answers(t, "a", "node_quarantined", "override_applied")
	m.state.put(statement{sequence: 4, says: doc{}, issued: noon()}.make(t))
	if code := m.poll(t); code != CodeOlderSequence {
		t.Errorf("after a restart an older state: %q", code)
	}
}

// What a server claims without proof is told to operators.
func TestClaimsAreTold(t *testing.T) {
	m := newMeshNode(t, "optional")
	m.start(t)
	m.hears(t, statement{sequence: 1, says: quarantined("a")})
	m.take()
	m.hears(t, statement{sequence: 2, says: doc{}})
	m.wantEvents(t, "degraded "+CodeRestrictionKept)
	m.problem(t, CodeRestrictionKept)
	m.answers(t, "a", "node_quarantined", "retention_too_long")
	m.hears(t, statement{sequence: 3, says: quarantined("a")})
	m.wantEvents(t, "recovered "+CodeRestrictionKept)
	says := quarantined("a")
	says["overrides"] = rows{"o-1": doc{"clauses": []any{"net.latency"}, "retention": "60d", "until": "2026-06-02"}}
	m.hears(t, statement{sequence: 4, says: says})
	m.wantEvents(t, "degraded "+CodeOverrideUnproven)
	m.answers(t, "b", "allowed", "retention_too_long")
	m.problem(t, CodeOverrideUnproven)
}

// A charter with another committee ends the overrides of the one before, at once and
// without another state.
func TestAnotherCommitteeIsActivated(t *testing.T) {
	m := newMeshNode(t, "optional")
	o := m.people.sign(t, 2, noon(), loosen(noon(), 2*time.Hour))
	m.start(t)
	if code := m.hears(t, statement{sequence: 5, says: doc{"overrides": rows{idOf(t, o): doc{"until": "2026-06-01T13:00:00Z"}}}, proofs: []committee.Signed{o}}); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "a", "override_applied", "override_applied")
	first := m.people
	m.people = newPeople(t)
	m.release(t, 3, "1.1.0", "optional")
	if code := m.poll(t); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "a", "allowed", "retention_too_long")
	m.problem(t, CodeOverrideUnproven)
	m.people = first
	m.release(t, 5, "1.2.0", "optional")
	if code := m.poll(t); code != "" {
		t.Fatal(code)
	}
	m.answers(t, "a", "override_applied", "override_applied")
	m.problem(t, "")
}
