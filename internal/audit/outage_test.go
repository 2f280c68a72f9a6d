package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// large is a question as large as they may be, of which JSON escapes every byte.
func large(metric string) decision.Input {
	in := question(metric)
	in.Labels, in.Claims = map[string]string{}, nil
	name := func(i int) string { return fmt.Sprintf("%03d", i) + strings.Repeat("\x01", decision.MaxNameBytes-3) }
	for i := range decision.MaxLabels {
		in.Labels[name(i)] = "secret"
	}
	for i := range decision.MaxClaims {
		in.Claims = append(in.Claims, name(i))
	}
	return in
}

// Nobody gets out of the record by asking at length.
func TestLargeDenial(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	if d, err := a.Decide(t.Context(), large("gps_fix")); err != nil || d.Allow {
		t.Fatal(d, err)
	}
	denials := log.of(t, ledger.Denial)
	if len(denials) != 1 || a.Stats().Lost != 0 {
		t.Fatalf("%d recorded, %+v", len(denials), a.Stats())
	}
	var d Details
	e := denials[0]
	if err := json.Unmarshal(e.Data, &d); err != nil || d.Omitted == nil {
		t.Fatalf("%s: %v", e.Data, err)
	}
	if len(e.Labels)+d.Omitted.Labels != decision.MaxLabels || len(e.Claims)+d.Omitted.Claims != decision.MaxClaims || len(e.Labels) == 0 {
		t.Errorf("%d labels and %d claims, without %+v", len(e.Labels), len(e.Claims), *d.Omitted)
	}
}

