package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
)

// LogSuite checks what a [ledger.Log] promises, over a kind of store. Fresh
// returns an empty ledger of that kind.
func LogSuite(t *testing.T, fresh func(t *testing.T) Backend) {
	for name, test := range map[string]func(*testing.T, Backend){
		"append and reopen": appendAndReopen, "repeated requests": repeated, "rotation": rotation, "retention": retention,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// VerifyAll verifies a whole ledger as an auditor with these keys would.
func VerifyAll(t testing.TB, b Backend, keys ledger.Keys) (ledger.Report, error) {
	t.Helper()
	s := b.Open(t, true)
	defer closed(t, s)
	return ledger.Verify(context.Background(), s, ledger.VerifyOptions{Keys: keys, Pinned: true})
}

func mustVerify(t testing.TB, b Backend, keys ledger.Keys, size uint64) ledger.Report {
	t.Helper()
	report, err := VerifyAll(t, b, keys)
	if err != nil || report.Size != size || report.Level != ledger.AssuredAnchored {
		t.Fatalf("verify: %+v, %v; want size %d", report, err, size)
	}
	return report
}

// proved checks receipts and consistency of a ledger, offline as to receipts.
func proved(t testing.TB, b Backend, keys ledger.Keys, size uint64) {
	t.Helper()
	ctx := context.Background()
	s := b.Open(t, true)
	defer closed(t, s)
	r := ledger.NewReader(s, Origin)
	for index := uint64(0); index < size; index += 37 {
		receipt, err := r.Receipt(ctx, index)
		if err != nil {
			t.Fatalf("receipt of %d: %v", index, err)
		}
		if p, err := ledger.VerifyReceipt(receipt, keys); err != nil || p.Index != index {
			t.Fatalf("receipt of %d: %v", index, err)
		}
		if _, err := r.Consistency(ctx, index+1, size); err != nil {
			t.Fatalf("consistency from %d: %v", index+1, err)
		}
	}
	tile, err := r.Tile(ctx, 0, size/ledger.TileWidth, int(size%ledger.TileWidth))
	if err != nil || len(tile) != int(size%ledger.TileWidth)*32 {
		t.Errorf("partial tile: %d bytes, %v", len(tile), err)
	}
}

func appendAndReopen(t *testing.T, b Backend) {
	ctx := context.Background()
	signer := NewSigner(t)
	keys := Keys(t, signer)
	for round := range uint64(3) {
		s := b.Open(t, false)
		l := NewLog(t, s, signer, nil)
		var group sync.WaitGroup
		var seen sync.Map
		for range 16 {
			group.Go(func() {
				for n := range 25 {
					p, err := l.Append(ctx, Denial(n), ledger.Durable)
					if err != nil {
						t.Error(err)
						return
					}
					if _, twice := seen.LoadOrStore(p.Index, true); twice || p.Index < round*400 || p.Index >= p.Size {
						t.Errorf("position %d of %d", p.Index, p.Size)
					}
				}
			})
		}
		group.Wait()
		if err := l.Health(ctx); err != nil {
			t.Error(err)
		}
		size := 400 * (round + 1)
		mustVerify(t, b, keys, size) // while it is open
		closed(t, l, s)
		mustVerify(t, b, keys, size)
		proved(t, b, keys, size)
	}
	// With an older head known elsewhere all is well, with a later one not.
	s := b.Open(t, false)
	_, head, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(t, s, signer, func(o *ledger.Options) { o.Heads = []ledger.HeadSource{fixedHead(head)} })
	closed(t, l, s)
	other := newBuilt(t)
	other.signer = signer
	s = b.Open(t, false)
	_, err = ledger.Open(ctx, s, ledger.Options{
		Origin: Origin, Signers: []ledger.Signer{signer}, Heads: []ledger.HeadSource{fixedHead(other.checkpoint(1201, ""))},
	})
	is(t, "behind", err, ledger.ErrBehind)
	closed(t, s)
}

type fixedHead []byte

func (h fixedHead) Head(context.Context) ([]byte, error) { return h, nil }

// repeated requests are appended once, whoever tries at the same time, and after
// a restart; another request under the same id is logged as such.
func repeated(t *testing.T, b Backend) {
	ctx := context.Background()
	signer := NewSigner(t)
	size := uint64(0)
	for round := range 2 {
		s := b.Open(t, false)
		l := NewLog(t, s, signer, nil)
		for id := range 10 {
			e := Denial(id)
			e.RequestID = fmt.Sprint("request ", id)
			var group sync.WaitGroup
			var fresh atomic.Int64
			var index [8]uint64
			for try := range index {
				group.Go(func() {
					again := e
					again.DecisionID = fmt.Sprint(round, try) // differs from one try to the next
					p, err := l.Append(ctx, again, ledger.Durable)
					if err != nil {
						t.Error(err)
					}
					if index[try] = p.Index; !p.Duplicate {
						fresh.Add(1)
					}
				})
			}
			group.Wait()
			if want := int64(1 - round); fresh.Load() != want {
				t.Errorf("round %d: appended %d times, want %d", round, fresh.Load(), want)
			}
			for _, i := range index {
				if i != index[0] {
					t.Errorf("positions %v", index)
				}
			}
		}
		e := Denial(3)
		e.RequestID, e.Metric = "request 3", "another"
		p, err := l.Append(ctx, e, ledger.Durable)
		is(t, "another request", err, ledger.ErrConflict)
		rows := collect(t, l.Reader().Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.Conflict}, Newest: true, Limit: 1}))
		if len(rows) != 1 || rows[0].Index != p.Index || rows[0].Metric != "another" {
			t.Errorf("the conflict is not logged: %+v", rows)
		}
		size = l.Stats().Size
		closed(t, l, s)
	}
	if size != 12 {
		t.Errorf("%d entries, want 12", size)
	}
	mustVerify(t, b, Keys(t, signer), size)
}

