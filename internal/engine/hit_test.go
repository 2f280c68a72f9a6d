package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/decision"
)

// A question that comes again is answered without a key, but only as long as nothing
// changes by itself.
func TestAskedAgainOverAChangePoint(t *testing.T) {
	p := compiled(t, doc{"standing": doc{"edge-2": doc{"state": "suspended", "until": "2026-03-10"}}})
	e := active(p, Options{VerifyEvery: -1})
	at := func(time string) decision.Input {
		return with(func(in *decision.Input) { in.Node, in.Time = "edge-2", time })
	}
	for _, tc := range []struct{ time, want string }{
		{"2026-03-01T00:00:00Z", decision.Suspended},
		{"2026-03-09T23:59:59.999999999Z", decision.Suspended},
		{"2026-03-10T00:00:00Z", decision.Allowed},
		{"2026-03-10T01:59:59+02:00", decision.Suspended},
		{"2026-03-10", decision.Allowed},
		{"2026-03-01T00:00:00Z", decision.Suspended},
	} {
		for range 2 {
			if d, err := e.Decide(t.Context(), at(tc.time)); err != nil || d.Outcome != tc.want {
				t.Errorf("%s: %s, want %s (%v)", tc.time, d.Outcome, tc.want, err)
			}
		}
	}
	if s := e.Stats(); s.Misses != 2 {
		t.Errorf("%d evaluations of two answers", s.Misses)
	}
}

// Two questions may have the same text only if nothing but time and uncounted labels
// differs, wherever one part ends and the next begins.
func TestTextOfAQuestion(t *testing.T) {
	y := compiled(t, nil).keys
	part := rapid.StringOf(rapid.RuneFrom([]rune("a\x01\x02")))
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (decision.Input, reading) {
			in := decision.Input{
				Metric: part.Draw(t, "metric"), Node: part.Draw(t, "node"), Role: part.Draw(t, "role"), Operation: part.Draw(t, "operation"),
				Purpose: part.Draw(t, "purpose"), Retention: part.Draw(t, "retention"), Claims: rapid.SliceOfN(part, 0, 3).Draw(t, "claims"),
				Labels: map[string]string{}, Time: "2026-03-01",
			}
			for _, label := range rapid.SliceOf(rapid.SampledFrom([]string{"serial", "gps_lat", "cpu"})).Draw(t, "labels") {
				in.Labels[label] = "x"
			}
			var r reading
			if !y.read(&in, &r) {
				t.Fatalf("%+v cannot be read", in)
			}
			delete(in.Labels, "cpu") // which nobody mentions
			return in, r
		}
		a, first := draw()
		b, second := draw()
		if first.size == 0 || second.size == 0 {
			t.Skip("too long")
		}
		if same := string(first.text()) == string(second.text()); same != equal(a, b) {
			t.Fatalf("%+v and %+v: the same text %v", a, b, same)
		}
		a.Labels, b.Labels, a.Metric, b.Metric = nil, nil, "", ""
		if same := string(first.asker()) == string(second.asker()); same != equal(a, b) {
			t.Fatalf("%+v and %+v: the same asker %v", a, b, same)
		}
	})
}

func equal(a, b decision.Input) bool {
	return string(appendQuestion(nil, &a)) == string(appendQuestion(nil, &b))
}

