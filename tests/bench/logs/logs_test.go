package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/bench/logs"
)

func kinds(t *testing.T) []logs.Kind {
	t.Helper()
	all := []logs.Kind{logs.JSONL()}
	for _, make := range []func() (logs.Kind, error){
		logs.Charter,
		func() (logs.Kind, error) { return logs.Tessera(logs.Batching{Age: 10 * time.Millisecond, Size: 64}) },
		func() (logs.Kind, error) {
			return logs.Tessera(logs.Batching{Age: 25 * time.Millisecond, Size: 256, Published: true})
		},
	} {
		k, err := make()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

// load appends with several writers and returns what the log then holds.
func load(t *testing.T, k logs.Kind, dir string, first int) ([]logs.Ack, [][]byte) {
	t.Helper()
	l, err := k.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	acks, _, err := logs.Closed(t.Context(), l, logs.Plan{First: first, Span: 150 * time.Millisecond}, 8)
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	bodies, err := k.Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return acks, bodies
}

// All kinds store the same entries but for their times, keep what they have
// acknowledged, and continue a log that is there.
func TestSameEntries(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "log")
			var bodies [][]byte
			for range 2 {
				before := len(bodies)
				var acks []logs.Ack
				acks, bodies = load(t, k, dir, before)
				if err := logs.Check(acks, before, bodies); err != nil {
					t.Fatal(err)
				}
				for _, a := range acks {
					e, err := ledger.ParseEntry(bodies[a.Index])
					if err != nil {
						t.Fatal(err)
					}
					if at, err := e.At(); err != nil || time.Since(at).Abs() > time.Hour {
						t.Fatalf("time %q of entry %d", e.Time, a.N)
					}
					e.Time = ""
					if want := logs.Entry(a.N); !reflect.DeepEqual(e, want) {
						t.Fatalf("entry %d is stored as %+v, want %+v", a.N, e, want)
					}
				}
				if len(acks) == 0 {
					t.Fatal("nothing was acknowledged")
				}
			}
		})
	}
}

// What is changed or lost in the files of any kind is noticed when it is read.
func TestReadNotices(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "log")
			acks, bodies := load(t, k, dir, 0)
			changed := strings.Replace(string(bodies[0]), "denial", "deniaI", 1)
			if replaceInFiles(t, dir, string(bodies[0]), changed) == 0 {
				t.Fatal("the first entry is in no file")
			}
			again, err := k.Read(t.Context(), dir)
			if err == nil {
				err = logs.Check(acks, 0, again)
			}
			if err == nil {
				t.Error("a changed entry was not noticed: the check is worth nothing")
			}
		})
	}
}

func replaceInFiles(t *testing.T, dir, from, to string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), from) {
			return err
		}
		files++
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(data), from, to)), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCheck(t *testing.T) {
	var bodies [][]byte
	for n := range 4 {
		e := logs.Entry(n)
		e.Time = "2026-01-11T00:00:00.000000000Z"
		body, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		if len(body) != logs.BodySize {
			t.Fatalf("entry %d has %d bytes, want %d: %s", n, len(body), logs.BodySize, body)
		}
		bodies = append(bodies, body)
	}
	good := []logs.Ack{{Index: 2, N: 2}, {Index: 3, N: 3}}
	if err := logs.Check(good, 2, bodies); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"lost":    logs.Check(good, 2, bodies[:3]),
		"surplus": logs.Check(good, 1, bodies),
		"other":   logs.Check([]logs.Ack{{Index: 2, N: 3}, {Index: 3, N: 2}}, 2, bodies),
		"twice":   logs.Check([]logs.Ack{{Index: 2, N: 2}, {Index: 2, N: 2}}, 2, bodies),
		"old":     logs.Check([]logs.Ack{{Index: 1, N: 1}, {Index: 3, N: 3}}, 2, bodies),
		"beyond":  logs.Check([]logs.Ack{{Index: 2, N: 2}, {Index: 4, N: 4}}, 2, bodies),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// steady takes the same time for every entry, and longer for one of them.
type steady struct {
	mu         sync.Mutex
	size       uint64
	took, once time.Duration
	slow       int
}

func (s *steady) Append(_ context.Context, e ledger.Entry) (uint64, error) {
	took := s.took
	if e.DecisionID == logs.Entry(s.slow).DecisionID {
		took = s.once
	}
	time.Sleep(took) // of the bubble
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size++
	return s.size - 1, nil
}

func (*steady) Close() error { return nil }

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &steady{took: 10 * time.Millisecond, slow: -1}
		plan := logs.Plan{First: 7, Warm: 100 * time.Millisecond, Span: 2 * time.Second}
		acks, rate, err := logs.Closed(t.Context(), l, plan, 64)
		if err != nil {
			t.Fatal(err)
		}
		if rate != 6400 {
			t.Errorf("64 writers of 10 ms: %v entries/s, want 6400", rate)
		}
		if len(acks) != 64*210 {
			t.Errorf("%d acknowledged with those of the warm-up, want %d", len(acks), 64*210)
		}
		seen := map[int]bool{}
		for _, a := range acks {
			seen[a.N] = true
		}
		for n := range len(acks) {
			if !seen[7+n] {
				t.Fatalf("entry %d was not appended", 7+n)
			}
		}
	})
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &steady{took: 3 * time.Millisecond, slow: 1500, once: 80 * time.Millisecond}
		plan := logs.Plan{Warm: time.Second, Span: 2 * time.Second}
		acks, latencies, err := logs.Open(t.Context(), l, plan, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(acks) != 3000 || len(latencies) != 2000 {
			t.Fatalf("%d entries, %d latencies", len(acks), len(latencies))
		}
		for percent, want := range map[float64]float64{50: 3, 99.9: 3, 100: 80} {
			if got := logs.Percentile(latencies, percent); got != want {
				t.Errorf("percentile %v is %v ms, want %v", percent, got, want)
			}
		}
	})
}

func TestFailuresShow(t *testing.T) {
	if _, _, err := logs.Closed(t.Context(), broken{}, logs.Plan{Span: time.Second}, 4); !errors.Is(err, errBroken) {
		t.Errorf("closed loop: %v", err)
	}
	if _, _, err := logs.Open(t.Context(), broken{}, logs.Plan{Span: 5 * time.Millisecond}, time.Millisecond); !errors.Is(err, errBroken) {
		t.Errorf("open loop: %v", err)
	}
}

var errBroken = errors.New("no place")

type broken struct{}

func (broken) Append(context.Context, ledger.Entry) (uint64, error) { return 0, errBroken }
func (broken) Close() error                                         { return nil }

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		values        []float64
		percent, want float64
	}{
		{nil, 50, 0},
		{[]float64{4}, 99, 4},
		{[]float64{2, 1}, 50, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
		{hundred, 0, 1},
	} {
		t.Run(fmt.Sprint(len(c.values), c.percent), func(t *testing.T) {
			if got := logs.Percentile(c.values, c.percent); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
