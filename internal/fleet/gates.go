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

// Measures are what the nodes have reported since a stage began. Shares are from 0 to 1;
// nil is not known yet.
type Measures struct {
	Nodes   int `json:"nodes"`   // of the channel, that are not silent
	Due     int `json:"due"`     // of these, that the stages so far are to reach
	Reached int `json:"reached"` // that were given the release
	Runs    int `json:"runs"`    // that run it
	Failed  int `json:"failed"`  // of the reached: in trouble or silent since then
	Reports int `json:"reports"` // of the reached, those that are owed included

	Errors       *float64 `json:"errors,omitempty"`
	Denied       *float64 `json:"denied,omitempty"`        // share on the nodes that run it
	DeniedBefore *float64 `json:"denied_before,omitempty"` // on the others, or what it was when there were some
	// Latency and LatencyBefore are medians of the 99th percentiles of nodes.
	Latency       *float64 `json:"latency_seconds,omitempty"`
	LatencyBefore *float64 `json:"latency_before_seconds,omitempty"`
}

// measure collects what the gates of a rollout judge. It needs mu.
func (f *Fleet) measure(name string, c *channel, now time.Time) Measures {
	r := c.Rollout
	var m Measures
	var fresh, old []Decisions
	var latencies, before []float64
	for id, n := range f.nodes {
		if ch, _ := f.channelFor(n); ch != name {
			continue
		}
		given := n.marked(name)
		if n.Report != nil && !f.silent(n, now) {
			m.Nodes++
			if r.reaches(id, n.labels()) {
				m.Due++
			}
		}
		runs := n.Report != nil && n.Report.Status.Sequence == r.Sequence
		counts := n.Watch.Step == r.Watched && n.Report != nil && n.Watch.Sequence == n.Report.Status.Sequence
		switch {
		case counts && runs:
			fresh = append(fresh, n.decided())
			latencies = append(latencies, n.Report.Decisions.P99)
		case counts:
			old = append(old, n.decided())
			before = append(before, n.Report.Decisions.P99)
		}
		if runs {
			m.Runs++
		}
		if n.Report == nil || given.Offered != r.Sequence {
			continue // who never reports cannot be judged
		}
		m.Reached++
		owed := f.owed(n, given.OfferedAt, now)
		if n.Watch.Step == r.Watched {
			m.Reports += n.Watch.Reports
		}
		if t := n.Trouble; t != nil && t.Reports >= 2 && !t.Since.Before(given.OfferedAt) {
			m.Failed++
		} else if owed >= f.Silent {
			m.Failed++
		}
		if owed >= f.Silent {
			m.Reports += owed
		}
	}
	if m.Reached > 0 {
		m.Errors = new(float64(m.Failed) / float64(m.Reached))
	}
	m.Denied = denied(fresh, r.Plan.Gates.Decisions)
	if m.DeniedBefore = denied(old, r.Plan.Gates.Decisions); m.DeniedBefore == nil {
		m.DeniedBefore = r.Denied
	}
	m.Latency = median(latencies)
	if m.LatencyBefore = median(before); m.LatencyBefore == nil {
		m.LatencyBefore = r.Latency
	}
	return m
}

// median is that of what is known: nodes that decided nothing have no latency.
func median(seconds []float64) *float64 {
	known := slices.DeleteFunc(seconds, func(s float64) bool { return s == 0 })
	if len(known) == 0 {
		return nil
	}
	slices.Sort(known)
	return new(known[len(known)/2])
}

// slower is how many times as long decisions must take as on the other nodes.
const slower = 1.5

// decided is what the node has decided since its counts were noted.
func (n *node) decided() Decisions {
	d, base := n.Report.Decisions, n.Watch.Base
	total := d.Total - base.Total
	return Decisions{Total: total, Denied: min(d.Denied-min(base.Denied, d.Denied), total)}
}

// denied is the share of denied questions; nil when there are fewer than least. A node
// counts for as many as the median node, at most: nobody checks what one reports, so one
// alone must not decide what becomes of a release.
func denied(nodes []Decisions, least uint64) *float64 {
	nodes = slices.DeleteFunc(nodes, func(d Decisions) bool { return d.Total == 0 })
	missing := least
	for _, d := range nodes {
		missing -= min(d.Total, missing)
	}
	if len(nodes) == 0 || missing > 0 {
		return nil
	}
	slices.SortFunc(nodes, func(x, y Decisions) int { return cmp.Compare(x.Total, y.Total) })
	most := nodes[(len(nodes)-1)/2].Total
	var all, no float64
	for _, d := range nodes {
		weight := float64(min(d.Total, most))
		all += weight
		no += weight * float64(d.Denied) / float64(d.Total)
	}
	return new(no / all)
}

// verdict is the gate that does not hold; nil when all do, or there are too few reports
// to tell.
func (g *Gates) verdict(m Measures) *Cause {
	if m.Reports < g.Reports {
		return nil
	}
	cause := func(gate string, value, limit float64) *Cause {
		return &Cause{Gate: gate, Value: value, Limit: limit, Reached: m.Reached, Reports: m.Reports}
	}
	limit := time.Duration(g.Latency).Seconds()
	switch {
	case m.Errors != nil && *m.Errors > g.Errors:
		return cause(GateErrors, *m.Errors, g.Errors)
	case m.Denied != nil && m.DeniedBefore != nil && *m.Denied-*m.DeniedBefore > g.Violations:
		return cause(GateViolations, *m.Denied-*m.DeniedBefore, g.Violations)
	case m.Latency != nil && *m.Latency > limit && (m.LatencyBefore == nil || *m.Latency > slower**m.LatencyBefore):
		return cause(GateLatency, *m.Latency, limit)
	default:
		return nil
	}
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
	if cause := r.Plan.Gates.verdict(m); cause != nil {
		next := c.copied()
		next.Rollout.By = ""
		action := actHalt
		if r.Rollback != 0 {
			action = actRoll
			next.Rollout.settle(RolledBack, cause, now)
		} else { // the first release of a channel: there is nothing to go back to
			next.Rollout.settle(Halted, cause, now)
		}
		_, err := f.proceed(ctx, name, next, action, "")
		return err
	}
	soaked := now.Sub(r.Since) >= time.Duration(r.stage().Soak)
	judged := m.Due == 0 || m.Reports >= r.Plan.Gates.Reports
	last := r.Stage == len(r.Plan.Stages)-1
	if !soaked || !judged || r.Plan.Manual && !last {
		return nil
	}
	next := c.copied()
	next.Rollout.By, next.Rollout.Denied, next.Rollout.Latency = "", m.DeniedBefore, m.LatencyBefore
	_, err := f.proceed(ctx, name, next, f.forward(next), "")
	return err
}

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
