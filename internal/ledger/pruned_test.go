package ledger_test

import (
	"errors"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// A body may be gone only where a sealed entry, later in the log, says so.
func TestVerifyAccountsForPrunedBodies(t *testing.T) {
	for _, tc := range []struct {
		name  string
		seals []ledger.Seal // appended after 300 entries
		gone  [2]uint64
		first uint64 // bad entry
		holds bool
	}{
		{name: "sealed", seals: []ledger.Seal{{From: 0, To: 100}}, gone: [2]uint64{0, 100}, holds: true},
		{name: "sealed in parts", seals: []ledger.Seal{{From: 0, To: 100}, {From: 100, To: 200}}, gone: [2]uint64{0, 200}, holds: true},
		{name: "not pruned yet", seals: []ledger.Seal{{From: 0, To: 100}}, holds: true},
		{name: "not sealed", gone: [2]uint64{0, 100}, first: 0},
		{name: "beyond the seal", seals: []ledger.Seal{{From: 0, To: 100}}, gone: [2]uint64{0, 101}, first: 100},
		{name: "elsewhere", seals: []ledger.Seal{{From: 0, To: 100}}, gone: [2]uint64{250, 251}, first: 250},
		{name: "a seal over itself", seals: []ledger.Seal{{From: 0, To: 301}}, first: 300},
		{name: "a seal that ends before it begins", seals: []ledger.Seal{{From: 9, To: 8}}, first: 300},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, signer := ledgertest.NewMemory(), ledgertest.NewSigner(t)
			log := ledgertest.NewLog(t, store, signer, nil)
			ledgertest.Append(t, log, 300)
			for _, s := range tc.seals {
				data, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := log.Append(t.Context(), ledger.Entry{Kind: ledger.Sealed, Data: data}, ledger.Durable); err != nil {
					t.Fatal(err)
				}
			}
			store.Lock()
			for i := tc.gone[0]; i < tc.gone[1]; i++ {
				row := &store.Entries[i]
				*row = ledger.Row{Index: row.Index, Hash: row.Hash}
			}
			store.Unlock()
			report, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledgertest.Keys(t, signer)})
			var fault *ledger.Fault
			switch {
			case tc.holds && (err != nil || report.Pruned != tc.gone[1]-tc.gone[0]):
				t.Errorf("%+v: %v", report, err)
			case !tc.holds && (!errors.As(err, &fault) || fault.Index != tc.first):
				t.Errorf("got %v, want entry %d", err, tc.first)
			}
		})
	}
}