// A question that is too large for the entry of a window must not keep it, and all
// allowances after it, from being recorded.
func TestLargeAllowance(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	for range 3 {
		if _, err := a.Decide(t.Context(), large("latency")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Decide(t.Context(), question("latency")); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if counts, overflow := log.windows(t); len(counts) != 1 || overflow != 3 {
		t.Errorf("%v, %d not told apart", counts, overflow)
	}
}

// Memory is bounded by bytes, too.
func TestWindowIsBoundedInBytes(t *testing.T) {
	a, _ := auditing(Rules{}, func(o *Options) { o.Distinct = 100 })
	for i := range 100 {
		in := question("latency")
		in.Purpose = fmt.Sprint(i) + strings.Repeat("p", 5000)
		if _, err := a.Decide(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	w := a.current.Load()
	counts := w.close()
	if n := len(counts); n < 5 || n > 12 || w.overflow.Load() != uint64(100-n) {
		t.Errorf("%d told apart, %d not", n, w.overflow.Load())
	}
}

// A forbidden attempt is on record also when what was asked beside it cannot be
// allowed.
func TestDenialBesideAnUnrecordableAllowance(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	a.Suspend()
	batch, err := a.DecideBatch(t.Context(), []decision.Input{question("latency"), question("gps_fix")})
	if !errors.Is(err, ErrUnavailable) || batch != nil {
		t.Error(batch, err)
	}
	if n := len(log.of(t, ledger.Denial)); n != 1 {
		t.Errorf("%d denials", n)
	}
}

// What warn mode allows has to be recorded as well.
func TestLiftedDenialWithoutLedger(t *testing.T) {
	a, log := auditing(Rules{BestEffort: true}, nil)
	log.fail(errors.New("down"))
	if d, err := a.Decide(t.Context(), question("warned")); !errors.Is(err, ErrUnavailable) || d.Allow {
		t.Error(d, err)
	}
	if d, err := a.Decide(t.Context(), question("low")); err != nil || d.Outcome != decision.UnknownMetric {
		t.Error(d, err)
	}
}

// The questions of a batch come under one id and are not taken for each other;
// a retry is not recorded again.
func TestRetries(t *testing.T) {
	real := ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil)
	a := New(Options{Next: answering{}, Log: real, Rules: func() Rules { return Rules{Allowed: Each} }})
	ctx := WithCaller(t.Context(), Caller{Principal: "token:gateway", RequestID: "k-1"})
	batch := []decision.Input{question("gps_a"), question("latency"), question("gps_b")}
	for try := range 3 {
		for i := range batch {
			batch[i].Time = fmt.Sprintf("2026-06-01T00:00:%02dZ", try) // each try has a time of its own
		}
		if answers, err := a.DecideBatch(ctx, batch); err != nil || len(answers) != 3 {
			t.Fatal(answers, err)
		}
	}
	if size := real.Stats().Size; size != 3 {
		t.Errorf("%d entries", size)
	}
	batch[2] = question("gps_c")
	if _, err := a.DecideBatch(ctx, batch); !errors.Is(err, ErrConflict) || errors.Is(err, ErrUnavailable) {
		t.Errorf("another question under the same id: %v", err)
	}
	if s := a.Stats(); s.Lost != 0 || real.Stats().Size != 4 {
		t.Errorf("%+v, %d entries", s, real.Stats().Size)
	}
}

// limited is a log that takes so many entries.
type limited struct {
	left, most int
	levels     []ledger.Level
}

func (l *limited) AppendAll(_ context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	l.most, l.levels = max(l.most, len(entries)), append(l.levels, level)
	if l.left -= len(entries); l.left < 0 {
		return nil, ledger.ErrFull
	}
	return make([]ledger.Position, len(entries)), nil
}

// A large batch of denials leaves room for those of others, and what did not get
// into the ledger is counted.
func TestLargeBatch(t *testing.T) {
	const n = 2000
	batch := make([]decision.Input, n)
	for i := range batch {
		batch[i] = question("gps_fix")
	}
	for _, room := range []int{n, 1100} {
		log := &limited{left: room}
		a := New(Options{Next: answering{}, Log: log, Rules: func() Rules { return Rules{Critical: ledger.Witnessed} }})
		if answers, err := a.DecideBatch(t.Context(), batch); err != nil || len(answers) != n {
			t.Fatal(err)
		}
		if log.most > 512 {
			t.Errorf("%d entries wait at a time", log.most)
		}
		want := uint64(0)
		if room < n {
			want = n - 2*512
		}
		if lost := a.Stats().Lost; lost != want {
			t.Errorf("%d lost, want %d", lost, want)
		}
		if room == n && (log.levels[0] != ledger.Durable || log.levels[3] != ledger.Witnessed) {
			t.Errorf("waited for witnesses: %v", log.levels)
		}
	}
}

// Refusals bear the route and leave the caller's id to its question.
func TestRefused(t *testing.T) {
	a, log := auditing(Rules{}, nil)
	ctx := WithCaller(t.Context(), Caller{Principal: "cert:edge-1", RequestID: "k", Route: "/v1/check"})
	a.Refused(ctx, Refusal{question("latency"), "node_mismatch"}, Refusal{decision.Input{}, "insufficient_scope"})
	entries := log.of(t, ledger.Denial)
	if len(entries) != 2 || entries[0].Reasons[0].Code != "node_mismatch" || entries[0].Principal != "cert:edge-1" || entries[0].RequestID != "" ||
		string(entries[0].Data) != `{"route":"/v1/check"}` || entries[1].Reasons[0].Code != "insufficient_scope" {
		t.Errorf("%+v", entries)
	}
}

// hanging is a log that takes nothing until its deadline.
type hanging struct{ tries atomic.Int32 }

func (h *hanging) AppendAll(ctx context.Context, _ []ledger.Entry, _ ledger.Level) ([]ledger.Position, error) {
	h.tries.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A disk that hangs costs the first to wait their time, and not everybody behind
// them, one after the other.
func TestHangingLedger(t *testing.T) {
	log := &hanging{}
	a := New(Options{Next: answering{}, Log: log, Rules: func() Rules { return Rules{} }, Deadline: 20 * time.Millisecond})
	var asking sync.WaitGroup
	for range 100 {
		asking.Go(func() {
			if _, err := a.Decide(t.Context(), question("latency")); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if n := log.tries.Load(); n != 1 {
		t.Errorf("waited %d times", n)
	}
}

// forgetful commits and then says that it failed, as a connection does that is cut.
type forgetful struct {
	Log
	fail bool
}

func (f *forgetful) AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	p, err := f.Log.AppendAll(ctx, entries, level)
	if f.fail {
		return nil, errors.New("connection lost")
	}
	return p, err
}

// Windows and gaps are in the ledger once, whatever was acknowledged.
func TestNothingIsRecordedTwice(t *testing.T) {
	store := ledgertest.NewMemory()
	real := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil)
	log := &forgetful{Log: real}
	o := Options{Next: answering{}, Log: log, Rules: func() Rules { return Rules{} }}
	a := New(o)
	log.fail = true
	if _, err := a.Decide(t.Context(), question("latency")); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	log.fail = false
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Decide(t.Context(), question("latency")); err != nil {
		t.Fatal(err)
	}
	a.Missed(2)
	log.fail = true
	for range 3 {
		if err := a.Flush(t.Context()); err == nil {
			t.Fatal("not told")
		}
	}
	log.fail = false
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	kinds := map[ledger.Kind]int{}
	for _, row := range store.Entries {
		kinds[row.Kind]++
	}
	if kinds[ledger.WindowOpen] != 2 || kinds[ledger.WindowClose] != 1 || kinds[ledger.Gap] != 1 {
		t.Errorf("%v", kinds)
	}
	if err := New(o).Recover(t.Context(), real.Reader()); err != nil || len(store.Entries) != 5 {
		t.Errorf("%d entries: %v", len(store.Entries), err) // the window that is open now
	}
}

func BenchmarkAllowed(b *testing.B) {
	in := question("latency")
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = answering{}.Decide(b.Context(), in)
		}
	})
	a, _ := auditing(Rules{}, nil)
	b.Run("audited", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = a.Decide(b.Context(), in)
		}
	})
}
