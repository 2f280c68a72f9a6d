package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

var errDown = errors.New("down")

// keepingAt is an auditor that keeps what is unreported in a file.
func keepingAt(path string) (*Auditor, *memory) {
	return auditing(Rules{}, func(o *Options) { o.Unreported = path })
}

// gaps are those of a log.
func (m *memory) gaps(t *testing.T) (list []ledger.Missing) {
	t.Helper()
	for _, e := range m.of(t, ledger.Gap) {
		var missing ledger.Missing
		if err := json.Unmarshal(e.Data, &missing); err != nil {
			t.Fatal(err)
		}
		list = append(list, missing)
	}
	return list
}

func deny(t *testing.T, a *Auditor, times int) {
	t.Helper()
	var asking sync.WaitGroup
	for range times {
		asking.Go(func() {
			if d, err := a.Decide(t.Context(), question("gps_fix")); err != nil || d.Allow {
				t.Errorf("a denial stays one: %+v, %v", d, err)
			}
		})
	}
	asking.Wait()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A process that dies during an outage leaves how many denials it has cost, from
// the first one on, and the next one reports that once.
func TestCrashDuringAnOutage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	a, log := keepingAt(path)
	if err := a.Recover(t.Context(), log); err != nil || exists(path) {
		t.Fatal(err)
	}
	log.fail(errDown)
	for _, known := range []uint64{1, 5, 50} { // of 1, 10 and 100
		deny(t, a, int(2*known)-int(a.Stats().Lost))
		left := &unreported{path: path, patience: time.Second, failed: func(err error) { t.Error(err) }}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		gaps, err := left.load("later")
		if err != nil || len(gaps) != 1 || gaps[0].Count != nil || gaps[0].AtLeast < known || gaps[0].AtLeast > a.Stats().Lost || gaps[0].From == "" || gaps[0].To != "later" {
			t.Errorf("%d lost: %s, %v", a.Stats().Lost, text, err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil { // which load has closed
			t.Fatal(err)
		}
	}
	next, log := keepingAt(path)
	for range 2 {
		if err := next.Recover(t.Context(), log); err != nil {
			t.Fatal(err)
		}
	}
	gaps := log.gaps(t)
	if len(gaps) != 1 || gaps[0].Count != nil || gaps[0].AtLeast < 50 || gaps[0].Reason != ledger.ReasonUnavailable || gaps[0].From == "" || gaps[0].To == "" || exists(path) {
		t.Errorf("%+v", gaps)
	}
}

// An outage that is over is reported exactly, and nothing is left of it.
func TestOutageEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	a, log := keepingAt(path)
	for round := range 3 {
		log.fail(errDown)
		deny(t, a, 7)
		if !exists(path) {
			t.Error("nothing is kept")
		}
		if err := a.Flush(t.Context()); err == nil {
			t.Error("flushed without a ledger")
		}
		deny(t, a, 4)
		log.fail(nil)
		if err := a.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if gaps := log.gaps(t); len(gaps) != 2*round+2 || *gaps[2*round].Count != 7 || *gaps[2*round+1].Count != 4 || gaps[2*round].AtLeast != 0 {
			t.Errorf("%+v", gaps)
		}
		if exists(path) || a.Stats().Unkept != nil {
			t.Error("still kept:", a.Stats().Unkept)
		}
	}
}

// A process that is stopped during an outage leaves exactly what is missing.
func TestStoppedDuringAnOutage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	a, log := keepingAt(path)
	log.fail(errDown)
	deny(t, a, 7)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); !errors.Is(err, errDown) {
		t.Error(err)
	}
	next, log := keepingAt(path)
	if err := next.Recover(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if gaps := log.gaps(t); len(gaps) != 1 || gaps[0].Count == nil || *gaps[0].Count != 7 || gaps[0].AtLeast != 0 || exists(path) {
		t.Errorf("%+v", gaps)
	}
}

// watching is a log that does something before it appends.
type watching struct {
	Log
	before func()
}

func (w watching) AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error) {
	w.before()
	return w.Log.AppendAll(ctx, entries, level)
}

// A process that dies after it has reported a gap, and before it has forgotten it,
// does not make two of one.
func TestGapIsReportedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	store := ledgertest.NewMemory()
	log := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), nil)
	var left []byte // what a crash at that moment would leave
	o := Options{Next: answering{}, Rules: func() Rules { return Rules{} }, Unreported: path}
	o.Log = watching{log, func() {
		if text, err := os.ReadFile(path); err == nil {
			left = text
		}
	}}
	crash := func() {
		t.Helper()
		if len(left) == 0 || exists(path) {
			t.Fatal("nothing was kept while it was reported, or it still is")
		}
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := New(o)
	a.Missed(3)
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	crash()
	for range 2 {
		if err := New(o).Recover(t.Context(), log.Reader()); err != nil || exists(path) {
			t.Fatal(err)
		}
		crash()
	}
	if err := os.WriteFile(path, []byte(`[{"id":"of-a-crash","reason":"audit-unavailable","at_least":2,"from":"2026-06-01T00:00:00Z"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := New(o).Recover(t.Context(), log.Reader()); err != nil {
			t.Fatal(err)
		}
		crash()
	}
	if n := len(store.Entries); n != 2 || store.Entries[0].Kind != ledger.Gap || store.Entries[1].Kind != ledger.Gap {
		t.Errorf("%d entries", n)
	}
}

// Where the count cannot be kept, denials are answered all the same, and it is
// told.
func TestUnkept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	path := filepath.Join(dir, "unreported.json")
	told := make(chan error, 100)
	a, log := auditing(Rules{}, func(o *Options) { o.Unreported, o.Failed = path, func(err error) { told <- err } })
	log.fail(errDown)
	deny(t, a, 1)
	if err := a.Stats().Unkept; !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for !errors.Is(<-told, os.ErrNotExist) { // the first is about the ledger
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	deny(t, a, 1)
	if err := a.Stats().Unkept; err != nil || !exists(path) {
		t.Error("the next denial is kept:", err)
	}
}

// What cannot be read is not passed over.
func TestUnreadableGaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	for _, text := range []string{"", "null and void", `[{"id":"x","more":1}]`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, log := keepingAt(path)
		if err := a.Recover(t.Context(), log); err == nil || !strings.Contains(err.Error(), path) || !exists(path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