// A question too long to be remembered has its answer from the cache all the same.
func TestLongQuestion(t *testing.T) {
	e := active(compiled(t, nil), Options{VerifyEvery: -1})
	in := with(func(in *decision.Input) {
		for i := range 20 {
			in.Claims = append(in.Claims, fmt.Sprintf("claim-%020d", i))
		}
	})
	for range 3 {
		if d, err := e.Decide(t.Context(), in); err != nil || !d.Allow {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if s := e.Stats(); s.Hits != 2 || s.Misses != 1 {
		t.Errorf("%+v", s)
	}
}

// Questions are remembered in no more room than the cache has, whatever its size.
func TestRoomOfQuestions(t *testing.T) {
	for size, want := range map[int]int{1: 2, 2: 4, 3: 4, 1000: 1024, maxAsked - 1: maxAsked, maxAsked: maxAsked, math.MaxInt: maxAsked} {
		if got := len(NewWith(Options{CacheSize: size}).newAsked().slots); got != want {
			t.Errorf("room for %d questions beside %d answers, want %d", got, size, want)
		}
	}
}

// What a memo returns must be what was last put under the very name.
func TestMemo(t *testing.T) {
	m := newMemo[int](4)
	put := map[string]int{}
	for i := range 1000 {
		name := fmt.Sprintf("n%d", i%16)
		m.put([]byte(name), i)
		if got := m.get(name); got != nil && *got == i {
			put[name] = i
		}
		for other := range put {
			if got := m.get(other); got != nil && *got != put[other] {
				t.Fatalf("%s is %d, want %d", other, *got, put[other])
			}
			if got, again := m.get(other), m.getBytes([]byte(other)); got != again {
				t.Fatalf("%s: two ways to ask, two answers", other)
			}
		}
	}
	if m.put([]byte("kept"), 1); len(put) < 4 {
		t.Errorf("only %d names were ever remembered", len(put))
	}
	long := strings.Repeat("x", decision.MaxNameBytes+1)
	if m.put([]byte(long), 1); m.get(long) != nil {
		t.Error("a name that no question may have is remembered")
	}
}

func TestDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint32().Draw(t, "x")
		got := binary.BigEndian.AppendUint64(nil, digitsOf(x))
		if want := fmt.Sprintf("%08x", x); string(got) != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

// Ids tell when they were made, and sort by that.
func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var ids []string
	for i := range 2000 {
		id := newID(at.Add(time.Duration(i) * time.Microsecond).UnixNano())
		var ms int64
		if _, err := fmt.Sscanf(strings.ReplaceAll(id[:13], "-", ""), "%x", &ms); err != nil || ms != at.UnixMilli()+int64(i/1000) {
			t.Fatalf("%s: %d, %v", id, ms, err)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Error("ids of one process do not sort by time")
	}
	last := newID(at.Truncate(time.Millisecond).Add(time.Millisecond - 1).UnixNano())
	if got := last[:18]; got[14:] != "7fff" {
		t.Errorf("the end of a millisecond is %s", got)
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		for _, pause := range []time.Duration{0, time.Nanosecond, time.Millisecond, time.Second - 1, time.Second, time.Hour} {
			<-time.After(pause)
			if got, want := c.now(), time.Now().UnixNano(); got != want {
				t.Errorf("after %v: %d, want %d", pause, got, want)
			}
		}
		behind := time.Now().Add(-time.Hour)
		c.last.Store(&timeOfDay{behind, behind.UnixNano() + 1}) // as if the time of day had been set
		if got, want := c.now(), time.Now().UnixNano(); got != want {
			t.Errorf("a second after it was set: %d, want %d", got, want)
		}
	})
}

// Verification takes a hundredth of the time at most, and a clock that is set back does
// not stop it.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{pause: 20 * time.Millisecond}
		due := func(after time.Duration, want bool) {
			t.Helper()
			if <-time.After(after); p.ready() != want {
				t.Errorf("after %v: ready is %v", after, !want)
			}
		}
		due(0, true)
		p.rest(50 * time.Microsecond) // of which there may be two hundred a second
		due(20*time.Millisecond-1, false)
		due(1, true)
		p.rest(time.Millisecond)
		due(100*time.Millisecond-1, false)
		due(1, true)
		p.rest(time.Hour)
		due(maxRest-1, false)
		due(1, true)
		p.next.Store(time.Now().Add(maxRest + time.Hour).UnixNano())
		due(0, true)
	})
	var always pace
	always.rest(time.Hour)
	for range 2 {
		if !always.ready() {
			t.Error("a pace without a pause holds something back")
		}
	}
}

// Suggestions belong to the name, not to the answer it shares with others.
func TestSuggestionAgain(t *testing.T) {
	e := active(compiled(t, nil), Options{VerifyEvery: -1})
	var got [2][]string
	for i := range got {
		for _, metric := range []string{"latency_p5", "nothing", "latency_p9"} {
			d, err := e.Decide(t.Context(), question(metric))
			if err != nil || d.Outcome != decision.UnknownMetric {
				t.Fatalf("%s: %s, %v", metric, d.Outcome, err)
			}
			got[i] = append(got[i], d.Suggestion)
		}
	}
	if got[0][0] == "" || got[0][1] != "" || got[0][0] == got[0][2] || !reflect.DeepEqual(got[0], got[1]) {
		t.Errorf("%q", got)
	}
}
