package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// A commit that failed may have happened. Nothing may be acknowledged after it
// until the log was opened again, which finds out.
func TestFailedCommitStopsTheLog(t *testing.T) {
	for _, happened := range []bool{false, true} {
		store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
		l := ledgertest.NewLog(t, store, signer, nil)
		ledgertest.Append(t, l, 10)
		broken := errors.New("disk on fire")
		store.OnCommit = func(ledger.Commit) error { return broken }
		store.AfterFail = func(ledger.Commit) bool { return happened }
		if _, err := l.Append(t.Context(), ledgertest.Denial(10), ledger.Durable); !errors.Is(err, ledger.ErrStopped) || !errors.Is(err, broken) {
			t.Fatal(err)
		}
		store.OnCommit = nil
		if _, err := l.Append(t.Context(), ledgertest.Denial(11), ledger.Durable); !errors.Is(err, ledger.ErrStopped) {
			t.Errorf("a stopped log appends: %v", err)
		}
		if err := l.Health(t.Context()); !errors.Is(err, ledger.ErrStopped) {
			t.Errorf("a stopped log is healthy: %v", err)
		}
		if err := l.Close(); !errors.Is(err, broken) {
			t.Errorf("closing hides why it stopped: %v", err)
		}
		again := ledgertest.NewLog(t, store, signer, nil)
		want := uint64(10)
		if happened {
			want = 11
		}
		if got := again.Stats().Size; got != want {
			t.Errorf("size %d after opening again, want %d", got, want)
		}
	}
}

// Two writers on one store: the second to commit must stop, not fork the log.
func TestOutrunWriterStops(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	first, second := ledgertest.NewLog(t, store, signer, nil), ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, first, 1)
	if _, err := second.Append(t.Context(), ledgertest.Denial(1), ledger.Durable); !errors.Is(err, ledger.ErrOutrun) || !errors.Is(err, ledger.ErrStopped) {
		t.Error(err)
	}
}

func TestFullQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
		release := make(chan struct{})
		store.OnCommit = func(ledger.Commit) error { <-release; return nil }
		l := ledgertest.NewLog(t, store, signer, func(o *ledger.Options) { o.Queue = 4 })
		results := make(chan error, 5)
		for n := range 5 { // one is being committed, four wait
			go func() {
				_, err := l.Append(context.Background(), ledgertest.Denial(n), ledger.Durable)
				results <- err
			}()
			synctest.Wait()
		}
		if err := l.Health(t.Context()); !errors.Is(err, ledger.ErrFull) {
			t.Errorf("health with a full queue: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Append(ctx, ledgertest.Denial(5), ledger.Durable); !errors.Is(err, ledger.ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a full queue took an entry: %v", err)
		}
		close(release)
		for range 5 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if got := l.Stats().Size; got != 5 {
			t.Errorf("size %d: what was refused must not be there", got)
		}
	})
}

// A disk that hangs is no healthy one, although nothing has failed.
func TestStalledCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := ledgertest.NewMemory()
		release := make(chan struct{})
		store.OnCommit = func(ledger.Commit) error { <-release; return nil }
		l := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := l.Append(ctx, ledgertest.Denial(0), ledger.Durable); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ledger.ErrFull) {
			t.Errorf("an entry that may be written: %v", err)
		}
		if err := l.Health(t.Context()); !errors.Is(err, ledger.ErrStalled) {
			t.Errorf("health: %v", err)
		}
		close(release)
		synctest.Wait()
		if err := l.Health(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A repeated request is one entry; a reused id must not swallow a denial.
func TestRequests(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, store, signer, nil)
	e := ledgertest.Denial(1)
	e.RequestID = "r-1"
	first, err := l.Append(t.Context(), e, ledger.Durable)
	if err != nil || first.Duplicate {
		t.Fatal(first, err)
	}
	e.DecisionID = "another try"
	again, err := l.Append(t.Context(), e, ledger.Durable)
	if err != nil || !again.Duplicate || again.Index != first.Index || again.CID != first.CID {
		t.Errorf("%+v, %v; want a duplicate of %+v", again, err, first)
	}
	e.Metric = "private_key"
	for range 2 {
		p, err := l.Append(t.Context(), e, ledger.Durable)
		if !errors.Is(err, ledger.ErrConflict) {
			t.Fatal(err)
		}
		row, err := l.Reader().Entry(t.Context(), p.Index)
		if err != nil || row.Kind != ledger.Conflict || row.Metric != "private_key" || row.Outcome != "forbidden" {
			t.Errorf("%+v, %v: the conflict must hold what was asked", row.Columns, err)
		}
	}
	e.Principal = "somebody else"
	if p, err := l.Append(t.Context(), e, ledger.Durable); err != nil || p.Duplicate {
		t.Errorf("ids belong to principals: %+v, %v", p, err)
	}
	if _, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledgertest.Keys(t, signer)}); err != nil {
		t.Error(err)
	}
}

