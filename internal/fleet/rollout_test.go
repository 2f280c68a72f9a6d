package fleet

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// world is a fleet that is watched, with nodes that poll and report.
type world struct {
	*testing.T
	f     *Fleet
	log   *book
	nodes map[string]*simulated
}

// simulated is a node that takes what it is offered, in the way that a test wants.
type simulated struct {
	name   string
	labels map[string]string
	has    int64
	asked  Decisions
	// fails says that it cannot activate a sequence, mute that it stops reporting with
	// it, denies is how many of 100 questions it denies with it, slow its latency.
	fails, mute int64
	sick        bool // reports the same trouble all the time
	stumbles    bool // reports a trouble once, with sequence 3
	denies      map[int64]uint64
	slow        map[int64]float64
}

// simulate runs a test in a bubble: time passes when everybody waits.
func simulate(t *testing.T, nodes int, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, log: &book{}, nodes: map[string]*simulated{}}
		dir := t.TempDir()
		f, err := openOn(quick(), Options{Dir: dir, Log: w.log})
		if err != nil {
			t.Fatal(err)
		}
		w.f = f
		ctx := t.Context()
		must(t)(f.Publish(ctx, "ana", []Release{signed(production, 1, "a")}))
		mustBegin(t, f, 1, everybody())
		if _, err := f.Promote(ctx, "ana", production); err != nil {
			t.Fatal(err)
		}
		must(t)(f.Publish(ctx, "ana", []Release{signed(production, 3, "b"), signed(production, 4, "a")}))
		for i := range nodes {
			name := fmt.Sprintf("edge-%d", i)
			w.nodes[name] = &simulated{name: name, asked: Decisions{Started: time.Now()}}
		}
		watching, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- f.Run(watching) }()
		w.pass(time.Minute)
		test(w)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time go by, in which every node polls and reports every 30 s.
func (w *world) pass(d time.Duration) {
	w.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, n := range w.nodes {
			n.step(w)
		}
		<-time.After(min(30*time.Second, time.Until(end)))
	}
	synctest.Wait()
}

func (n *simulated) step(w *world) {
	w.Helper()
	var fault *Fault
	if r, _, _, ok := w.f.Offer(production, n.name); ok {
		switch {
		case r.Sequence < n.has:
			w.Fatalf("%s runs %d and is offered %d", n.name, n.has, r.Sequence)
		case r.Sequence == n.fails:
			fault = &Fault{Code: "self_test_failed"}
		default:
			n.has = r.Sequence
		}
	}
	n.asked.Total += 100
	n.asked.Denied += n.denies[n.has]
	if n.sick || n.stumbles && n.has == 3 {
		fault = &Fault{Code: "unreachable"}
		n.stumbles = n.stumbles && n.has != 3
	}
	if n.mute != 0 && n.has == n.mute {
		return
	}
	report := running(n.name, n.has, time.Now())
	report.Labels, report.Decisions, report.Status.LastError = n.labels, n.asked, fault
	report.Decisions.P99 = 0.001 + n.slow[n.has]
	w.f.mustReport(w, report)
}

// run counts the nodes that run a sequence.
func (w *world) run(sequence int64) int {
	count := 0
	for _, n := range w.nodes {
		if n.has == sequence {
			count++
		}
	}
	return count
}

func staged() Plan {
	return Plan{Stages: []Stage{{Percent: 20, Soak: Duration(10 * time.Minute)}, {Percent: 50, Soak: Duration(10 * time.Minute)}, {Percent: 100, Soak: Duration(5 * time.Minute)}}, Gates: DefaultGates()}
}

// share is how many nodes a percentage reaches.
func (w *world) share(percent int) int {
	count := 0
	for name := range w.nodes {
		if decision.Bucket(signed(production, 3, "b").Digest, name) < percent {
			count++
		}
	}
	return count
}

func (w *world) want(state string, stage int, on3 int) Progress {
	w.Helper()
	p := latest(w, w.f)
	if p.State != state || p.Stage != stage || w.run(3) != on3 {
		w.Fatalf("%s in stage %d with %d nodes, want %s in stage %d with %d; %+v", p.State, p.Stage, w.run(3), state, stage, on3, p.Measures)
	}
	return p
}

// A good release reaches its shares one after the other, not before their time.
func TestSoak(t *testing.T) {
	simulate(t, 40, func(w *world) {
		mustBegin(w, w.f, 3, staged())
		w.pass(9 * time.Minute)
		if w.share(20) == 0 || w.share(50) == w.share(20) {
			w.Fatal("the names of the nodes do not tell stages apart")
		}
		w.want(Running, 0, w.share(20))
		w.pass(2 * time.Minute)
		w.want(Running, 1, w.share(50))
		w.pass(10 * time.Minute)
		w.want(Running, 2, 40)
		w.pass(5 * time.Minute)
		w.want(Done, 2, 40)
		if got := w.log.actions(w); !slices.Equal(got[3:], []string{actPublish, actBegin, actAdvance, actAdvance, actFinish}) {
			w.Error(got)
		}
	})
}

