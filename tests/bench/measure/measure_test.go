package measure_test

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/bench/measure"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1}, 5},
		{[]float64{100, 2, 1}, 2}, // one wild round does not matter
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := measure.Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", before, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("Median changed %v to %v", before, c.values)
		}
	}
}

// fake is a process whose every question costs the same.
type fake struct {
	spent, cost time.Duration
	asked       []int
	log         *[]string
	name        string
}

func (f *fake) side() measure.Side {
	return measure.Side{
		CPU: func() (time.Duration, error) {
			*f.log = append(*f.log, f.name)
			return f.spent, nil
		},
		Ask: func(_ context.Context, i int) error {
			f.spent += f.cost
			f.asked = append(f.asked, i)
			return nil
		},
	}
}

func TestCompare(t *testing.T) {
	var log []string
	a := &fake{cost: 30 * time.Microsecond, log: &log, name: "a"}
	b := &fake{cost: 2 * time.Microsecond, log: &log, name: "b"}
	plan := measure.Plan{Rounds: 5, Target: 10 * time.Millisecond, Questions: 50}
	got, err := measure.Compare(t.Context(), plan, a.side(), b.side())
	if err != nil {
		t.Fatal(err)
	}
	if got.Ratio() != 15 || got.Low != 15 || got.High != 15 || got.Rounds != 5 {
		t.Errorf("got %+v with ratio %v, want 15 in 5 rounds", got, got.Ratio())
	}
	if got.A.Nanos != 30_000 || got.B.Nanos != 2_000 {
		t.Errorf("costs %v and %v, want 30,000 and 2,000 ns", got.A.Nanos, got.B.Nanos)
	}
	// The clock is read twice a round; rounds of both sides take turns.
	want := slices.Repeat([]string{"a", "a", "b", "b"}, 5)
	if last := log[len(log)-len(want):]; !slices.Equal(last, want) {
		t.Errorf("order of rounds %v, want them to alternate", last)
	}
	for _, f := range []*fake{a, b} {
		if len(f.asked)%measure.Block != 0 {
			t.Errorf("side %s asked %d questions, not whole blocks: its mixture differs", f.name, len(f.asked))
		}
		if slices.Max(f.asked) >= plan.Questions {
			t.Errorf("side %s asked question %d of %d", f.name, slices.Max(f.asked), plan.Questions)
		}
	}
}

// A batch is charged to the questions in it.
func TestCompareBatches(t *testing.T) {
	var log []string
	a := &fake{cost: time.Millisecond, log: &log}
	b := &fake{cost: time.Millisecond, log: &log}
	batches := b.side()
	batches.Each, batches.Steps = 100, 1
	got, err := measure.Compare(t.Context(), measure.Plan{Rounds: 3, Target: time.Millisecond, Questions: 1000}, a.side(), batches)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Ratio()-100) > 1e-9 {
		t.Errorf("ratio %v, want 100", got.Ratio())
	}
}

func TestCompareFails(t *testing.T) {
	broken := errors.New("no answer")
	side := measure.Side{CPU: measure.Self, Ask: func(context.Context, int) error { return broken }}
	if _, err := measure.Compare(t.Context(), measure.Plan{Rounds: 3, Questions: 20}, side, side); !errors.Is(err, broken) {
		t.Errorf("error %v, want the one of the question", err)
	}
}

// The clock of a process must be in the unit of our own, whoever reads it.
func TestClocks(t *testing.T) {
	self, err := measure.Self()
	if err != nil {
		t.Fatal(err)
	}
	other, err := measure.Process(os.Getpid())()
	if err != nil {
		t.Fatal(err)
	}
	if other < self || other > self+time.Second {
		t.Errorf("this process used %v, seen from outside %v", self, other)
	}
	// One more than the greatest process id of Linux.
	if _, err := measure.Process(1<<22 + 1)(); err == nil {
		t.Error("a process that does not exist has a clock")
	}
}
