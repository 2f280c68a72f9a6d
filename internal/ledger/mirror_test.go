package ledger_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// mirrorOf begins a copy of the log of these signers in a store.
func mirrorOf(t testing.TB, s ledger.Store, signers ...ledger.Signer) *ledger.Mirror {
	t.Helper()
	m, err := ledger.OpenMirror(t.Context(), s, ledgertest.Keys(t, signers...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// catchUp copies what the log has more, over the wire, and returns in how many steps.
func catchUp(t testing.TB, l *ledger.Log, m *ledger.Mirror) (steps int) {
	t.Helper()
	want := l.Stats().Size
	for {
		size, _ := m.Head()
		if size == want {
			return steps
		}
		if err := m.Extend(t.Context(), over(t, since(t, l, size))); err != nil {
			t.Fatal(err)
		}
		steps++
	}
}

func since(t testing.TB, l *ledger.Log, size uint64) ledger.Extension {
	t.Helper()
	x, err := l.Reader().Since(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// over sends an extension as bytes.
func over(t testing.TB, x ledger.Extension) ledger.Extension {
	t.Helper()
	wire, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ledger.ParseExtension(wire)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// An auditor reads the copy as if it was the log: whatever the sizes of its commits.
func TestMirrorIsTheLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		signer, store := ledgertest.NewSigner(t), ledgertest.NewMemory()
		l := ledgertest.NewLog(t, nil, signer, nil)
		m := mirrorOf(t, store, signer)
		for _, count := range rapid.SliceOfN(rapid.IntRange(1, 40), 1, 4).Draw(rt, "commits") {
			ledgertest.Append(t, l, count)
			if rapid.Bool().Draw(rt, "copy") {
				catchUp(t, l, m)
			}
			if rapid.Bool().Draw(rt, "restart") {
				m = mirrorOf(t, store, signer)
			}
		}
		catchUp(t, l, m)
		report, err := ledger.Verify(context.Background(), store, ledger.VerifyOptions{Keys: ledgertest.Keys(t, signer)})
		if err != nil {
			rt.Fatal(err)
		}
		_, head := m.Head()
		if want, err := l.Reader().Checkpoint(context.Background()); err != nil || string(head) != string(want) || report.Size != l.Stats().Size {
			rt.Fatalf("the copy holds %d entries under %q (%v), want %d under %q", report.Size, head, err, l.Stats().Size, want)
		}
	})
}

// The key of a node changes: its copy goes on, also after a restart, and refuses what
// the old key signs alone.
func TestMirrorFollowsRotations(t *testing.T) {
	old, next := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	store := ledgertest.NewMemory()
	l := ledgertest.NewLog(t, nil, old, nil)
	m := mirrorOf(t, store, old)
	ledgertest.Append(t, l, 3)
	catchUp(t, l, m)
	if _, err := l.Rotate(t.Context(), next, "tester"); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 2)
	catchUp(t, l, m)
	if _, _, err := l.Retire(t.Context(), "tester"); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 2)
	catchUp(t, l, m)
	m = mirrorOf(t, store, old)
	ledgertest.Append(t, l, 2)
	catchUp(t, l, m)
	if n := len(m.Keys()); n != 2 {
		t.Errorf("the copy knows %d keys, want 2", n)
	}
}

func TestMirrorRefuses(t *testing.T) {
	signer, stranger := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	log := func(signer ledger.Signer, counts ...int) *ledger.Log {
		l := ledgertest.NewLog(t, nil, signer, nil)
		for _, n := range counts {
			ledgertest.Append(t, l, n)
		}
		return l
	}
	tests := map[string]struct {
		extension func(l *ledger.Log) ledger.Extension
		want      error
	}{
		"of a stranger": {func(*ledger.Log) ledger.Extension { return since(t, log(stranger, 8), 5) }, ledger.ErrSignature},
		"an entry altered": {func(l *ledger.Log) ledger.Extension {
			x := since(t, l, 5)
			x.Entries[0] = since(t, l, 8).Entries[0]
			return x
		}, ledger.ErrDiverged},
		"an entry left out": {func(l *ledger.Log) ledger.Extension {
			x := since(t, l, 5)
			x.Entries = x.Entries[1:]
			return x
		}, ledger.ErrMalformed},
		"not an entry": {func(l *ledger.Log) ledger.Extension {
			x := since(t, l, 5)
			x.Entries[0] = jsontext.Value(`{"kind":"denial"}`)
			return x
		}, ledger.ErrMalformed},
		"without a checkpoint": {func(l *ledger.Log) ledger.Extension {
			x := since(t, l, 5)
			x.Checkpoint = ""
			return x
		}, ledger.ErrCheckpoint},
		"another history, longer":  {func(*ledger.Log) ledger.Extension { return since(t, log(signer, 9), 5) }, ledger.ErrDiverged},
		"another history, shorter": {func(*ledger.Log) ledger.Extension { return since(t, log(signer, 3), 3) }, ledger.ErrBehind},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			store := ledgertest.NewMemory()
			l := log(signer, 5)
			m := mirrorOf(t, store, signer)
			catchUp(t, l, m)
			_, before := m.Head()
			ledgertest.Append(t, l, 4)
			if err := m.Extend(t.Context(), tt.extension(l)); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if _, head := m.Head(); string(head) != string(before) {
				t.Error("the copy has changed")
			}
			catchUp(t, l, m) // and it goes on with what is right
		})
	}
}