// A plan that is manual waits for a person, but for its end.
func TestManual(t *testing.T) {
	simulate(t, 20, func(w *world) {
		p := staged()
		p.Manual = true
		mustBegin(w, w.f, 3, p)
		w.pass(time.Hour)
		w.want(Running, 0, w.share(20))
		for range 2 {
			if _, err := w.f.Promote(w.Context(), "ana", production); err != nil {
				w.Fatal(err)
			}
		}
		w.pass(time.Hour)
		w.want(Done, 2, 20)
	})
}

// Labels choose who is first.
func TestLabels(t *testing.T) {
	simulate(t, 12, func(w *world) {
		for i := range 3 {
			w.nodes[fmt.Sprintf("edge-%d", i)].labels = map[string]string{"env": "canary", "site": "x"}
		}
		w.pass(time.Minute)
		p := staged()
		p.Stages[0] = Stage{Labels: map[string]string{"env": "canary"}, Percent: 100, Soak: Duration(10 * time.Minute)}
		mustBegin(w, w.f, 3, p)
		w.pass(5 * time.Minute)
		w.want(Running, 0, 3)
		w.nodes["edge-0"].labels = nil // who was reached stays so
		w.pass(3 * time.Minute)
		w.want(Running, 0, 3)
	})
}

// spoilt makes every node do something wrong with a release.
func (w *world) spoilt(how func(n *simulated)) {
	for _, n := range w.nodes {
		how(n)
	}
}

// Each gate rolls a bad release back by itself, before it reaches everybody; it stays so.
func TestGates(t *testing.T) {
	for gate, c := range map[string]struct {
		spoil func(n *simulated)
		name  string
	}{
		"cannot be activated": {func(n *simulated) { n.fails = 3 }, GateErrors},
		"silences nodes":      {func(n *simulated) { n.mute = 3 }, GateErrors},
		"denies more":         {func(n *simulated) { n.denies = map[int64]uint64{1: 10, 3: 40, 4: 10} }, GateViolations},
		"is slow":             {func(n *simulated) { n.slow = map[int64]float64{3: 0.2} }, GateLatency},
	} {
		t.Run(gate, func(t *testing.T) {
			simulate(t, 30, func(w *world) {
				w.spoilt(c.spoil)
				mustBegin(w, w.f, 3, staged())
				w.pass(9 * time.Minute)
				p := w.want(RolledBack, 0, 0)
				if p.Cause == nil || p.Cause.Gate != c.name || p.Cause.Value <= p.Cause.Limit || p.Cause.Reached < 2 {
					w.Errorf("cause %+v", p.Cause)
				}
				if c.name != GateErrors && w.run(4) != w.share(20) || w.run(4)+w.run(1) != 30 {
					w.Errorf("%d nodes run the rollback, %d were reached", w.run(4), w.share(20))
				}
				w.pass(2 * time.Hour)
				w.want(RolledBack, 0, 0)
				if got := w.log.actions(w); !slices.Equal(got[4:], []string{actBegin, actRoll}) {
					w.Error(got)
				}
				last := stepOf(w, w.log.entries[len(w.log.entries)-1])
				if last.Cause == nil || last.Cause.Gate != c.name || w.log.entries[len(w.log.entries)-1].Principal != own {
					w.Errorf("%+v", last)
				}
				if s := w.f.Stats(); s.Halts[c.name] != 1 || s.Halts[ByPerson] != 0 {
					w.Errorf("%v", s.Halts)
				}
			})
		})
	}
}

// What nodes did before a release is not held against it.
func TestGatesForgiveWhatWasBefore(t *testing.T) {
	simulate(t, 30, func(w *world) {
		w.spoilt(func(n *simulated) {
			n.denies, n.slow = map[int64]uint64{1: 60, 3: 60}, map[int64]float64{1: 0.1, 3: 0.12}
		})
		w.spoilt(func(n *simulated) { n.sick, n.stumbles = decision.Bucket("", n.name)%2 == 0, true })
		w.pass(time.Minute)
		mustBegin(w, w.f, 3, staged())
		w.pass(30 * time.Minute)
		w.want(Done, 2, 30)
	})
}