func rotation(t *testing.T, b Backend) {
	ctx := context.Background()
	first, second := NewSigner(t), NewSigner(t)
	s := b.Open(t, false)
	l := NewLog(t, s, first, nil)
	Append(t, l, 300)
	if _, err := l.Rotate(ctx, second, ""); err != nil {
		t.Fatal(err)
	}
	Append(t, l, 10)
	closed(t, l, s)
	s = b.Open(t, false)
	l = NewLog(t, s, second, func(o *ledger.Options) { o.Retired = Keys(t, first).Log })
	Append(t, l, 10)
	closed(t, l, s)
	mustVerify(t, b, Keys(t, first, second), 321)
	if _, err := VerifyAll(t, b, Keys(t, NewSigner(t))); err == nil {
		t.Error("verified with a key that has never signed")
	}
}

// retention: what was sealed can be pruned, and what is left still proves.
func retention(t *testing.T, b Backend) {
	ctx := context.Background()
	signer := NewSigner(t)
	keys := Keys(t, signer)
	s := b.Open(t, false)
	l := NewLog(t, s, signer, nil)
	Append(t, l, 700)
	receipt, err := l.Reader().Receipt(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(ledger.Seal{From: 0, To: 600, Manifest: "a manifest"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, ledger.Entry{Kind: ledger.Sealed, Data: data}, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(ctx, 600); err != nil {
		t.Fatal(err)
	}
	Append(t, l, 10)
	closed(t, l, s)
	if report := mustVerify(t, b, keys, 711); report.Pruned != 600 {
		t.Errorf("%d pruned", report.Pruned)
	}
	if p, err := ledger.VerifyReceipt(receipt, keys); err != nil || p.Index != 100 {
		t.Errorf("a receipt from before: %v", err)
	}
	s = b.Open(t, false)
	l = NewLog(t, s, signer, nil)
	if again, err := l.Reader().Inclusion(ctx, 100, 711); err != nil || len(again) == 0 {
		t.Errorf("inclusion of a pruned entry: %v", err)
	}
	if receipt, err = l.Reader().Receipt(ctx, 650); err != nil || !bytes.Contains(receipt, []byte("711")) {
		t.Errorf("receipt: %v", err)
	}
	if p, err := ledger.VerifyReceipt(receipt, keys); err != nil || p.Index != 650 {
		t.Errorf("a receipt from after: %v", err)
	}
	closed(t, l, s)
}
