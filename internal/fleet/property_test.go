package fleet

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

func stepOf(t testing.TB, e ledger.Entry) ledger.ReleaseStep {
	t.Helper()
	var s ledger.ReleaseStep
	if err := json.Unmarshal(e.Data, &s, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	return s
}

// machine drives a fleet beside a model of what every node may have.
type machine struct {
	dir      string
	log      *book
	f        *Fleet
	now      time.Time
	nodes    []string
	labels   map[string]map[string]string
	has      map[string]int64 // what a node runs; it takes what it is offered
	told     map[string]int64 // the highest that it has reported
	next     int64            // sequence of the next release
	texts    []string
	sequence int64 // of the latest rollout; 0 before the first
	rollback int64
	plan     Plan
	stage    int
	state    string
	reached  map[string]bool // by the stages of the latest rollout up to now
}

func (m *machine) open(rt *rapid.T) {
	f, err := openOn(quick(), Options{Dir: m.dir, Log: m.log, Now: func() time.Time { return m.now }})
	if err != nil {
		rt.Fatal(err)
	}
	m.f = f
}

// stageReaches is the definition of a stage, once more.
func (m *machine) stageReaches(s Stage, digest, name string) bool {
	for k, v := range s.Labels {
		if m.labels[name][k] != v {
			return false
		}
	}
	return decision.Bucket(digest, name) < s.Percent
}

// poll has a node ask for its release, and take it.
func (m *machine) poll(rt *rapid.T, name string) {
	r, _, _, ok := m.f.Offer(production, name)
	again, _, _, okAgain := m.f.Offer(production, name)
	if ok != okAgain || r.Sequence != again.Sequence {
		rt.Fatalf("%s is offered %d and then %d", name, r.Sequence, again.Sequence)
	}
	if !ok {
		return
	}
	if r.Sequence < m.has[name] || r.Sequence < m.told[name] {
		rt.Fatalf("%s is offered %d, runs %d and has reported %d", name, r.Sequence, m.has[name], m.told[name])
	}
	fresh := m.has[name] < m.sequence
	if r.Sequence == m.sequence && fresh {
		switch {
		case m.state == Halted || m.state == RolledBack:
			rt.Fatalf("%s is reached by %d, which is %s", name, m.sequence, m.state)
		case m.state == Running && !m.reached[name]:
			rt.Fatalf("%s is reached in stage %d of %v", name, m.stage, m.plan.Stages)
		}
	}
	if m.state == RolledBack && m.has[name] == m.sequence && r.Sequence != m.rollback {
		rt.Fatalf("%s keeps %d although it was rolled back", name, m.sequence)
	}
	if m.state == Running && m.reached[name] && r.Sequence != m.sequence {
		rt.Fatalf("%s is offered %d instead of %d", name, r.Sequence, m.sequence)
	}
	if string(r.Content.Statements) != fmt.Sprintf("statement %d\n", r.Sequence) {
		rt.Fatalf("%d has the statements of another: %s", r.Sequence, r.Content.Statements)
	}
	m.has[name] = r.Sequence
}

func (m *machine) reach(digest string) {
	for _, name := range m.nodes {
		if m.stageReaches(m.plan.Stages[m.stage], digest, name) {
			m.reached[name] = true
		}
	}
}

func (m *machine) follow() {
	p := m.f.Rollouts()[0]
	m.state, m.stage = p.State, p.Stage
	if p.State == Running {
		m.reach(p.Digest)
	}
}

func drawPlan(rt *rapid.T) Plan {
	p := Plan{Gates: DefaultGates()}
	for range rapid.IntRange(0, 3).Draw(rt, "stages") {
		s := Stage{Percent: rapid.IntRange(1, 100).Draw(rt, "percent")}
		if rapid.Bool().Draw(rt, "labelled") {
			s.Labels = map[string]string{"env": rapid.SampledFrom([]string{"canary", "edge"}).Draw(rt, "env")}
		}
		p.Stages = append(p.Stages, s)
	}
	p.Stages = append(p.Stages, Stage{Percent: 100})
	return p
}

// Whatever people, nodes and crashes do: a stage reaches nobody else, halting stops, a
// rollback reaches those that were reached, and nobody is ever offered less than it had.
func TestRolloutModel(t *testing.T) {
	root := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &machine{
			dir: fmt.Sprintf("%s/%d", root, round), log: &book{}, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), has: map[string]int64{}, told: map[string]int64{},
			labels: map[string]map[string]string{}, next: 1, reached: map[string]bool{},
		}
		m.open(rt)
		for i := range rapid.IntRange(1, 12).Draw(rt, "nodes") {
			name := fmt.Sprintf("edge-%d", i)
			m.nodes = append(m.nodes, name)
			m.labels[name] = map[string]string{"env": []string{"canary", "edge", "core"}[i%3]}
			m.told[name] = 0
		}
		for _, name := range m.nodes { // labels are those of a report
			r := running(name, 0, m.now)
			r.Labels = m.labels[name]
			m.f.mustReport(rt, r)
		}
		ctx := context.Background()
		rt.Repeat(map[string]func(*rapid.T){
			"publish and begin": func(rt *rapid.T) {
				text := fmt.Sprintf("text %d", m.next)
				archive := []Release{signed(production, m.next, text)}
				if len(m.texts) > 0 {
					archive = append(archive, signed(production, m.next+1, m.texts[len(m.texts)-1]))
				}
				if _, err := m.f.Publish(ctx, "ana", archive); err != nil {
					rt.Fatal(err)
				}
				sequence := m.next
				m.texts, m.next = append(m.texts, text), m.next+2
				plan := drawPlan(rt)
				active := m.state == Running || m.state == Halted
				r, err := m.f.Begin(ctx, "ana", production, sequence, plan)
				switch {
				case active && !isCode(err, RolloutActive):
					rt.Fatalf("two rollouts at the same time: %v", err)
				case active:
				case err != nil:
					rt.Fatal(err)
				default:
					m.sequence, m.rollback, m.plan, m.reached = sequence, r.Rollback, plan, map[string]bool{}
					m.follow()
				}
			},
			"poll": func(rt *rapid.T) { m.poll(rt, rapid.SampledFrom(m.nodes).Draw(rt, "node")) },
			"poll as nobody": func(rt *rapid.T) {
				r, _, _, ok := m.f.Offer(production, "")
				public := slices.ContainsFunc(m.plan.Stages[:min(m.stage+1, len(m.plan.Stages))], func(s Stage) bool { return s.Percent == 100 && s.Labels == nil })
				if ok && r.Sequence == m.sequence && m.state == Running && !public {
					rt.Fatal("who is no node is reached by a stage")
				}
			},
			"report": func(rt *rapid.T) {
				name := rapid.SampledFrom(m.nodes).Draw(rt, "node")
				r := running(name, 0, m.now)
				r.Labels = m.labels[name]
				r.Status = Status{Channel: production, Sequence: m.has[name], HighWater: m.has[name]}
				m.f.mustReport(rt, r)
				m.told[name] = m.has[name]
			},
			"act": func(rt *rapid.T) {
				if m.sequence == 0 {
					return
				}
				act := rapid.SampledFrom([]func(context.Context, string, string) (Rollout, error){m.f.Promote, m.f.Promote, m.f.Halt, m.f.RollBack}).Draw(rt, "act")
				if _, err := act(ctx, "ana", production); err == nil {
					m.follow()
				}
			},
			"restart": func(rt *rapid.T) { // as after a crash: nothing is saved on the way out
				before := m.f.Rollouts()
				m.open(rt)
				after := m.f.Rollouts()
				if len(before) != len(after) || len(before) > 0 && (before[0].State != after[0].State || before[0].Stage != after[0].Stage) {
					rt.Fatalf("the rollout was %+v and is %+v", before, after)
				}
			},
			"": func(*rapid.T) {},
		})
		m.f.record(ctx)
		seen := map[string]bool{}
		for _, e := range m.log.entries {
			s := stepOf(t, e)
			if key := fmt.Sprint(s.Action, s.Sequence); slices.Contains([]string{actPublish, actBegin, actFinish, actRoll}, s.Action) && seen[key] {
				rt.Fatalf("%s of %d is in the ledger twice", s.Action, s.Sequence)
			} else {
				seen[key] = true
			}
		}
	})
}

// A higher percentage only adds nodes, and has about its share of them.
func TestStagesAreNested(t *testing.T) {
	digest := signed(production, 3, "b").Digest
	const nodes = 5000
	for _, percent := range []int{1, 5, 25, 99, 100} {
		reached := 0
		for i := range nodes {
			name := fmt.Sprintf("edge-%d", i)
			s := Stage{Percent: percent}
			if !s.reaches(digest, name, nil) {
				continue
			}
			reached++
			if wider := (Stage{Percent: min(100, percent+1)}); !wider.reaches(digest, name, nil) {
				t.Fatalf("%s is reached at %d percent, and not at one more", name, percent)
			}
		}
		if share := 100 * float64(reached) / nodes; share < float64(percent)-2 || share > float64(percent)+2 {
			t.Errorf("%d percent are %.1f percent of the nodes", percent, share)
		}
	}
}