// The first release of a channel has nothing to go back to: it is halted.
func TestFirstReleaseIsHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := openOn(quick(), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		must(t)(f.Publish(t.Context(), "ana", []Release{signed(production, 1, "a")}))
		p := everybody()
		p.Gates.Nodes = 1
		mustBegin(t, f, 1, p)
		w := &world{T: t, f: f, nodes: map[string]*simulated{"n": {name: "n", slow: map[int64]float64{1: 1}}}}
		for range 20 {
			w.pass(30 * time.Second)
			if err := f.look(t.Context(), production); err != nil {
				t.Fatal(err)
			}
		}
		if p := latest(t, f); p.State != Halted || p.Cause == nil {
			t.Errorf("%+v", p)
		}
		if _, err := f.RollBack(t.Context(), "ana", production); !isCode(err, NoRollback) {
			t.Error(err)
		}
		if offered(f, "n") != 1 || offered(f, "m") != 0 {
			t.Error("who had it keeps it, and nobody else gets it")
		}
	})
}

// A person halts, goes on, and rolls back; also after the end.
func TestPersonActs(t *testing.T) {
	simulate(t, 30, func(w *world) {
		ctx := w.Context()
		mustBegin(w, w.f, 3, staged())
		w.pass(2 * time.Minute)
		w.nodes["late"] = &simulated{name: nameReached(w, 20)}
		if _, err := w.f.Halt(ctx, "ana", production); err != nil {
			w.Fatal(err)
		}
		w.pass(time.Hour)
		w.want(Halted, 0, w.share(20)-1+1) // as many as before; the late one is not among them
		if w.nodes["late"].has != 1 {
			w.Errorf("a node got %d after the halt", w.nodes["late"].has)
		}
		if _, err := w.f.Promote(ctx, "ana", production); err != nil {
			w.Fatal(err)
		}
		w.pass(time.Minute)
		if w.nodes["late"].has != 3 {
			w.Errorf("a node has %d after the rollout went on", w.nodes["late"].has)
		}
		w.pass(time.Hour)
		if p := latest(w, w.f); p.State != Done {
			w.Fatalf("%+v", p)
		}
		if _, err := w.f.RollBack(ctx, "ana", production); err != nil {
			w.Fatal(err)
		}
		w.pass(time.Minute)
		if n := w.run(4); n != len(w.nodes) {
			w.Errorf("%d of %d nodes run the rollback", n, len(w.nodes))
		}
		if offered(w.f, "") != 4 || offered(w.f, "new") != 4 {
			w.Error("what everybody could get is rolled back for everybody")
		}
		for _, act := range []func(context.Context, string, string) (Rollout, error){w.f.Promote, w.f.Halt, w.f.RollBack} {
			if _, err := act(ctx, "ana", production); !isCode(err, NoRollout) {
				w.Errorf("after a rollback: %v", err)
			}
		}
	})
}

