package enforcement

import (
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// state is what follows from a prefix of the ledger, and from nothing else: no clock,
// no charter, no setting. It is not safe for concurrent use.
type state struct {
	next       uint64    // index of the first entry that is not folded
	at         time.Time // of the latest that was
	nodes      map[string]*node
	threads    map[thread]*denials
	waiting    map[thread]bool // threads with denials that have no incident yet
	owing      map[string]int  // how many of these a node has
	violations map[string]*Violation
	listed     []string // ids of violations, oldest first
	due        []string // ids of violations whose change of standing is not in the ledger yet
	cases      map[string]*Investigation
	opened     []string // their ids, oldest first
	overrides  map[string]*Override
	declared   []string // their ids, oldest first
	nonces     map[string]time.Time
	lifts      map[lifted][]lift
	committee  []ledger.Member
	seats      uint64 // how many entries have changed it
	// ends are by what ends by itself when it does.
	ends map[end]time.Time

	// version grows with every change of what the state document says; touched has
	// that of the last change of a node.
	version uint64
	touched map[string]uint64
	// set are ends that are new since somebody looked. It is no part of what is
	// folded.
	set []end
}

// node is the standing of one node and what it comes from.
type node struct {
	standing  string
	index     uint64 // of the entry that says so
	since     time.Time
	until     time.Time
	level     int
	restore   string
	cause     string
	incidents []incident // by time
	revoked   *Revocation
}

// incident is a violation that counted once.
type incident struct {
	at  time.Time
	id  string
	out bool // it was unfounded
}

// thread is what incidents are told apart by.
type thread struct{ node, clause string }

// denials are those of a thread.
type denials struct {
	incident string    // id of the latest; "" for none
	last     time.Time // denial that belongs to it
	quiet    time.Duration
	pending  []denial // that begin an incident, and those after them
}

// denial is one that counts.
type denial struct {
	index    uint64
	at       time.Time
	metric   string
	severity string
}

// end is something that ends by itself.
type end struct {
	what string // one of the constants
	id   string
}

// What ends by itself.
const (
	endOfStanding = "standing" // id is that of the node
	endOfOverride = "override"
	endOfExport   = "export" // id is that of the node
	endOfCase     = "case"   // the time in which an investigation ought to be closed
)

func newState() *state {
	return &state{
		nodes: map[string]*node{}, threads: map[thread]*denials{}, waiting: map[thread]bool{}, owing: map[string]int{}, violations: map[string]*Violation{},
		cases: map[string]*Investigation{}, overrides: map[string]*Override{}, nonces: map[string]time.Time{}, ends: map[end]time.Time{},
		touched: map[string]uint64{}, lifts: map[lifted][]lift{},
	}
}

// node returns what is known of a node, new when nothing is.
func (s *state) node(id string) *node {
	n := s.nodes[id]
	if n == nil {
		n = &node{standing: Good}
		s.nodes[id] = n
	}
	return n
}

// apply folds one entry. Entries come in the order of their index.
func (s *state) apply(ev *event) {
	s.next, s.at = ev.index+1, ev.at
	switch e := &ev.entry; e.Kind {
	case ledger.Denial, ledger.Conflict:
		if attempt(e) {
			s.denied(thread{e.Node, e.Clause}, denial{ev.index, ev.at, e.Metric, e.Severity})
		}
	case ledger.Violation:
		s.violated(ev)
	case ledger.Standing:
		s.stood(ev)
	case ledger.Investigation:
		s.investigated(ev)
	case ledger.Override:
		s.overrode(ev)
	case ledger.Revocation:
		s.revoked(ev)
	case ledger.Membership:
		s.seated(ev)
	}
}

// denied adds a denial to its thread.
func (s *state) denied(key thread, d denial) {
	t := s.threads[key]
	if t == nil {
		t = &denials{}
		s.threads[key] = t
	}
	if len(t.pending) == 0 && t.belongs(d.at) {
		s.extend(t, d)
		return
	}
	t.pending = append(t.pending, d)
	if !s.waiting[key] {
		s.waiting[key] = true
		s.owing[key.node]++
	}
}

// belongs reports whether a denial at a time belongs to the latest incident.
func (t *denials) belongs(at time.Time) bool {
	return t.incident != "" && at.Sub(t.last) < t.quiet
}

func (s *state) extend(t *denials, d denial) {
	t.last = d.at
	if v := s.violations[t.incident]; v != nil {
		v.Denials++
		v.Last = d.at
	}
}

// begin makes an incident the latest of its thread: it takes the pending denials
// that belong to it.
func (s *state) begin(key thread, v *Violation) {
	t := s.threads[key]
	if t == nil {
		t = &denials{}
		s.threads[key] = t
	}
	t.incident, t.last, t.quiet = v.ID, v.Time, v.Quiet
	for len(t.pending) > 0 && v.Denial != nil && t.pending[0].index <= *v.Denial {
		t.pending = t.pending[1:]
	}
	for len(t.pending) > 0 && t.belongs(t.pending[0].at) {
		s.extend(t, t.pending[0])
		t.pending = t.pending[1:]
	}
	if len(t.pending) == 0 {
		t.pending = nil
		if s.waiting[key] {
			delete(s.waiting, key)
			if s.owing[key.node]--; s.owing[key.node] == 0 {
				delete(s.owing, key.node)
			}
		}
	}
}

// owes reports whether the ledger lacks consequences for one of the nodes.
func (s *state) owes(nodes []string) bool {
	for _, id := range nodes {
		if s.owing[id] > 0 {
			return true
		}
		for _, due := range s.due {
			if s.violations[due].Node == id {
				return true
			}
		}
	}
	return false
}

// count adds an incident to a node. Denials come in the order of time, reports are
// confirmed at any.
func (n *node) count(i incident) {
	place, _ := slices.BinarySearchFunc(n.incidents, i.at, func(have incident, at time.Time) int {
		if have.at.After(at) {
			return 1
		}
		return -1
	})
	n.incidents = slices.Insert(n.incidents, place, i)
}

// touch notes that the state document says something else of a node.
func (s *state) touch(id string) {
	s.version++
	s.touched[id] = s.version
}

// ends sets when something ends by itself; the zero time is never.
func (s *state) endAt(e end, at time.Time) {
	if at.IsZero() {
		delete(s.ends, e)
		return
	}
	s.ends[e] = at
	s.set = append(s.set, e)
}
