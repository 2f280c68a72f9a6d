package activation

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/releases"
)

// Whatever is published, cut off, tampered with, restarted and however clocks go: the
// sequence in force never decreases, nothing decides that was not released, and after
// everything is healed the newest release decides.
func TestAlwaysForward(t *testing.T) {
	draws(t, "4", "300")
	rapid.Check(t, func(rt *rapid.T) {
		f := newFate(t, rt)
		defer f.stop(t)
		rt.Repeat(map[string]func(*rapid.T){
			"publish": f.publish, "forge": f.forge, "move back": f.moveBack, "partition": f.partition, "poll": f.poll,
			"restart": f.restart, "spoil": f.spoil, "clock": f.clockGoes, "": f.check,
		})
		f.heal(rt)
	})
}

// draws sets how often the properties of a test are checked: more with CHARTER_LONG.
func draws(t *testing.T, short, long string) {
	t.Helper()
	count := short
	if os.Getenv("CHARTER_LONG") != "" {
		count = long
	}
	old := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", count); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", old) })
}

// fate is a node, and what happened to it.
type fate struct {
	*node

	t      *testing.T
	source *fakeSource

	next     int64 // sequence of the next release, odd
	good     map[int64]string
	newest   *releases.Made
	offered  []*releases.Made
	cut      bool
	highest  int64  // sequence that was in force
	recorded []Mark // by a ledger
}

var errCut = &distribution.Error{Code: distribution.CodeUnreachable, Where: "oci://x", Err: errors.New("no route")}

func newFate(t *testing.T, rt *rapid.T) *fate {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "node")
	if err != nil {
		t.Fatal(err)
	}
	f := &fate{t: t, source: newFake(nil, errCut), next: 1, good: map[int64]string{}}
	f.node = newNode(t, f.source)
	f.Dir = dir
	f.trust.Store(releases.Trust(t, releases.Channel, "", releases.TrustedKey(t)))
	f.Activate = func(_ context.Context, a Activation) error {
		switch digest, ok := f.good[a.Sequence]; {
		case a.Sequence < f.highest:
			rt.Errorf("sequence %d is in force after %d was", a.Sequence, f.highest)
		case !ok || digest != a.Digest:
			rt.Errorf("%s of sequence %d is in force and was never released", a.Digest, a.Sequence)
		}
		f.highest = a.Sequence
		f.recorded = []Mark{{a.Channel, a.Sequence, a.Digest}}
		f.engine.Swap(a.Policy)
		return nil
	}
	f.publish(rt)
	f.restart(rt)
	return f
}

func (f *fate) make(r releases.Release) *releases.Made {
	if r.Key == nil {
		r.Key = releases.TrustedKey(f.t)
	}
	return r.Make(f.t)
}

func (f *fate) offer(m *releases.Made) {
	f.offered = append(f.offered, m)
	f.reveal()
}

// reveal shows the node what is offered last, unless it is cut off.
func (f *fate) reveal() {
	if f.cut {
		f.source.offer(nil, errCut)
		return
	}
	f.source.offer(f.offered[len(f.offered)-1], nil)
}

func (f *fate) publish(rt *rapid.T) {
	r := releases.Release{Version: rapid.IntRange(1, 3).Draw(rt, "version"), Sequence: f.next}
	if rapid.IntRange(0, 3).Draw(rt, "short") == 0 {
		r.Expires = f.Now().Add(36 * time.Hour)
	}
	m := f.make(r)
	f.good[f.next], f.newest = m.Digest(), m
	f.next += 2
	f.offer(m)
}

// forge offers what must never be in force.
func (f *fate) forge(rt *rapid.T) {
	r := releases.Release{Version: rapid.IntRange(4, 6).Draw(rt, "version"), Sequence: f.next + 100}
	kind := rapid.SampledFrom([]string{"stranger", "channel", "expired", "unsigned", "reused", "swapped archive"}).Draw(rt, "kind")
	switch kind {
	case "stranger":
		r.Key = releases.StrangeKey(f.t)
	case "channel":
		r.Channel = "staging"
	case "expired":
		r.Expires = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	case "reused":
		r.Sequence = max(f.highest, 1) // of the release in force, if there is one
		if f.highest == 0 {
			return
		}
	}
	m := f.make(r)
	switch kind {
	case "unsigned":
		m.Statements = nil
	case "swapped archive":
		m.Archive = f.make(releases.Release{Version: 7, Sequence: 1}).Archive
	}
	f.offer(m)
}

func (f *fate) moveBack(rt *rapid.T) {
	f.offer(f.offered[rapid.IntRange(0, len(f.offered)-1).Draw(rt, "which")])
}

func (f *fate) partition(*rapid.T) {
	f.cut = !f.cut
	f.reveal()
}

func (f *fate) poll(*rapid.T) {
	_, _ = f.Poll(f.t.Context())
}

func (f *fate) restart(rt *rapid.T) {
	f.stop(f.t)
	f.Known = f.recorded
	f.engine = engine.NewWith(engine.Options{CacheSize: -1})
	a, err := Open(f.t.Context(), f.Options)
	if err != nil {
		rt.Fatal(err)
	}
	f.Activator = a
}

// spoil changes, empties or removes a file on disk, which the next start sees.
func (f *fate) spoil(rt *rapid.T) {
	var files []string
	_ = filepath.WalkDir(f.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		return
	}
	path := files[rapid.IntRange(0, len(files)-1).Draw(rt, "file")]
	data, err := os.ReadFile(path)
	if err != nil {
		rt.Fatal(err)
	}
	switch rapid.IntRange(0, 2).Draw(rt, "how") {
	case 0:
		err = os.Remove(path)
	case 1:
		data = data[:rapid.IntRange(0, len(data)).Draw(rt, "length")]
		err = os.WriteFile(path, data, 0o600)
	default:
		if len(data) > 0 {
			data[rapid.IntRange(0, len(data)-1).Draw(rt, "byte")] ^= byte(1 + rand.IntN(255))
		}
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		rt.Fatal(err)
	}
}

func (f *fate) clockGoes(rt *rapid.T) {
	f.at(f.Now().Add(time.Duration(rapid.IntRange(-48, 48).Draw(rt, "hours")) * time.Hour))
}

// check holds what decides against what the status says, and against what was released.
func (f *fate) check(rt *rapid.T) {
	s := f.Status()
	p := f.engine.Current()
	switch {
	case (p == nil) != (s.Digest == ""):
		rt.Errorf("the status says %+v, and something else decides", s)
	case p != nil && (p.Revision() != s.Revision || f.good[s.Sequence] != s.Digest):
		rt.Errorf("%s decides, the status says %+v", p.Revision(), s)
	case s.HighWater.Sequence < s.Sequence:
		rt.Errorf("the mark is below what is in force: %+v", s)
	}
}

func (f *fate) heal(rt *rapid.T) {
	f.cut = false
	f.publish(rt)
	for range 2 { // the first mends the disk and says so
		if _, err := f.Poll(f.t.Context()); err != nil {
			rt.Errorf("a good release after everything: %v", err)
		}
	}
	if s := f.Status(); s.Digest != f.newest.Digest() || s.Degraded {
		rt.Errorf("after everything is healed: %+v", s)
	}
	f.restart(rt)
	if s := f.Status(); s.Digest != f.newest.Digest() || s.Degraded {
		rt.Errorf("and started again: %+v", s)
	}
}