func TestLargestEntry(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, store, signer, nil)
	e := ledger.Entry{Kind: ledger.Denial, Time: "2026-06-01T10:00:00.000000000Z", Schema: ledger.Schema}
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	e.Metric = strings.Repeat("m", ledger.MaxBody-len(body)-len(`"metric":"",`))
	p, err := l.Append(t.Context(), e, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := l.Reader().Entries(t.Context(), 0, 1)
	if err != nil || len(bundle) != 2+ledger.MaxBody {
		t.Fatalf("bundle of %d bytes, %v", len(bundle), err)
	}
	bodies, err := ledger.ParseBundle(bundle)
	if err != nil || len(bodies) != 1 || ledger.CID(bodies[0]) != p.CID {
		t.Error("the bundle does not hold the entry", err)
	}
	receipt, err := l.Reader().Receipt(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyReceipt(receipt, ledgertest.Keys(t, signer)); err != nil {
		t.Error(err)
	}
	e.Metric += "m"
	if _, err := l.Append(t.Context(), e, ledger.Durable); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("an entry of %d bytes: %v", ledger.MaxBody+1, err)
	}
}

// Both keys sign during the overlap; afterwards the old one counts for nothing.
func TestRotation(t *testing.T) {
	store, old, next := ledgertest.NewMemory(), ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, store, old, nil)
	ledgertest.Append(t, l, 300)
	if _, err := l.Rotate(t.Context(), old, ""); !errors.Is(err, ledger.ErrKey) {
		t.Errorf("a key replaces itself: %v", err)
	}
	if _, err := l.Rotate(t.Context(), next, "token:ana"); err != nil {
		t.Fatal(err)
	}
	p := ledgertest.Append(t, l, 300)
	for _, s := range []ledger.Signer{old, next} {
		keys := ledgertest.Keys(t, s)
		keys.IgnoreUnknown = true
		if _, err := keys.OpenCheckpoint(p.Checkpoint); err != nil {
			t.Error("during the overlap both keys sign:", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(t.Context(), store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{old}}); !errors.Is(err, ledger.ErrKey) {
		t.Errorf("the log opens with the old key alone: %v", err)
	}
	l = ledgertest.NewLog(t, store, next, func(o *ledger.Options) { o.Retired = ledgertest.Keys(t, old).Log })
	p = ledgertest.Append(t, l, 300)
	report, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledgertest.Keys(t, old)})
	if err != nil || report.Size != 901 {
		t.Errorf("whoever knows the first key can follow the chain: %+v, %v", report, err)
	}
	keys := ledger.Keys{Origin: ledgertest.Origin, Log: []note.Verifier{ledger.KeyRange(ledgertest.Keys(t, next).Log[0], 301, 500)}}
	if _, err := keys.OpenCheckpoint(p.Checkpoint); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("a key signs beyond its range: %v", err)
	}
	// A thief of the old key goes on from the rotation with it alone.
	store.Lock()
	_, size, root, err := ledger.ParseCheckpoint(store.Signed[901])
	if err != nil {
		t.Fatal(err)
	}
	store.Signed[901], err = note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", ledgertest.Origin, size, root)}, old)
	store.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledgertest.Keys(t, old)}); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("a retired key signs: %v", err)
	}
}

type head []byte

func (h head) Head(context.Context) ([]byte, error) { return h, nil }

// A log that is behind, or beside, a head that its key has signed does not open;
// what others sign does not matter.
func TestKnownHeads(t *testing.T) {
	signer, liar := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	grow := func(store *ledgertest.Memory, s ledger.Signer, first, count int) []byte {
		l := ledgertest.NewLog(t, store, s, nil)
		var last ledger.Position
		for n := range count {
			p, err := l.Append(t.Context(), ledgertest.Denial(first+n), ledger.Durable)
			if err != nil {
				t.Fatal(err)
			}
			last = p
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return last.Checkpoint
	}
	log, fork := ledgertest.NewMemory(), ledgertest.NewMemory()
	early := grow(log, signer, 0, 100)
	late := grow(log, signer, 100, 200)
	for name, test := range map[string]struct {
		known []byte
		want  error
	}{
		"earlier":         {early, nil},
		"the same":        {late, nil},
		"another history": {grow(fork, signer, 1, 50), ledger.ErrBehind},
		"later":           {grow(fork, signer, 51, 400), ledger.ErrBehind},
		"of a liar":       {grow(ledgertest.NewMemory(), liar, 0, 500), nil},
		"garbage":         {[]byte("garbage"), nil},
	} {
		l, err := ledger.Open(t.Context(), log, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}, Heads: []ledger.HeadSource{head(test.known)}})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if err == nil {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err = ledger.Verify(t.Context(), log, ledger.VerifyOptions{Keys: ledgertest.Keys(t, signer), Heads: []ledger.HeadSource{head(test.known)}})
		if bad := name != "earlier" && name != "the same"; bad != (err != nil) || test.want != nil && !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: verify: %v", name, err)
		}
	}
}

