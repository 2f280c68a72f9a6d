package engine

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
)

type doc = map[string]any

// compiled prepares testdata/cache.yaml, of which edit may change the text.
func compiled(t testing.TB, state doc) *Policy {
	t.Helper()
	c, findings := charter.Load("testdata/cache.yaml")
	if c == nil || findings.HasErrors() || compile.Check(c).HasErrors() {
		t.Fatalf("the test charter is not valid: %v", findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(context.Background(), b, state)
	if err != nil || p.Uncached() != "" {
		t.Fatalf("decisions are not cached: %v %s", err, p.Uncached())
	}
	return p
}

func question(metric string) decision.Input {
	return decision.Input{
		Metric: metric, Node: "edge-1", Role: "operator", Operation: decision.Collect,
		Claims: []string{"mtls"}, Time: "2026-03-01T00:00:00Z",
	}
}

func with(edit func(*decision.Input)) decision.Input {
	in := question("latency_p50")
	edit(&in)
	return in
}

func active(p *Policy, o Options) *Engine {
	e := NewWith(o)
	e.Swap(p)
	return e
}

// What shares an answer, and what must not: too fine costs speed, too coarse
// would be a wrong answer.
func TestKeys(t *testing.T) {
	p := compiled(t, doc{
		"nodes": doc{
			"eu-1": doc{"labels": doc{"site": "eu", "rack": "1"}}, "eu-2": doc{"labels": doc{"site": "eu", "rack": "2"}},
			"us-1": doc{"labels": doc{"site": "us"}},
		},
	})
	key := func(in decision.Input) key {
		k, ok := p.keys.key(&in)
		if !ok {
			t.Fatalf("%+v has no key", in)
		}
		return k
	}
	node := func(name string) decision.Input { return with(func(in *decision.Input) { in.Node = name }) }
	labels := func(pairs ...string) decision.Input {
		return with(func(in *decision.Input) {
			in.Labels = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				in.Labels[pairs[i]] = pairs[i+1]
			}
		})
	}
	at := func(time string) decision.Input { return with(func(in *decision.Input) { in.Time = time }) }
	claims := func(claims ...string) decision.Input { return with(func(in *decision.Input) { in.Claims = claims }) }
	for _, tc := range []struct {
		name string
		a, b decision.Input
		want bool
	}{
		{"exact names of one clause", question("latency_p50"), question("latency_p95"), true},
		{"names of two clauses", question("latency_p50"), question("node_load"), false},
		{"names of one glob", question("node_load"), question("node_memory"), true},
		{"a longer prefix", question("node_load"), question("node_cpu_x"), false},
		{"globs of one clause and one rank", question("aa_x"), question("bb_x"), true},
		{"a forbidden part of the name", question("node_load"), question("node_gps"), false},
		{"unknown names", question("nothing"), question("nobody"), true},
		{"unmentioned nodes", node("n-1"), node("n-2"), true},
		{"nodes of one glob", node("edge-1"), node("edge-2"), true},
		{"a listed node", node("edge-1"), node("edge-7"), false},
		{"two nodes that one selector lists", node("east-1"), node("east-2"), true},
		{"two nodes that two selectors list", node("east-1"), node("west-1"), false},
		{"nodes of one site", node("eu-1"), node("eu-2"), true},
		{"nodes of two sites", node("eu-1"), node("us-1"), false},
		{"labels nobody mentions", labels("cpu", "0"), labels("mode", "idle", "cpu", "1"), true},
		{"a mentioned label", labels("serial", "1"), labels(), false},
		{"its value", labels("serial", "1"), labels("serial", "2"), true},
		{"a label of a forbidden glob", labels("gps_lat", "1"), labels(), false},
		{"two such labels", labels("gps_lat", "1"), labels("gps_lon", "1"), false},
		{"both, in any order", labels("gps_lat", "1", "gps_lon", "2"), labels("gps_lon", "1", "gps_lat", "2"), true},
		{"an empty label", labels("serial", ""), labels(), true},
		{"one interval", at("2026-03-01T00:00:00Z"), at("2026-03-31T23:59:59.999999999Z"), true},
		{"over a change point", at("2026-03-31T23:59:59.999999999Z"), at("2026-04-01T00:00:00Z"), false},
		{"a bare date", at("2026-04-01"), at("2026-04-01T02:00:00+02:00"), true},
		{"claims nobody requires", claims("mtls", "x"), claims("y", "mtls", "mtls"), true},
		{"a required claim", claims("mtls"), claims(), false},
		{"role", question("latency_p50"), with(func(in *decision.Input) { in.Role = "auditor" }), false},
		{"operation", question("latency_p50"), with(func(in *decision.Input) { in.Operation = decision.Read }), false},
		{"purpose", question("latency_p50"), with(func(in *decision.Input) { in.Purpose = "operations" }), false},
		{"retention", question("latency_p50"), with(func(in *decision.Input) { in.Retention = "1d" }), false},
	} {
		if a, b := key(tc.a), key(tc.b); (a == b) != tc.want {
			t.Errorf("%s: %+v and %+v", tc.name, a, b)
		}
	}
}

// A question that has no key is evaluated, every time.
func TestBypass(t *testing.T) {
	p := compiled(t, doc{
		"standing":    doc{"edge-2": doc{"state": "suspended", "until": "soon"}},
		"revocations": doc{"edge-3": "for good"},
		"grants":      doc{"responder": doc{"edge-4": doc{"granted": "2026-03-01"}}, "odd": []any{}},
		"nodes":       doc{"edge-5": doc{"labels": "none"}},
	})
	e := active(p, Options{})
	for name, edit := range map[string]func(*decision.Input){
		"no time":      func(in *decision.Input) { in.Time = "" },
		"not a time":   func(in *decision.Input) { in.Time = "soon" },
		"odd standing": func(in *decision.Input) { in.Node = "edge-2" },
		"odd entry":    func(in *decision.Input) { in.Node = "edge-3" },
		"long name":    func(in *decision.Input) { in.Node = strings.Repeat("n", 600) },
		"grant":        func(in *decision.Input) { in.Node, in.Role = "edge-4", "responder" },
		"odd grants":   func(in *decision.Input) { in.Role = "odd" },
		"odd labels":   func(in *decision.Input) { in.Node = "edge-5" },
		"many such labels": func(in *decision.Input) {
			in.Labels = map[string]string{"gps_a": "1", "gps_b": "1", "gps_c": "1", "gps_d": "1", "gps_e": "1"}
		},
		"long such label":  func(in *decision.Input) { in.Labels = map[string]string{fmt.Sprintf("gps_%0100d", 1): "1"} },
		"invalid question": func(in *decision.Input) { in.Metric = "" },
		"invalid claim":    func(in *decision.Input) { in.Claims = []string{"\xff"} },
		"invalid label":    func(in *decision.Input) { in.Labels = map[string]string{"a": "\xff"} },
		"long role":        func(in *decision.Input) { in.Role = fmt.Sprintf("%0300d", 1) },
	} {
		before := e.Stats()
		for range 2 {
			if _, err := e.Decide(t.Context(), with(edit)); err != nil {
				t.Fatal(err)
			}
		}
		if after := e.Stats(); after.Bypassed != before.Bypassed+2 || after.Hits+after.Misses != 0 {
			t.Errorf("%s: %+v", name, after)
		}
	}
	if _, ok := p.keys.key(&decision.Input{Metric: "a", Role: "responder", Operation: decision.Read, Node: "edge-1", Time: "2026-03-01"}); !ok {
		t.Error("another node of a granted role has no key")
	}
}

// State that nobody documents may mean anything to the rules.
func TestUnusualStateIsNotCached(t *testing.T) {
	p := compiled(t, nil)
	for name, state := range map[string]doc{
		"standing":      {"standing": []any{"edge-1"}},
		"revocations":   {"revocations": "all"},
		"grants":        {"grants": 1},
		"nodes":         {"nodes": nil},
		"overrides":     {"overrides": []any{}},
		"override":      {"overrides": doc{"o-1": "x"}},
		"no end":        {"overrides": doc{"o-1": doc{}}},
		"end":           {"overrides": doc{"o-1": doc{"until": "never"}}},
		"beginning":     {"overrides": doc{"o-1": doc{"until": "2026-04-01", "from": 7}}},
		"override node": {"overrides": doc{"o-1": doc{"until": "2026-04-01", "nodes": "edge-1"}}},
		"a node of it":  {"overrides": doc{"o-1": doc{"until": "2026-04-01", "nodes": []any{7}}}},
		"expiry":        {"expires": "soon"},
		"far expiry":    {"expires": "2500-01-01"},
	} {
		odd, err := p.WithState(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		e := active(odd, Options{})
		for range 2 {
			if _, err := e.Decide(t.Context(), question("latency_p50")); err != nil {
				t.Fatal(err)
			}
		}
		if s := e.Stats(); odd.Uncached() == "" || s.Off != odd.Uncached() || s.Bypassed != 2 {
			t.Errorf("%s: %q, %+v", name, odd.Uncached(), s)
		}
		if back, err := odd.WithState(t.Context(), nil); err != nil || back.Uncached() != "" {
			t.Errorf("after %s nothing is cached any more: %v %s", name, err, back.Uncached())
		}
	}
}

// At the very instant at which a waiver ends, a cached answer must end with it.
func TestNothingOutlivesItsChangePoint(t *testing.T) {
	e := active(compiled(t, nil), Options{VerifyEvery: -1})
	for _, tc := range []struct {
		time  string
		allow bool
	}{
		{"2026-01-31T23:59:59.999999999Z", false},
		{"2026-02-01T00:00:00Z", true},
		{"2026-03-31T23:59:59.999999999Z", true},
		{"2026-04-01T00:00:00Z", false},
		{"2026-04-01T01:59:59+02:00", true},
		{"2026-04-01", false},
		{"2026-03-31", true},
	} {
		d, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Node, in.Retention, in.Time = "edge-7", "60d", tc.time }))
		if err != nil || d.Allow != tc.allow {
			t.Errorf("%s: %+v, %v", tc.time, d, err)
		}
	}
	if s := e.Stats(); s.Hits != 4 || s.Misses != 3 {
		t.Errorf("three intervals should make three evaluations: %+v", s)
	}
}

