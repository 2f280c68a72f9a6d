package engine

import (
	"context"
	"reflect"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

// A wrong answer in the cache must be found, reported and never be given again.
func TestMismatchTurnsTheCacheOff(t *testing.T) {
	var found []Mismatch
	e := active(compiled(t, nil), Options{VerifyEvery: 3, OnMismatch: func(m Mismatch) { found = append(found, m) }})
	in := question("latitude") // forbidden
	s := e.active.Load()
	k, _ := s.key(&in)
	s.answers.Set(k, &decision.Decision{Allow: true, Outcome: decision.Allowed})
	var allowed []bool
	for range 5 {
		d, err := e.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		allowed = append(allowed, d.Allow)
	}
	if !reflect.DeepEqual(allowed, []bool{true, true, false, false, false}) {
		t.Errorf("allowed: %v", allowed)
	}
	if len(found) != 1 || !found[0].Given.Allow || found[0].Reference.Outcome != decision.Forbidden || found[0].Input.Metric != "latitude" {
		t.Errorf("reported: %+v", found)
	}
	if st := e.Stats(); st.Mismatches != 1 || st.Verified != 1 || st.Bypassed != 2 || st.Off == "" {
		t.Errorf("%+v", st)
	}
}

// A plan that decides otherwise than the rules must be found, reported and not be asked
// again.
func TestWrongPlanIsFound(t *testing.T) {
	var found []Mismatch
	e := NewWith(Options{CacheSize: -1, VerifyEvery: 3, OnMismatch: func(m Mismatch) { found = append(found, m) }})
	p := *compiled(t, nil)
	p.plan = compiled(t, doc{"revocations": doc{"edge-1": doc{}}}).plan // that of another state
	e.Swap(&p)
	var allowed []bool
	for range 5 {
		d, err := e.Decide(t.Context(), question("latency_p50"))
		if err != nil {
			t.Fatal(err)
		}
		allowed = append(allowed, d.Allow)
	}
	if !reflect.DeepEqual(allowed, []bool{false, false, true, true, true}) {
		t.Errorf("allowed: %v", allowed)
	}
	if len(found) != 1 || found[0].Given.Allow || !found[0].Reference.Allow {
		t.Errorf("reported: %+v", found)
	}
	if st := e.Stats(); st.Mismatches != 1 || st.Off == "" {
		t.Errorf("%+v", st)
	}
}

// State documents come all the time. A plan that was wrong is not asked again because of
// one: not until there is another policy.
func TestWrongPlanStaysOff(t *testing.T) {
	p := *compiled(t, nil)
	p.plan = compiled(t, doc{"revocations": doc{"edge-1": doc{}}}).plan // that of another state
	e := active(&p, Options{VerifyEvery: 2, OnMismatch: func(Mismatch) {}})
	if p.Mistaken() {
		t.Fatal("nobody has looked yet")
	}
	for range 2 {
		_, _ = e.Decide(t.Context(), question("latency_p50"))
	}
	other, err := p.WithState(t.Context(), doc{"standing": doc{"edge-2": doc{"state": "warned"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]*Policy{"itself": &p, "another state": other, "by itself": p.Reference()} {
		next.plan = p.plan
		e.Swap(next)
		if d, err := e.Decide(t.Context(), question("latency_p50")); err != nil || !d.Allow || e.Stats().Off == "" || !next.Mistaken() {
			t.Errorf("%s: %+v, %v; the cache is off for %q", name, d, err, e.Stats().Off)
		}
		if d, err := next.Decide(t.Context(), question("latency_p50")); err != nil || !d.Allow {
			t.Errorf("%s, asked without an engine: %+v, %v", name, d, err)
		}
	}
	e.Swap(compiled(t, nil))
	if st := e.Stats(); st.Off != "" {
		t.Errorf("the next policy has no cache either: %s", st.Off)
	}
}

func TestVerification(t *testing.T) {
	e := active(compiled(t, nil), Options{VerifyEvery: 4})
	for range 21 {
		if _, err := e.Decide(t.Context(), question("latency_p50")); err != nil {
			t.Fatal(err)
		}
	}
	if s := e.Stats(); s.Hits != 20 || s.Verified != 5 || s.Mismatches != 0 {
		t.Errorf("%+v", s)
	}
	// Without time to verify, a hit is a hit.
	every := active(compiled(t, nil), Options{VerifyEvery: 1})
	if _, err := every.Decide(t.Context(), question("latency_p50")); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if d, err := every.Decide(ended, question("latency_p50")); err != nil || !d.Allow || every.Stats().Mismatches != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}