// cosigner signs as a witness that can be away.
type cosigner struct {
	away    error
	witness ledger.Signer
	asked   []uint64
}

func (c *cosigner) Cosign(_ context.Context, old uint64, proof func(uint64) (tlog.TreeProof, error), checkpoint []byte) ([]byte, error) {
	c.asked = append(c.asked, old)
	if c.away != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrNoQuorum, c.away)
	}
	if _, err := proof(old); err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(checkpoint), "\n\n")
	signed, err := note.Sign(&note.Note{Text: text + "\n"}, c.witness)
	if err != nil {
		return nil, err
	}
	_, line, _ := bytes.Cut(signed, []byte("\n\n"))
	return append(bytes.Clone(checkpoint), line...), nil
}

func TestWitnessedLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		witness, _, err := ledger.GenerateSigner(strings.NewReader(strings.Repeat("r", 64)), "witness.example")
		if err != nil {
			t.Fatal(err)
		}
		store, signer, w := ledgertest.NewMemory(), ledgertest.NewSigner(t), &cosigner{witness: witness}
		l := ledgertest.NewLog(t, store, signer, func(o *ledger.Options) { o.Cosign = w })
		p, err := l.Append(t.Context(), ledgertest.Denial(0), ledger.Witnessed)
		if err != nil || !bytes.Contains(p.Checkpoint, []byte("witness.example")) {
			t.Fatalf("%s, %v", p.Checkpoint, err)
		}
		synctest.Wait()
		w.away = errors.New("nobody there")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p, err = l.Append(ctx, ledgertest.Denial(1), ledger.Witnessed)
		if !errors.Is(err, ledger.ErrNoQuorum) || p.Index != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if _, err := l.Append(t.Context(), ledgertest.Denial(2), ledger.Durable); err != nil {
			t.Error("durable entries go on without witnesses:", err)
		}
		if s := l.Stats(); s.Unwitnessed == nil || s.Witnessed != 1 || s.Size != 3 {
			t.Errorf("%+v", s)
		}
		w.away = nil
		if p, err = l.Append(t.Context(), ledgertest.Denial(3), ledger.Witnessed); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		keys := ledgertest.Keys(t, signer)
		v, err := ledger.VerifierOf(witness)
		if err != nil {
			t.Fatal(err)
		}
		keys.Witnesses, keys.Quorum = []note.Verifier{v}, 1
		report, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: keys, Pinned: true})
		if err != nil || report.Level != ledger.AssuredWitnessed || report.Witnessed != 4 {
			t.Errorf("%+v, %v", report, err)
		}
		for index := range uint64(4) {
			receipt, err := l.Reader().Receipt(t.Context(), index)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.VerifyReceipt(receipt, keys); err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = ledgertest.NewLog(t, store, signer, nil)
		if got := l.Stats().Witnessed; got != 4 {
			t.Errorf("after opening again, witnessed to %d, want 4", got)
		}
	})
}

// Interrupted, a verification goes on where it was.
func TestVerifyResumes(t *testing.T) {
	store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, l, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	o := ledger.VerifyOptions{Keys: ledgertest.Keys(t, signer), Workers: 1, Progress: func(done, _ uint64) {
		if done >= 256 {
			cancel()
		}
	}}
	report, err := ledger.Verify(ctx, store, o)
	if !errors.Is(err, context.Canceled) || report.State.Size < 256 || report.State.Size >= 1000 {
		t.Fatalf("%+v, %v", report, err)
	}
	text, err := json.Marshal(report.State)
	if err != nil || len(text) > 1000 {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	var state ledger.VerifyState
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	first := uint64(0)
	o.Resume, o.Progress = &state, func(done, _ uint64) {
		if first == 0 {
			first = done
		}
	}
	report, err = ledger.Verify(t.Context(), store, o)
	if err != nil || report.Size != 1000 || first <= state.Size {
		t.Errorf("%+v, %v, first progress %d", report, err, first)
	}
	// Another log of the same size is not what was verified.
	other := ledgertest.NewMemory()
	ledgertest.Append(t, ledgertest.NewLog(t, other, signer, nil), 1000)
	if _, err := ledger.Verify(t.Context(), other, o); !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("resumed on another log: %v", err)
	}
}