// nameReached is a name of no node yet that a percentage reaches.
func nameReached(w *world, percent int) string {
	for i := 1000; ; i++ {
		name := fmt.Sprintf("edge-%d", i)
		if decision.Bucket(signed(production, 3, "b").Digest, name) < percent {
			return name
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	ctx := t.Context()
	f := released(t, newClock().options(t.TempDir()))
	for name, c := range map[string]struct {
		code     Code
		releases []Release
	}{
		"nothing":             {BadArchive, nil},
		"no channel":          {BadArchive, []Release{signed("a/b", 5, "c")}},
		"three":               {BadArchive, []Release{signed(production, 5, "c"), signed(production, 6, "b"), signed(production, 7, "a")}},
		"alone":               {NoRollback, []Release{signed(production, 5, "c")}},
		"another channel":     {WrongChannel, []Release{signed(production, 5, "c"), signed("staging", 6, "b")}},
		"a gap":               {WrongRollback, []Release{signed(production, 5, "c"), signed(production, 7, "b")}},
		"unknown rollback":    {WrongRollback, []Release{signed(production, 5, "c"), signed(production, 6, "d")}},
		"older":               {OlderSequence, []Release{signed(production, 2, "c"), signed(production, 3, "b")}},
		"the rollback's":      {SequenceReused, []Release{signed(production, 4, "c"), signed(production, 5, "b")}},
		"reused":              {SequenceReused, []Release{signed(production, 3, "c"), signed(production, 4, "a")}},
		"with other rollback": {SequenceReused, []Release{signed(production, 3, "b"), signed(production, 4, "b")}},
	} {
		if _, err := f.Publish(ctx, "ana", c.releases); !isCode(err, c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	again := must(t)(f.Publish(ctx, "bob", []Release{signed(production, 4, "a"), signed(production, 3, "b")}))
	if !again.Again || again.Release.By != "ana" || again.Release.Rollback != 4 {
		t.Errorf("%+v", again)
	}
	for _, c := range []struct {
		sequence int64
		code     Code
	}{{4, UnknownRelease}, {7, UnknownRelease}, {1, ""}} {
		if _, err := f.Begin(ctx, "ana", production, c.sequence, DefaultPlan()); (c.code != "" || err != nil) && !isCode(err, c.code) {
			t.Errorf("begin %d: %v", c.sequence, err)
		}
	}
	if _, err := f.Begin(ctx, "ana", "staging", 3, DefaultPlan()); !isCode(err, UnknownChannel) {
		t.Error(err)
	}
}

func TestPlanIsChecked(t *testing.T) {
	for field, spoil := range map[string]func(*Plan){
		"stages":           func(p *Plan) { p.Stages = nil },
		"stages.0.percent": func(p *Plan) { p.Stages[0].Percent = 0 },
		"stages.1.soak":    func(p *Plan) { p.Stages[1].Soak = -1 },
		"stages.2":         func(p *Plan) { p.Stages[2].Percent = 99 },
		"stages.1.labels":  func(p *Plan) { p.Stages[1].Labels = map[string]string{"": ""} },
		"gates.errors":     func(p *Plan) { p.Gates.Errors = 2 },
		"gates.violations": func(p *Plan) { p.Gates.Violations = -1 },
		"gates":            func(p *Plan) { p.Gates.Nodes = 0 },
	} {
		p := DefaultPlan()
		spoil(&p)
		if e, ok := p.Check().(*Error); !ok || e.Code != InvalidPlan || e.Field != field {
			t.Errorf("%s: %v", field, e)
		}
	}
	p := DefaultPlan()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if got := (Stage{Percent: 5, Soak: Duration(90 * time.Minute), Labels: map[string]string{"b": "2", "a": "1"}}).String(); got != "a=1,b=2,5%:1h30m" {
		t.Error(got)
	}
}

// What a release needs stays; the content of old ones goes.
func TestOldReleasesArePruned(t *testing.T) {
	ctx := t.Context()
	f, err := openOn(quick(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for i := range int64(120) {
		text := fmt.Sprint("text ", i)
		archive := []Release{signed(production, 2*i+1, text)}
		if last != "" {
			archive = append(archive, signed(production, 2*i+2, last))
		}
		must(t)(f.Publish(ctx, "ana", archive))
		if i == 0 {
			mustBegin(t, f, 1, everybody())
		}
		last = text
	}
	list := f.Releases(production)
	if len(list) < 200 || len(list) > 203 {
		t.Errorf("%d releases are known", len(list))
	}
	dirs, err := os.ReadDir(filepath.Join(f.Dir, releasesDir, channelPrefix+production))
	if err != nil || len(dirs) > 12 {
		t.Errorf("the content of %d releases is kept: %v", len(dirs), err)
	}
	if r, _, _, ok := f.Offer(production, ""); !ok || !strings.Contains(string(r.Content.Archive), "text 0") {
		t.Error("the release that everybody gets is not served any more")
	}
}

// Nobody checks what a node says: one that makes up its counts moves the share of all by
// no more than one node's worth, whichever way, and its sums do not wrap.
func TestOneNodeDoesNotDecideTheGate(t *testing.T) {
	honest := func(n int, share uint64) []Decisions {
		list := make([]Decisions, n)
		for i := range list {
			list[i] = Decisions{Total: 1000, Denied: 10 * share}
		}
		return list
	}
	const all = math.MaxUint64
	for name, tt := range map[string]struct {
		liar        Decisions
		others      []Decisions
		least, most float64
	}{
		"all denied":            {Decisions{Total: all, Denied: all}, honest(39, 1), 0.01, 0.04},
		"none denied":           {Decisions{Total: all}, honest(39, 20), 0.19, 0.2},
		"two nodes":             {Decisions{Total: all, Denied: all}, honest(1, 0), 0.5, 0.5},
		"hides in few":          {Decisions{Total: 1, Denied: 1}, honest(39, 1), 0.01, 0.011},
		"nothing was asked yet": {Decisions{}, honest(3, 1), 0.01, 0.01},
	} {
		got := denied(append(tt.others, tt.liar), 100)
		if got == nil || *got < tt.least-1e-9 || *got > tt.most+1e-9 {
			t.Errorf("%s: %v, want %g to %g", name, got, tt.least, tt.most)
		}
	}
	if got := denied(honest(3, 1), 3001); got != nil {
		t.Errorf("of too few questions: %v", *got)
	}
	n := &node{Report: &Report{Decisions: Decisions{Total: 101, Denied: 101}}, Watch: watch{Base: Decisions{Total: 100}}}
	if d := n.decided(); d.Total != 1 || d.Denied != 1 {
		t.Errorf("more denied than asked: %+v", d)
	}
}