// A node whose disk was put back shows fewer entries: that is told apart from two
// signed histories, which prove it.
func TestMirrorTellsRollbackFromFork(t *testing.T) {
	signer, past := ledgertest.NewSigner(t), ledgertest.NewMemory()
	store := ledgertest.NewMemory()
	l := ledgertest.NewLog(t, past, signer, nil)
	ledgertest.Append(t, l, 3)
	m := mirrorOf(t, store, signer)
	catchUp(t, l, m)
	rolledBack := since(t, l, 3)
	ledgertest.Append(t, l, 3)
	catchUp(t, l, m)

	err := m.Extend(t.Context(), rolledBack)
	if _, forked := errors.AsType[*ledger.ForkError](err); forked || !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("an older checkpoint of the same history: %v", err)
	}
	other := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, other, 6)
	err = m.Extend(t.Context(), since(t, other, 6))
	fork, forked := errors.AsType[*ledger.ForkError](err)
	if !forked {
		t.Fatalf("another history of the same size: %v", err)
	}
	keys := ledgertest.Keys(t, signer)
	held, errHeld := keys.OpenCheckpoint(fork.Held)
	shown, errShown := keys.OpenCheckpoint(fork.Shown)
	if errHeld != nil || errShown != nil || held.Size != shown.Size || held.Root == shown.Root {
		t.Errorf("the proof does not stand for itself: %v %v", errHeld, errShown)
	}
	size := &ledger.SizeError{}
	ledgertest.Append(t, l, 1)
	x := since(t, l, 3)
	if err := m.Extend(t.Context(), x); !errors.As(err, &size) || size.Size != 6 {
		t.Errorf("an extension that begins too early: %v", err)
	}
}

// A few kilobytes of gzip decompress to millions of items: they are not all read before
// they are found to be too many.
func TestAnExtensionOfTooManyEntries(t *testing.T) {
	of := func(n int) []byte { return []byte(`{"entries":[0` + strings.Repeat(",0", n-1) + `]}`) }
	if x, err := ledger.ParseExtension(of(ledger.MaxExtensionEntries)); err != nil || len(x.Entries) != ledger.MaxExtensionEntries {
		t.Errorf("%d entries, %v", len(x.Entries), err)
	}
	if _, err := ledger.ParseExtension(of(ledger.MaxExtensionEntries + 1)); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
	many := of(ledger.MaxExtension/2 - 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ledger.ParseExtension(many)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ledger.ErrTooLarge) || used > 4<<20 {
		t.Errorf("%d bytes of memory, %v", used, err)
	}
	for _, text := range []string{`{"entries":{}}`, `{"entries":[`, `{"entries":[}`, `{"entries":7}`} {
		if _, err := ledger.ParseExtension([]byte(text)); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseExtension(f *testing.F) {
	f.Add([]byte(`{"from":1,"entries":[{"kind":"denial"}],"checkpoint":"x\n1\nAAAA\n\n— x y\n"}`))
	f.Add([]byte(`{"from":1,"entries":null}`))
	signer, store := ledgertest.NewSigner(f), ledgertest.NewMemory()
	m := mirrorOf(f, store, signer)
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ledger.ParseExtension(data)
		if err != nil {
			return
		}
		if err := m.Extend(t.Context(), x); err == nil {
			t.Error("nobody signed that")
		}
	})
}
