package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The whole thing, short and without a bar: every answer is right while charters
// come and go.
func TestNoWrongAnswerUnderReload(t *testing.T) {
	var out, faults bytes.Buffer
	code := run(t.Context(), []string{"-rate", "300", "-duration", "3s", "-reload", "500ms", "-metrics", "200", "-pool", "500", "-p99", "0"}, &out, &faults)
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, &faults, &out)
	}
	got := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		var f figure
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Unit == "" {
			t.Fatalf("%s: %v", line, err)
		}
		got[f.Name] = f.Value
	}
	if got["load_questions"] != 900 || got["load_wrong"] != 0 || got["load_errors"] != 0 || got["load_reloads"] < 1 || got["load_p50"] <= 0 || got["load_max"] < got["load_p99"] {
		t.Errorf("%v", got)
	}
}

// The charters really differ, or no wrong answer could be noticed.
func TestRevisionsAnswerDifferently(t *testing.T) {
	questions, names, err := pool(t.Context(), 300, 200)
	if err != nil || len(names) != 2 || names[0] == names[1] {
		t.Fatal(names, err)
	}
	differ, allowed := 0, 0
	for i := range questions {
		q := &questions[i]
		a, b := q.want[names[0]], q.want[names[1]]
		a.Revision = b.Revision
		first, _ := json.Marshal(a)
		second, _ := json.Marshal(b)
		if !bytes.Equal(first, second) {
			differ++
		}
		if a.Allow {
			allowed++
		}
		right, err := json.Marshal(q.want[names[0]])
		if err != nil {
			t.Fatal(err)
		}
		if wrong := q.judge(right, names[0]) + q.judge(right, ""); wrong != "" {
			t.Fatalf("a right answer is wrong: %s", wrong)
		}
		if again := bytes.Replace(right, []byte(`"allow":`), []byte(`"decision_id":"x","allow":`), 1); q.judge(again, names[0])+q.judge(again, names[0]) != "" {
			t.Fatalf("a right answer with an id is wrong")
		}
		if q.judge(right, names[1]) == "" {
			t.Fatal("an answer of a revision that is not in force any more is not noticed")
		}
		if !bytes.Equal(first, second) {
			forged := q.want[names[1]]
			forged.Revision = names[0]
			text, _ := json.Marshal(forged)
			if q.judge(text, names[0]) == "" {
				t.Fatalf("the answer of another revision is not noticed: %s", text)
			}
		}
	}
	if differ < 200 || allowed < 50 || allowed > 250 {
		t.Errorf("of 300 answers %d differ, %d allow", differ, allowed)
	}
	if questions[0].judge([]byte("{"), "") == "" || questions[0].judge([]byte(`{"revision":"x"}`), "") == "" {
		t.Error("what is not a decision is not noticed")
	}
}

// stalling answers in a millisecond but for one second in which it answers
// nothing.
type stalling struct {
	start time.Time
	asked atomic.Int64
}

func (s *stalling) ask(context.Context, int) verdict {
	s.asked.Add(1)
	if at := time.Since(s.start); at >= time.Second && at < 2*time.Second {
		<-time.After(2*time.Second - at)
	}
	<-time.After(time.Millisecond)
	return verdict{}
}

// A stall is seen by every question that was due while it lasted, not only by
// those that were sent: otherwise a server that stands still looks fast.
func TestStallsShowInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stalling{start: time.Now()}
		r := flood(t.Context(), s, 1000, 10*time.Second)
		if len(r.latency) != 10_000 || s.asked.Load() != 10_000 || r.wrong+r.failed > 0 {
			t.Fatalf("%d latencies, %d asked", len(r.latency), s.asked.Load())
		}
		// A tenth of all was due in the second, uniformly: the 95th percentile waited for half of it.
		if p90, p95, worst := quantile(r.latency, 0.89), quantile(r.latency, 0.95), quantile(r.latency, 1); p90 > 2*time.Millisecond || p95 < 450*time.Millisecond || p95 > 550*time.Millisecond || worst < time.Second {
			t.Errorf("p90 %s, p95 %s, max %s", p90, p95, worst)
		}
		// More were due than can be under way, so some were sent late.
		if late := quantile(r.late, 1); late < 400*time.Millisecond {
			t.Errorf("none was sent late: %s", late)
		}
	})
}

func TestQuantiles(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("%v: %d, want %d", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("of none")
	}
}

func TestFaultsFail(t *testing.T) {
	r := &result{latency: []time.Duration{20 * time.Millisecond}}
	r.blame(verdict{wrong: "w1"})
	r.blame(verdict{wrong: "w2"})
	r.blame(verdict{trouble: "t1"})
	got := strings.Join(r.faults(10*time.Millisecond), "\n")
	for _, want := range []string{"2 wrong answers, such as: w1", "1 errors, such as: t1", "p99 is 20ms, the bar is 10ms"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if faults := (&result{latency: []time.Duration{20 * time.Millisecond}}).faults(0); len(faults) > 0 {
		t.Errorf("without a bar: %q", faults)
	}
	for _, args := range [][]string{{"-rate", "0"}, {"-no-such-flag"}, {"argument"}, {"-duration", "-1s"}} {
		if code := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
