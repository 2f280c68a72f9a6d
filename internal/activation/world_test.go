package activation

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/releases"
)

// noon is when tests begin.
func noon() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// world is a registry, a signer and a node that trusts it.
type world struct {
	registry *releases.Registry
	key      *releases.Key
	node     *node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{registry: releases.NewRegistry(t), key: releases.TrustedKey(t)}
	w.node = newNode(t, w.registry.Source(t, w.registry.Ref(t, releases.Channel)))
	w.node.trust.Store(releases.Trust(t, releases.Channel, "", w.key))
	return w
}

// publish signs a release and has the channel's tag name it.
func (w *world) publish(t *testing.T, r releases.Release) *releases.Made {
	t.Helper()
	if r.Key == nil {
		r.Key = w.key
	}
	m := r.Make(t)
	w.registry.Publish(t, releases.Channel, m)
	return m
}

// node is an Activator over an engine, which it can lose and get again.
type node struct {
	Options
	*Activator

	engine *engine.Engine
	trust  atomic.Pointer[signing.Trust]
	clock  atomic.Pointer[time.Time]
	halt   func() // of one that runs: ends and closes it, once

	mu     sync.Mutex
	events []Event
}

func newNode(t *testing.T, source distribution.Source) *node {
	t.Helper()
	n := &node{}
	n.at(noon())
	n.Options = Options{
		Dir: t.TempDir(), Source: source, Trust: n.trust.Load, Now: func() time.Time { return *n.clock.Load() },
		Activate: func(_ context.Context, a Activation) error {
			n.engine.Swap(a.Policy)
			return nil
		},
		Record: func(_ context.Context, e Event) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.events = append(n.events, e)
		},
	}
	return n
}

func (n *node) at(now time.Time) { n.clock.Store(&now) }

// start opens the directory with an empty engine, as a new process does.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.stop(t)
	n.engine = engine.New()
	a, err := Open(t.Context(), n.Options)
	if err != nil {
		t.Fatal(err)
	}
	n.Activator = a
	t.Cleanup(func() { n.stop(t) })
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.Activator == nil {
		return
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	n.Activator = nil
}

// poll does one round and returns the code of its error, "" for none.
func (n *node) poll(t *testing.T) string {
	t.Helper()
	if _, err := n.Poll(t.Context()); err != nil {
		return CodeOf(err)
	}
	return ""
}

// take returns the events since the last call, as "kind code".
func (n *node) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, e := range n.events {
		text := e.Kind
		if e.Code != "" {
			text += " " + e.Code
		}
		list = append(list, text)
	}
	n.events = nil
	return list
}

// wantEvents fails unless exactly those happened since the last call.
func (n *node) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// serves fails unless the policy of exactly that version decides; 0 is none.
func (n *node) serves(t *testing.T, version int) {
	t.Helper()
	for v := 1; v <= 9; v++ {
		d, err := n.engine.Decide(t.Context(), releases.Question(v))
		if err != nil {
			t.Fatal(err)
		}
		if d.Allow != (v == version) {
			t.Fatalf("the metric of version %d: %s under %s, want version %d to decide", v, d.Outcome, d.Revision, version)
		}
	}
}

// problem fails unless the status says exactly that, "" for nothing.
func (n *node) problem(t *testing.T, code string) {
	t.Helper()
	s := n.Status()
	got := ""
	if s.LastError != nil {
		got = s.LastError.Code
	}
	if got != code || len(s.Problems) > 1 || s.Degraded != (code != "" || s.Digest == "") {
		t.Errorf("status %+v, want the problem %q alone", s, code)
	}
}

// silence is a registry that does not answer.
func silence(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	http.Error(w, "gone", http.StatusBadGateway)
}
