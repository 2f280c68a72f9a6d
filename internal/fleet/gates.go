package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// Names of gates.
const (
	GateErrors     = "errors"
	GateViolations = "violations"
	GateLatency    = "latency"
)

// GateNames returns the closed list of gates.
func GateNames() []string { return []string{GateErrors, GateViolations, GateLatency} }

// WaitsForNodes is the reason to wait that is no gate.
const WaitsForNodes = "nodes"

// Measures are what the nodes have reported since a stage began. Shares are from 0 to 1;
// nil is not known yet.
type Measures struct {
	Nodes   int `json:"nodes"`   // of the channel, that are not silent
	Due     int `json:"due"`     // of these, that the stages so far are to reach
	Reached int `json:"reached"` // that were given the release
	Runs    int `json:"runs"`    // that run it
	Failed  int `json:"failed"`  // of the reached: in trouble or silent since then
	// Heard are those of the reached that have reported twice since then, or are silent;
	// Needed is how many there must be before anything is judged.
	Heard   int `json:"heard"`
	Needed  int `json:"needed"`
	Reports int `json:"reports"` // of the reached since then, those that are owed included
	// Waits says why nothing is judged, or what one node alone is in the way of: nodes,
	// for [WaitsForNodes], or a gate; "" for neither.
	Waits string `json:"waits,omitempty"`

	Errors       *float64 `json:"errors,omitempty"`
	Denied       *float64 `json:"denied,omitempty"`        // share on the nodes that run it
	DeniedBefore *float64 `json:"denied_before,omitempty"` // on the others, or what it was when there were more
	// Latency and LatencyBefore are medians of the 99th percentiles of nodes.
	Latency       *float64 `json:"latency_seconds,omitempty"`
	LatencyBefore *float64 `json:"latency_before_seconds,omitempty"`

	// Those without the node that is worst: what one alone brings about is no verdict.
	without struct{ denied, latency *float64 }
}

// answers are what nodes have decided, and how fast.
type answers struct {
	decisions []Decisions
	latencies []float64
}

func (a *answers) add(n *node) {
	a.decisions = append(a.decisions, n.decided())
	a.latencies = append(a.latencies, n.Report.Decisions.P99)
}

// measure collects what the gates of a rollout judge. It needs mu.
func (f *Fleet) measure(name string, c *channel, now time.Time) Measures {
	r := c.Rollout
	var m Measures
	var fresh, old answers
	for id, n := range f.nodes {
		if ch, _ := f.channelFor(n); ch != name {
			continue
		}
		f.count(&m, r, id, n, name, now)
		if n.Report == nil || n.Watch.Step != r.Watched || n.Watch.Sequence != n.Report.Status.Sequence {
			continue
		}
		if n.Report.Status.Sequence == r.Sequence {
			fresh.add(n)
		} else {
			old.add(n)
		}
	}
	g := &r.Plan.Gates
	m.Needed = min(m.Needed, g.Nodes)
	if m.Due > 0 && g.Nodes > 0 {
		m.Needed = max(m.Needed, 1) // what nobody takes, nobody has tried
	}
	if m.Reached > 0 {
		m.Errors = new(float64(m.Failed) / float64(m.Reached))
	}
	m.Denied, m.without.denied = denied(fresh.decisions, g.Decisions), denied(others(fresh.decisions), 1)
	m.DeniedBefore = before(denied(old.decisions, g.Decisions), r.Denied, len(old.decisions) < g.Nodes)
	m.Latency, m.without.latency = median(fresh.latencies), median(faster(fresh.latencies))
	m.LatencyBefore = before(median(old.latencies), r.Latency, len(old.latencies) < g.Nodes)
	_, m.Waits = g.verdict(m)
	return m
}

