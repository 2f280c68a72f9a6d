package witness_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/witness"
)

// site is a ledger key with witnesses for it.
type site struct {
	key       ledger.Signer
	keys      ledger.Keys
	servers   []*witness.Server
	listeners []*httptest.Server
	policy    *witness.Policy
}

func newSite(t *testing.T, need, n int) *site {
	t.Helper()
	s := &site{key: ledgertest.NewSigner(t)}
	s.keys = ledgertest.Keys(t, s.key)
	s.keys.Quorum = need
	var policy strings.Builder
	group := fmt.Sprintf("group g %d", need)
	for i := range n {
		skey, vkey, err := witness.GenerateKey(fmt.Sprintf("w.example/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		signer, err := witness.ParseSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		server, err := witness.Open(witness.Options{Dir: t.TempDir(), Signer: signer, Logs: s.keys.Log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		listener := httptest.NewServer(server.Handler())
		t.Cleanup(listener.Close)
		s.servers, s.listeners = append(s.servers, server), append(s.listeners, listener)
		s.keys.Witnesses = append(s.keys.Witnesses, signer.Verifier())
		fmt.Fprintf(&policy, "witness w%d %s %s\n", i, vkey, listener.URL)
		group += fmt.Sprintf(" w%d", i)
	}
	p, err := witness.ParsePolicy([]byte(policy.String() + group + "\nquorum g\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.policy = p
	return s
}

func (s *site) client(t *testing.T) *witness.Client {
	t.Helper()
	c, err := witness.NewClient(witness.ClientOptions{
		Policy: s.policy, Origin: ledgertest.Origin, Keys: s.keys.Log, Timeout: 10 * time.Second, Grace: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *site) options(t *testing.T) func(*ledger.Options) {
	return func(o *ledger.Options) {
		c := s.client(t)
		o.Cosign, o.Heads, o.CosignEvery = c, c.Heads(t.Context()), time.Hour
	}
}

// A witnessed entry has a receipt that holds against the keys of log and
// witnesses alone.
func TestWitnessedAppend(t *testing.T) {
	s := newSite(t, 2, 3)
	l := ledgertest.NewLog(t, nil, s.key, s.options(t))
	ledgertest.Append(t, l, 5)
	p, err := l.Append(t.Context(), ledgertest.Denial(6), ledger.Witnessed)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := s.keys.OpenCheckpoint(p.Checkpoint)
	if err != nil || len(cp.Witnesses) < 2 || cp.Size <= p.Index {
		t.Fatalf("%+v, %v", cp, err)
	}
	receipt, err := l.Reader().Receipt(t.Context(), p.Index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyReceipt(receipt, s.keys); err != nil {
		t.Errorf("%v: %s", err, receipt)
	}
}

// copyOf is the store as it is now: yesterday's backup.
func copyOf(m *ledgertest.Memory) *ledgertest.Memory {
	m.Lock()
	defer m.Unlock()
	c := ledgertest.NewMemory()
	c.Entries = slices.Clone(m.Entries)
	for k, v := range m.Full {
		c.Full[k] = v
	}
	for k, v := range m.Signed {
		c.Signed[k] = v
	}
	for k, v := range m.Cosigned {
		c.Cosigned[k] = v
	}
	return c
}

func TestRestoredCopyIsRefused(t *testing.T) {
	s := newSite(t, 1, 2)
	store := ledgertest.NewMemory()
	l := ledgertest.NewLog(t, store, s.key, s.options(t))
	ledgertest.Append(t, l, 10)
	backup := copyOf(store)
	if _, err := l.Append(t.Context(), ledgertest.Denial(10), ledger.Witnessed); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o := ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{s.key}}

	// At start-up the witnesses' size stops it.
	s.options(t)(&o)
	if again, err := ledger.Open(t.Context(), copyOf(backup), o); !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("the copy opens: %v, %v", again, err)
	}
	again, err := ledger.Open(t.Context(), store, o)
	if err != nil {
		t.Fatalf("the true log does not open: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	// Without them at start-up they refuse what it appends, and the log stops as
	// soon as it is told: it would only grow the fork.
	o.Heads, o.Cosign = nil, s.client(t)
	fork, err := ledger.Open(t.Context(), backup, o)
	if err != nil {
		t.Fatal(err)
	}
	waits, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if p, err := fork.Append(waits, ledgertest.Denial(77), ledger.Witnessed); err == nil {
		t.Errorf("a fork is witnessed: %+v", p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err = nil; err == nil && ctx.Err() == nil; {
		_, err = fork.Append(ctx, ledgertest.Denial(78), ledger.Durable)
	}
	if !errors.Is(err, ledger.ErrStopped) || !errors.Is(fork.Health(t.Context()), ledger.ErrBehind) {
		t.Errorf("the fork grows: %v, %v", err, fork.Health(t.Context()))
	}
	if _, ok := errors.AsType[*witness.ForkError](fork.Close()); !ok {
		t.Error("nobody is told which witness knows of the fork")
	}
}

// A liar cannot stop a log: a larger size counts only with our own signature.
func TestLiarDoesNotStopTheLog(t *testing.T) {
	s := newSite(t, 1, 1)
	other := ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil)
	p := ledgertest.Append(t, other, 50)
	o := ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{s.key}, Heads: []ledger.HeadSource{static(p.Checkpoint)}}
	l, err := ledger.Open(t.Context(), ledgertest.NewMemory(), o)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

type static []byte

func (s static) Head(context.Context) ([]byte, error) { return s, nil }

// With the witnesses away durable entries go on, flagged, and witnessed ones wait
// and say why; when they are back all is as before.
func TestWitnessesAway(t *testing.T) {
	s := newSite(t, 2, 2)
	s.listeners[1].Close()
	l := ledgertest.NewLog(t, nil, s.key, s.options(t))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	p, err := l.Append(ctx, ledgertest.Denial(1), ledger.Witnessed)
	if !errors.Is(err, ledger.ErrNoQuorum) || p.Size == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := l.Append(t.Context(), ledgertest.Denial(2), ledger.Durable); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.Size != 2 || st.Witnessed != 0 || !errors.Is(st.Unwitnessed, ledger.ErrNoQuorum) {
		t.Errorf("%+v", st)
	}
	if row, err := l.Reader().Entry(t.Context(), p.Index); err != nil || row.Body == nil {
		t.Errorf("the entry that waits is not durable: %v", err)
	}
	if err := l.Health(t.Context()); err != nil {
		t.Errorf("durable entries are possible: %v", err)
	}
}

var _ note.Verifier = (*witness.Verifier)(nil)
