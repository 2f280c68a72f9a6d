package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// Limits of a [Plan].
const (
	maxStages   = 20
	maxSoak     = 30 * 24 * time.Hour
	maxMinNodes = 1_000_000
)

// Plan says how a release reaches the nodes of its channel.
type Plan struct {
	// Stages follow each other; nodes that an earlier one has reached stay reached.
	// The last one is everybody.
	Stages []Stage `json:"stages"`
	Gates  Gates   `json:"gates"`
	// Manual waits for a person before every further stage. Gates are watched all the
	// same.
	Manual bool `json:"manual,omitempty"`
}

// Stage is a share of the nodes, for a time.
type Stage struct {
	// Labels are those that a node must have, by its last report or, if that changes them
	// too soon, by one before; none is all nodes.
	Labels map[string]string `json:"labels,omitempty"`
	// Percent of these node ids, 1 to 100; see [decision.Bucket].
	Percent int `json:"percent"`
	// Soak is for how long gates are watched, at least, before the next stage.
	Soak Duration `json:"soak"`
}

// Gates are what the nodes that a release has reached may report before it is rolled
// back. They count from the begin of a stage.
type Gates struct {
	// Errors is the share of the reached nodes, 0 to 1, above which it is: those that
	// could not activate the release or stay degraded, two reports in a row, and those
	// that fell silent since they were given it.
	Errors float64 `json:"errors"`
	// Violations is by how much the share of denied questions may be larger on the
	// reached nodes than on the others, 0 to 1.
	Violations float64 `json:"violations"`
	// Latency is what the median over the nodes that run it of their 99th percentile may
	// be, unless the others are about as slow.
	Latency Duration `json:"latency"`
	// Nodes is how many of the reached nodes must have been heard before a gate says
	// anything, and before the next stage: all of them, where a stage has no more than
	// that. A node counts once, however often it reports. With 1, one node may decide;
	// otherwise no gate rolls back for what one node alone says.
	Nodes int `json:"min_nodes"`
	// Decisions is how many questions the nodes must have answered, on each side, before
	// shares of them are compared.
	Decisions uint64 `json:"min_decisions"`
}

// DefaultGates watch for what no release should do.
func DefaultGates() Gates {
	return Gates{Errors: 0.05, Violations: 0.05, Latency: Duration(50 * time.Millisecond), Nodes: 10, Decisions: 100}
}

// DefaultPlan begins with few nodes.
func DefaultPlan() Plan {
	soak := Duration(10 * time.Minute)
	return Plan{Stages: []Stage{{Percent: 5, Soak: soak}, {Percent: 25, Soak: soak}, {Percent: 100, Soak: soak}}, Gates: DefaultGates()}
}

// Check says what is wrong with a plan; the error is an [*Error] with the field.
func (p *Plan) Check() error {
	if len(p.Stages) == 0 || len(p.Stages) > maxStages {
		return refuse(InvalidPlan, "stages", "%d stages, want 1 to %d", len(p.Stages), maxStages)
	}
	for i, s := range p.Stages {
		at := fmt.Sprintf("stages.%d", i)
		switch {
		case s.Percent < 1 || s.Percent > 100:
			return refuse(InvalidPlan, at+".percent", "%d is not from 1 to 100", s.Percent)
		case s.Soak < 0 || time.Duration(s.Soak) > maxSoak:
			return refuse(InvalidPlan, at+".soak", "%s is not from 0 to %s", s.Soak, Duration(maxSoak))
		case len(s.Labels) > maxLabels:
			return refuse(InvalidPlan, at+".labels", "more than %d labels", maxLabels)
		}
		for name, value := range s.Labels {
			if name == "" || len(name) > maxLabel || len(value) > maxLabel {
				return refuse(InvalidPlan, at+".labels", "a name or value that is empty or longer than %d bytes", maxLabel)
			}
		}
	}
	if !p.Stages[len(p.Stages)-1].everybody() {
		return refuse(InvalidPlan, fmt.Sprintf("stages.%d", len(p.Stages)-1), "the last stage must be 100 percent of all nodes")
	}
	g := p.Gates
	for field, share := range map[string]float64{"gates.errors": g.Errors, "gates.violations": g.Violations} {
		if !(share >= 0 && share <= 1) {
			return refuse(InvalidPlan, field, "%g is not from 0 to 1", share)
		}
	}
	if g.Latency <= 0 || g.Nodes < 1 || g.Nodes > maxMinNodes || g.Decisions < 1 {
		return refuse(InvalidPlan, "gates", "latency, min_nodes and min_decisions must be positive, min_nodes at most %d", maxMinNodes)
	}
	return nil
}

func (s *Stage) everybody() bool { return s.Percent == 100 && len(s.Labels) == 0 }

// reaches reports whether a node belongs to a stage. What nobody has proven to be a node
// belongs to a stage of everybody alone.
func (s *Stage) reaches(digest, node string, labels map[string]string) bool {
	if s.everybody() {
		return true
	}
	if node == "" {
		return false
	}
	for name, want := range s.Labels {
		if got, has := labels[name]; !has || got != want {
			return false
		}
	}
	return s.Percent == 100 || decision.Bucket(digest, node) < s.Percent
}

// String writes a stage as `release publish --stage` takes it.
func (s Stage) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, name+"="+s.Labels[name])
	}
	parts = append(parts, fmt.Sprintf("%d%%", s.Percent))
	return strings.Join(parts, ",") + ":" + s.Soak.String()
}

// Duration is written as text, such as "10m".
type Duration time.Duration

// String is that of [time.Duration], without units that are zero.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10m", text)
	}
	*d = Duration(parsed)
	return nil
}