// count counts one node. It needs mu.
func (f *Fleet) count(m *Measures, r *Rollout, id string, n *node, channel string, now time.Time) {
	if n.Report == nil {
		return // who never reports cannot be judged
	}
	watched := n.Watch.Step == r.Watched
	given := n.marked(channel)
	reached := given.Offered == r.Sequence
	if !f.silent(n, now) {
		m.Nodes++
		if r.reaches(id, n.labels()) {
			m.Due++
			// Who has been told of it so often and does not take it, does not.
			if !reached && (!watched || n.Watch.Reports < f.Silent) {
				m.Needed++
			}
		}
	}
	if n.Report.Status.Sequence == r.Sequence {
		m.Runs++
	}
	if !reached {
		return
	}
	m.Reached++
	m.Needed++
	since := given.OfferedAt
	if f.opened.After(since) {
		since = f.opened // nobody could report to a server that was down
	}
	owed := f.owed(n, since, now)
	silent := owed >= f.Silent
	if t := n.Trouble; silent || t != nil && t.Reports >= 2 && !t.Since.Before(given.OfferedAt) {
		m.Failed++
	}
	if silent || watched && n.Watch.Given >= 2 {
		m.Heard++
	}
	if watched {
		m.Reports += n.Watch.Given
	}
	if silent {
		m.Reports += owed
	}
}

// before is what a figure is without the release: that of now, or, where there are but a
// few nodes left that could tell, what it was when there were more.
func before(now, then *float64, few bool) *float64 {
	if now == nil || few && then != nil {
		return then
	}
	return now
}

// median is that of what is known: nodes that decided nothing have no latency.
func median(seconds []float64) *float64 {
	known := slices.DeleteFunc(slices.Clone(seconds), func(s float64) bool { return s == 0 })
	if len(known) == 0 {
		return nil
	}
	slices.Sort(known)
	return new(known[len(known)/2])
}

// faster are all but the slowest.
func faster(seconds []float64) []float64 {
	if len(seconds) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(seconds))[:len(seconds)-1]
}

// slower is how many times as long decisions must take as on the other nodes.
const slower = 1.5

// decided is what the node has decided since its counts were noted.
func (n *node) decided() Decisions {
	d, base := n.Report.Decisions, n.Watch.Base
	total := d.Total - base.Total
	return Decisions{Total: total, Denied: min(d.Denied-min(base.Denied, d.Denied), total)}
}

// share is that of the denied questions of a node.
func (d Decisions) share() float64 {
	if d.Total == 0 {
		return 0
	}
	return float64(d.Denied) / float64(d.Total)
}

// others are all but the node that denies most.
func others(nodes []Decisions) []Decisions {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(d Decisions) bool { return d.Total == 0 })
	if len(nodes) == 0 {
		return nil
	}
	slices.SortFunc(nodes, func(x, y Decisions) int { return cmp.Compare(x.share(), y.share()) })
	return nodes[:len(nodes)-1]
}

// denied is the share of denied questions; nil when there are fewer than least. A node
// counts for as many as the median node, at most: nobody checks what one reports, so one
// alone must not decide what becomes of a release.
func denied(nodes []Decisions, least uint64) *float64 {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(d Decisions) bool { return d.Total == 0 })
	if len(nodes) == 0 {
		return nil
	}
	slices.SortFunc(nodes, func(x, y Decisions) int { return cmp.Compare(x.Total, y.Total) })
	most := nodes[(len(nodes)-1)/2].Total
	var all, no float64
	for _, d := range nodes {
		weight := float64(min(d.Total, most))
		all += weight
		no += weight * d.share()
	}
	if all < float64(least) {
		return nil
	}
	return new(no / all)
}

// verdict is the gate that does not hold; nil when all do, or there is too little to
// tell. Waits is why the next stage must not begin all the same: too few nodes, or a
// gate that does not hold for what one node alone reports.
func (g *Gates) verdict(m Measures) (cause *Cause, waits string) {
	if m.Heard < m.Needed {
		return nil, WaitsForNodes
	}
	latency := time.Duration(g.Latency).Seconds()
	for _, gate := range []struct {
		name           string
		value, without *float64
		limit          float64
		over           func(value float64) bool
	}{
		{GateErrors, m.Errors, nil, g.Errors, func(v float64) bool { return v > g.Errors }},
		{GateViolations, minus(m.Denied, m.DeniedBefore), minus(m.without.denied, m.DeniedBefore), g.Violations, func(v float64) bool { return v > g.Violations }},
		{GateLatency, m.Latency, m.without.latency, latency, func(v float64) bool {
			return v > latency && (m.LatencyBefore == nil || v > slower**m.LatencyBefore)
		}},
	} {
		alone := gate.without == nil || !gate.over(*gate.without)
		if gate.name == GateErrors {
			alone = m.Failed < 2
		}
		switch {
		case gate.value == nil || !gate.over(*gate.value):
		case !alone || g.Nodes == 1:
			return &Cause{Gate: gate.name, Value: *gate.value, Limit: gate.limit, Reached: m.Reached, Reports: m.Reports}, ""
		case waits == "":
			waits = gate.name
		}
	}
	return nil, waits
}

