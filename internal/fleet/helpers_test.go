package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/release"
)

const production = "production"

// book is a ledger that knows a request that comes back, as the real one does: by its id
// and who made it.
type book struct {
	mu      sync.Mutex
	entries []ledger.Entry
	seen    map[string]bool
	down    bool
}

func (b *book) AppendAll(_ context.Context, entries []ledger.Entry, _ ledger.Level) ([]ledger.Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errors.New("the ledger is down")
	}
	for _, e := range entries {
		if b.seen == nil {
			b.seen = map[string]bool{}
		}
		if !b.seen[e.RequestID] {
			b.entries = append(b.entries, e)
		}
		b.seen[e.RequestID] = e.Principal != ""
	}
	return make([]ledger.Position, len(entries)), nil
}

// actions are what the ledger says was done.
func (b *book) actions(t testing.TB) []string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.entries {
		list = append(list, stepOf(t, e).Action)
	}
	return list
}

// quick does without syncing, where a test is not about crashes of the machine.
func quick() disk {
	return disk{
		func(path string, data []byte) error {
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
		},
		func(dir string) error { return os.MkdirAll(dir, 0o700) },
	}
}

func open(t testing.TB, o Options) *Fleet {
	t.Helper()
	f, err := openOn(quick(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// signed is a release as a verifier would return it; text stands for its archive.
func signed(channel string, sequence int64, text string) Release {
	archive := []byte(text)
	m := release.NewManifest(release.Digest(archive), int64(len(archive)), "revision-"+text)
	return Release{
		Channel: channel, Sequence: sequence, Digest: m.Digest(), Layer: m.Layer.Digest, Revision: m.Revision, Signers: []string{"release"},
		Content: Content{Manifest: m.Bytes(), Archive: archive, Statements: fmt.Appendf(nil, "statement %d\n", sequence)},
	}
}

// released is a fleet in which text "a" is sequence 1 for everybody, and "b" is
// published as 3 with "a" as its rollback 4.
func released(t testing.TB, o Options) *Fleet {
	t.Helper()
	f := open(t, o)
	ctx := t.Context()
	must(t)(f.Publish(ctx, "ana", []Release{signed(production, 1, "a")}))
	mustBegin(t, f, 1, Plan{Stages: []Stage{{Percent: 100}}, Gates: DefaultGates()})
	if _, err := f.Promote(ctx, "ana", production); err != nil {
		t.Fatal(err)
	}
	must(t)(f.Publish(ctx, "ana", []Release{signed(production, 3, "b"), signed(production, 4, "a")}))
	return f
}

// isCode reports whether an error is a refusal with a code.
func isCode(err error, code Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

func must(t testing.TB) func(Published, error) Published {
	return func(p Published, err error) Published {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func mustBegin(t testing.TB, f *Fleet, sequence int64, p Plan) Rollout {
	t.Helper()
	r, err := f.Begin(t.Context(), "ana", production, sequence, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// running is a report of a node that runs a sequence.
func running(name string, sequence int64, now time.Time) Report {
	text := map[int64]string{1: "a", 3: "b", 4: "a"}[sequence]
	r := Report{Node: name, Time: now, Interval: 30, Decisions: Decisions{Started: now.Truncate(24 * time.Hour)}}
	if sequence > 0 {
		s := signed(production, sequence, text)
		r.Status = Status{Channel: production, Sequence: sequence, HighWater: sequence, Digest: s.Digest, Revision: s.Revision}
	}
	return r
}

func (f *Fleet) mustReport(t rapid.TB, r Report) Desired {
	t.Helper()
	d, err := f.Report(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// offered is the sequence that a node is given; 0 for none.
func offered(f *Fleet, node string) int64 {
	r, _, _, ok := f.Offer(production, node)
	if !ok {
		return 0
	}
	return r.Sequence
}

// latest is the rollout of the only channel.
func latest(t testing.TB, f *Fleet) Progress {
	t.Helper()
	list := f.Rollouts()
	if len(list) != 1 {
		t.Fatalf("%d rollouts", len(list))
	}
	return list[0]
}
