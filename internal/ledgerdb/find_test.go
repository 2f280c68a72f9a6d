package ledgerdb_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// twins is a store that commits to two.
type twins struct {
	*ledgertest.Memory
	other ledger.Store
}

func (s twins) Commit(ctx context.Context, c ledger.Commit) error {
	if err := s.other.Commit(ctx, c); err != nil {
		return err
	}
	return s.Memory.Commit(ctx, c)
}

// Whatever is asked, the index gives what looking at every entry does; whether it
// has all entries, some or none.
func TestFindIsLookingAtEveryEntry(t *testing.T) {
	for name, behind := range map[string]time.Duration{"indexed": time.Millisecond, "half": 0, "not indexed": time.Hour} {
		t.Run(name, func(t *testing.T) {
			store := open(t, t.TempDir(), ledgerdb.SQLiteOptions{Behind: behind})
			defer shut(t, store)
			both := twins{ledgertest.NewMemory(), store}
			second := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			l := ledgertest.NewLog(t, both, ledgertest.NewSigner(t), func(o *ledger.Options) {
				o.Now = func() time.Time { second = second.Add(time.Second); return second }
			})
			for n := range 200 {
				e := ledgertest.Denial(n * n)
				e.Kind = []ledger.Kind{ledger.Denial, ledger.Denial, ledger.Violation, ledger.Activation}[n%4]
				e.Severity = []string{"critical", "low", ""}[n%3]
				if n%5 == 0 {
					e.Node = ""
				}
				if _, err := l.Append(t.Context(), e, ledger.Durable); err != nil {
					t.Fatal(err)
				}
			}
			rapid.Check(t, func(t *rapid.T) {
				at := func(label string) time.Time {
					n := rapid.IntRange(-20, 220).Draw(t, label)
					if n < 0 {
						return time.Time{}
					}
					return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
				}
				f := ledger.Filter{
					Kinds:      rapid.SliceOfN(rapid.SampledFrom([]ledger.Kind{ledger.Denial, ledger.Violation, ledger.Activation, ledger.Gap}), 0, 2).Draw(t, "kinds"),
					Severities: rapid.SliceOfN(rapid.SampledFrom([]string{"critical", "low", "none"}), 0, 2).Draw(t, "severities"),
					Node:       rapid.SampledFrom([]string{"", "", "edge-4", "edge-16", "nowhere"}).Draw(t, "node"),
					Metric:     rapid.SampledFrom([]string{"", "", "node_gps_fix_4", "none"}).Draw(t, "metric"),
					Clause:     rapid.SampledFrom([]string{"", "privacy.location", "none"}).Draw(t, "clause"),
					Outcome:    rapid.SampledFrom([]string{"", "forbidden", "none"}).Draw(t, "outcome"),
					Since:      at("since"), Until: at("until"),
					Text:   rapid.SampledFrom([]string{"", "", "GPS_FIX_4", "none"}).Draw(t, "text"),
					From:   rapid.Uint64Range(0, 220).Draw(t, "from"),
					Before: rapid.SampledFrom([]uint64{0, 0, 100, 199, 1000}).Draw(t, "before"),
					Newest: rapid.Bool().Draw(t, "newest"),
					Limit:  rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "limit"),
				}
				list := func(s ledger.Store) (found []uint64) {
					for row, err := range s.Find(context.Background(), f) {
						if err != nil {
							t.Fatal(err)
						}
						found = append(found, row.Index)
					}
					return found
				}
				if got, want := list(store), list(both.Memory); !slices.Equal(got, want) {
					t.Fatalf("%+v\ngot  %v\nwant %v", f, got, want)
				}
			})
		})
	}
}

// Pruned bodies are gone; the tree and what was proved from it stay.
func TestPrune(t *testing.T) {
	ctx, dir, signer := t.Context(), t.TempDir(), ledgertest.NewSigner(t)
	store := open(t, dir, ledgerdb.SQLiteOptions{Behind: time.Millisecond})
	l := ledgertest.NewLog(t, store, signer, nil)
	ledgertest.Append(t, l, 600)
	receipt, err := l.Reader().Receipt(ctx, 40)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, ledger.Entry{Kind: ledger.Sealed, Data: []byte(`{"from":0,"manifest":"b","to":300}`)}, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	if err := store.Prune(ctx, 300); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 10)
	shut(t, l, store)
	store = open(t, dir, ledgerdb.SQLiteOptions{})
	defer shut(t, store)
	report, err := verify(t, store, ledgertest.Keys(t, signer))
	if err != nil || report.Pruned != 300 || report.Size != 611 {
		t.Errorf("%+v, %v", report, err)
	}
	found := 0
	for row, err := range store.Find(ctx, ledger.Filter{Node: "edge-7"}) {
		if err != nil || row.Index < 300 {
			t.Error(row.Index, err)
		}
		found++
	}
	if found != 4 {
		t.Errorf("found %d entries, want 4", found)
	}
	if _, err := ledger.VerifyReceipt(receipt, ledgertest.Keys(t, signer)); err != nil {
		t.Error("an old receipt:", err)
	}
	l = ledgertest.NewLog(t, store, signer, nil)
	if proof, err := l.Reader().Inclusion(ctx, 40, 611); err != nil || len(proof) == 0 {
		t.Error("an inclusion proof of a pruned entry:", err)
	}
	shut(t, l)
}