func minus(x, y *float64) *float64 {
	if x == nil || y == nil {
		return nil
	}
	return new(*x - *y)
}

// tick is how often gates and soak times are looked at.
const tick = time.Second

// Run keeps watch until ctx ends: rollouts go on or are rolled back, what is known of
// nodes gets to the disk, and what is missing in the ledger is appended.
func (f *Fleet) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for last := f.now(); ; {
		select {
		case <-ctx.Done():
			return f.saveAll()
		case <-ticker.C:
		}
		for _, name := range f.Channels() {
			if err := f.look(ctx, name); err != nil {
				f.Logger.Error("a rollout could not take its next step", "channel", name, "error", err.Error())
			}
		}
		f.record(ctx)
		if now := f.now(); now.Sub(last) >= 10*time.Second {
			last = now
			if err := f.saveAll(); err != nil {
				f.Logger.Error("what nodes have reported cannot be kept on disk", "error", err.Error())
			}
		}
	}
}

func (f *Fleet) saveAll() error {
	f.mu.Lock()
	version := f.version
	f.mu.Unlock()
	return f.save(version)
}

// look takes the step that is due in a channel, if any.
func (f *Fleet) look(ctx context.Context, name string) error {
	f.stepping.Lock()
	defer f.stepping.Unlock()
	f.mu.Lock()
	c := f.channels[name]
	if c == nil || c.Rollout == nil || c.Rollout.State != Running {
		f.mu.Unlock()
		return nil
	}
	now := f.now()
	m := f.measure(name, c, now)
	f.mu.Unlock()
	r := c.Rollout
	if cause, _ := r.Plan.Gates.verdict(m); cause != nil {
		next := c.copied()
		next.Rollout.By = ""
		action := actHalt
		if r.Rollback != 0 && c.trusts(r.Rollback) {
			action = actRoll
			next.Rollout.settle(RolledBack, cause, now)
		} else { // as with the first release of a channel: there is nothing to go back to
			next.Rollout.settle(Halted, cause, now)
		}
		_, err := f.proceed(ctx, name, next, action, "")
		return err
	}
	soaked := now.Sub(r.Since) >= time.Duration(r.stage().Soak)
	last := r.Stage == len(r.Plan.Stages)-1
	if soaked && m.Waits != "" && m.Waits != WaitsForNodes && f.told[name] != r.Watched {
		f.told[name] = r.Watched
		f.Logger.Warn("a stage of a rollout waits for a person: a gate does not hold for what one node alone reports", "channel", name, "sequence", r.Sequence, "gate", m.Waits)
	}
	if !soaked || m.Waits != "" || r.Plan.Manual && !last || !c.trusts(r.Sequence) { // which is about to be halted
		return nil
	}
	next := c.copied()
	next.Rollout.By = ""
	next.Rollout.remember(m)
	_, err := f.proceed(ctx, name, next, f.forward(next), "")
	return err
}

// remember keeps what the nodes without the release were like: soon there are few of
// them.
func (r *Rollout) remember(m Measures) { r.Denied, r.Latency = m.DeniedBefore, m.LatencyBefore }

// Progress is a rollout with what its nodes have reported.
type Progress struct {
	Channel string `json:"channel"`
	Rollout
	Measures Measures `json:"measures"`
}

// Rollouts returns the latest rollout of each channel, by channel.
func (f *Fleet) Rollouts() []Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, list := f.now(), []Progress{}
	for _, name := range sortedKeys(f.channels) {
		if c := f.channels[name]; c.Rollout != nil {
			list = append(list, Progress{name, *c.Rollout, f.measure(name, c, now)})
		}
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