// A new state must count for the very next question.
func TestSwapForgets(t *testing.T) {
	p := compiled(t, nil)
	e := active(p, Options{})
	ask := func() decision.Decision {
		d, err := e.Decide(t.Context(), question("latency_p50"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	ask()
	if !ask().Allow || e.Stats().Hits != 1 || e.Stats().Entries != 1 {
		t.Fatalf("the answer is not cached: %+v", e.Stats())
	}
	held, err := p.WithState(t.Context(), doc{"standing": doc{"edge-1": doc{"state": "suspended"}}})
	if err != nil {
		t.Fatal(err)
	}
	if e.Swap(held) != p || ask().Allow || e.Swap(p) != held || !ask().Allow {
		t.Error("an answer outlived its state")
	}
	if s := e.Stats(); s.Misses != 3 || s.Hits != 1 {
		t.Errorf("the cache was not emptied: %+v", s)
	}
}

func TestCacheIsOff(t *testing.T) {
	e := active(compiled(t, nil), Options{CacheSize: -1})
	for range 3 {
		if d, err := e.Decide(t.Context(), question("latency_p50")); err != nil || !d.Allow {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if s := e.Stats(); s.Bypassed != 3 || s.Off == "" || s.Entries != 0 {
		t.Errorf("%+v", s)
	}
	if s := New().Stats(); s.Off == "" {
		t.Error("a cache without a policy")
	}
}

func TestCacheIsBounded(t *testing.T) {
	e := active(compiled(t, nil), Options{CacheSize: 16})
	for i := range 400 {
		if _, err := e.Decide(t.Context(), with(func(in *decision.Input) { in.Role = fmt.Sprint("role ", i) })); err != nil {
			t.Fatal(err)
		}
	}
	s := e.active.Load()
	s.answers.CleanUp()
	if n := e.Stats().Entries; n > 16 || n == 0 {
		t.Errorf("%d entries", n)
	}
}

// The limits of what names can make the engine remember.
func TestClassesAreBounded(t *testing.T) {
	var n interner
	for i := range maxClasses {
		if _, ok := n.of(fmt.Append(nil, i)); !ok {
			t.Fatalf("content %d is refused", i)
		}
	}
	if _, ok := n.of([]byte("one more")); ok {
		t.Error("there is no bound")
	}
	if number, ok := n.of([]byte("7")); !ok || number != 8 {
		t.Errorf("a known content: %d, %t", number, ok)
	}
}

// A node that checks metrics all day must not make garbage of it.
func TestHitDoesNotAllocate(t *testing.T) {
	e := active(compiled(t, doc{"nodes": doc{"edge-1": doc{"labels": doc{"site": "eu"}}}}), Options{VerifyEvery: -1})
	s := e.active.Load()
	plain, full := question("latency_p50"), question("node_cpu_seconds_total")
	full.Labels = map[string]string{"cpu": "0", "mode": "idle", "serial": "1", "gps_lat": "1", "gps_lon": "2"}
	full.Purpose, full.Retention, full.Time = "operations", "30d", "2026-03-01T12:00:00.123456789+02:00"
	for _, in := range []decision.Input{plain, full, question("node_gps")} {
		if got := testing.AllocsPerRun(200, func() {
			if _, _, err := s.decide(t.Context(), &in); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations", in.Metric, got)
		}
	}
	if got := testing.AllocsPerRun(200, func() { _, _ = e.Decide(t.Context(), full) }); got > 1 {
		t.Errorf("a hit of the engine: %v allocations, the id is one", got)
	}
	// Neither must finding the class of a name, remembered or not.
	if got := testing.AllocsPerRun(200, func() { s.keys.metrics.resolve("node_cpu_seconds_total") }); got != 0 {
		t.Errorf("finding a class: %v allocations", got)
	}
}

func TestBatch(t *testing.T) {
	e := active(compiled(t, nil), Options{})
	in := []decision.Input{
		question("latency_p50"), question("latency_p95"), question("latency_p50"), question("latitude"),
		with(func(in *decision.Input) { in.Time = "" }), with(func(in *decision.Input) { in.Time = "" }),
		with(func(in *decision.Input) { in.Metric = "" }), question("latncy_p50"), question("latency_p51"),
		with(func(in *decision.Input) { in.Time, in.Labels = "", map[string]string{"b": "1", "a": "2"} }),
	}
	got := e.DecideBatch(t.Context(), in)
	ids := map[string]bool{}
	for i, d := range got {
		want, err := e.Current().Decide(t.Context(), in[i])
		ids[d.DecisionID], d.DecisionID = true, ""
		want = e.Current().Locate(want)
		want.Suggestion = d.Suggestion
		if err != nil || !reflect.DeepEqual(d, want) {
			t.Errorf("%d:\n got %+v\nwant %+v (%v)", i, d, want, err)
		}
	}
	if len(ids) != len(in) || ids[""] {
		t.Errorf("%d ids for %d questions", len(ids), len(in))
	}
	if got[7].Suggestion != "did you mean latency_p50?" || got[8].Suggestion != "did you mean latency_p50?" {
		t.Errorf("suggestions %q, %q", got[7].Suggestion, got[8].Suggestion)
	}
	if s := e.Stats(); s.Misses != 3 || s.Bypassed != 3 || s.Repeated != 4 || s.Hits != 0 {
		t.Errorf("%+v", s)
	}
	off := active(compiled(t, nil), Options{CacheSize: -1})
	for range 2 {
		off.DecideBatch(t.Context(), in)
	}
	if s := off.Stats(); s.Bypassed != 2*6 || s.Repeated != 2*4 || s.Misses+s.Hits != 0 {
		t.Errorf("without a cache, equal questions of a batch are decided once and nothing is kept: %+v", s)
	}
	if got := New().DecideBatch(t.Context(), in[:2]); got[0].Outcome != decision.NoPolicy || got[1].DecisionID == "" {
		t.Errorf("without a policy: %+v", got)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if got := e.DecideBatch(ended, in[4:6]); got[0].Reasons[0].Code != decision.CodeUndetermined || got[1].Allow {
		t.Errorf("after the end: %+v", got)
	}
}

// Many goroutines, one cache, policies that come and go: each answer is that of
// the revision it names.
func TestCacheUnderLoad(t *testing.T) {
	p := compiled(t, nil)
	held, err := p.WithState(t.Context(), doc{"standing": doc{"edge-9": doc{"state": "suspended"}}})
	if err != nil {
		t.Fatal(err)
	}
	e := active(p, Options{CacheSize: 32, VerifyEvery: 7, OnMismatch: func(m Mismatch) { t.Errorf("mismatch: %+v", m) }})
	metrics := []string{"latency_p50", "latency_p95", "node_load", "node_cpu_x", "latitude", "nothing"}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				in := question(metrics[(g+i)%len(metrics)])
				in.Node = fmt.Sprintf("edge-%d", i%9)
				want := in.Metric != "latitude" && in.Metric != "nothing"
				if i%10 == 0 {
					for _, d := range e.DecideBatch(t.Context(), []decision.Input{in, in}) {
						if d.Allow != want {
							t.Errorf("%s: %+v", in.Metric, d)
						}
					}
				}
				if d, err := e.Decide(t.Context(), in); err != nil || d.Allow != want {
					t.Errorf("%s: %+v, %v", in.Metric, d, err)
				}
				if g == 0 && i%20 == 0 {
					e.Swap([]*Policy{p, held}[i/20%2])
				}
			}
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Hits == 0 || s.Mismatches != 0 {
		t.Errorf("%+v", s)
	}
}

// A charter may name more labels than a key has bits for.
func TestManyLabels(t *testing.T) {
	named := map[string]uint64{}
	for i := range 70 {
		named[fmt.Sprintf("label_%02d", i)] = 0
	}
	y := &keyer{vocabulary: &vocabulary{labels: numbered(named)}}
	seen := map[[2]uint64]string{}
	for label := range named {
		bits, further, ok := y.labelsOf(&decision.Input{Labels: map[string]string{label: "v", "other": "v"}})
		set := [2]uint64{bits, uint64(further)}
		if !ok || seen[set] != "" || set == [2]uint64{} {
			t.Errorf("%s: %v, %t, as %s", label, set, ok, seen[set])
		}
		seen[set] = label
	}
}
