package fleet

import (
	"slices"
	"time"
)

// States of a [Rollout].
const (
	Running    = "running"
	Halted     = "halted"      // by a person: reaches nobody else
	RolledBack = "rolled-back" // the nodes that had it are given the rollback
	Done       = "done"        // it is what everybody gets
)

// States returns the closed list of states of a rollout.
func States() []string { return []string{Running, Halted, RolledBack, Done} }

// Rollout is how far a release has got in its channel.
type Rollout struct {
	Sequence int64     `json:"sequence"`
	Digest   string    `json:"digest"`
	Rollback int64     `json:"rollback,omitempty"` // sequence of its rollback; 0 for the first release of a channel
	Before   int64     `json:"before,omitempty"`   // what the other nodes are given; 0 for nothing
	Plan     Plan      `json:"plan"`
	State    string    `json:"state"`
	Stage    int       `json:"stage"` // index into the stages of the plan
	Began    time.Time `json:"began"`
	Since    time.Time `json:"since"` // of the last step
	By       string    `json:"by,omitempty"`
	Cause    *Cause    `json:"cause,omitempty"` // of the last step, when a gate took it
	// Everybody says that a stage of everybody was reached, also by those who are no
	// node.
	Everybody bool `json:"everybody,omitempty"`
	// Watched is the step from which on reports count for the gates.
	Watched uint64 `json:"watched"`
	// Denied and Latency are the share of denied questions and the latency on the nodes
	// that do not run it, when these were last known.
	Denied  *float64 `json:"denied_before,omitempty"`
	Latency *float64 `json:"latency_before_seconds,omitempty"`
}

// Cause is a gate that did not hold.
type Cause struct {
	Gate    string  `json:"gate"` // one of [GateNames]
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	Reached int     `json:"reached"` // nodes
	Reports int     `json:"reports"`
}

// channel is what is in force in one channel.
type channel struct {
	Step     uint64     `json:"step"`     // number of the last step
	Releases []*Release `json:"releases"` // by sequence, the newest last
	Highest  int64      `json:"highest"`  // sequence that was ever published
	Rollout  *Rollout   `json:"rollout,omitempty"`
}

// copied is a channel that can be changed without the one in force.
func (c *channel) copied() *channel {
	if c == nil {
		return &channel{}
	}
	next := *c
	next.Releases = slices.Clone(c.Releases)
	if c.Rollout != nil {
		r := *c.Rollout
		next.Rollout = &r
	}
	return &next
}

// release returns the one with a sequence; nil when it was not published.
func (c *channel) release(sequence int64) *Release {
	i, found := slices.BinarySearchFunc(c.Releases, sequence, func(r *Release, s int64) int {
		switch {
		case r.Sequence < s:
			return -1
		case r.Sequence > s:
			return 1
		default:
			return 0
		}
	})
	if !found {
		return nil
	}
	return c.Releases[i]
}

// Actions of steps, as the ledger has them.
const (
	actPublish  = "publish"
	actBegin    = "begin"
	actAdvance  = "advance" // to the next stage, by the plan or by a person
	actResume   = "resume"
	actHalt     = "halt"
	actRoll     = "rollback"
	actFinish   = "finish"
	actDistrust = "distrust"       // the trust policy of now does not trust a release
	actTrust    = "trust"          // and does again
	actBack     = "went-backwards" // of a node, not of a rollout
)

// active reports whether a rollout is not over.
func (r *Rollout) active() bool { return r != nil && (r.State == Running || r.State == Halted) }

// stage is the one that the rollout has reached.
func (r *Rollout) stage() *Stage { return &r.Plan.Stages[r.Stage] }

// enter puts a rollout into a stage, from whose begin on gates count.
func (r *Rollout) enter(stage int, step uint64, now time.Time) {
	r.State, r.Stage, r.Since, r.Watched, r.Cause = Running, stage, now, step, nil
	r.Everybody = r.Everybody || r.stage().everybody()
}

// settle puts a rollout into another state.
func (r *Rollout) settle(state string, cause *Cause, now time.Time) {
	r.State, r.Since, r.Cause = state, now, cause
}

// reaches reports whether a stage up to the present one has a node.
func (r *Rollout) reaches(node string, labels map[string]string) bool {
	for i := range r.Plan.Stages[:r.Stage+1] {
		if r.Plan.Stages[i].reaches(r.Digest, node, labels) {
			return true
		}
	}
	return false
}

// want is the sequence that a node is given; 0 for none. Had is the highest one that it
// ever reported or was given, 0 for none.
//
// It is never below had: what was reached before stays reached, and what came from
// elsewhere is left alone. What is not trusted any more is given to nobody.
func (c *channel) want(node string, labels map[string]string, had int64) int64 {
	choice := c.choose(node, labels, had)
	if choice == 0 || c.trusts(choice) {
		return choice
	}
	if before := c.Rollout.Before; before >= had && before < choice && c.trusts(before) {
		return before
	}
	return 0
}

// choose is want, whoever trusts it.
func (c *channel) choose(node string, labels map[string]string, had int64) int64 {
	r := c.Rollout
	if r == nil {
		return 0
	}
	got := had >= r.Sequence || node == "" && r.Everybody
	choice := r.Before
	switch r.State {
	case Running:
		if got || r.reaches(node, labels) {
			choice = r.Sequence
		}
	case Halted:
		if got {
			choice = r.Sequence
		}
	case RolledBack:
		if got || r.Everybody {
			choice = r.Rollback
		}
	case Done:
		choice = r.Sequence
	}
	if choice < had {
		// The rollback of a release that goes on, or of one before this: whoever has
		// it already keeps it.
		if had == r.Rollback && c.release(had) != nil {
			return had
		}
		return 0
	}
	return choice
}

// newest is the sequence that reaches everybody in the end; 0 for none.
func (c *channel) newest() int64 {
	r := c.Rollout
	switch {
	case r == nil:
		return 0
	case r.State == RolledBack:
		return r.Rollback
	default:
		return r.Sequence
	}
}

// served are the sequences that somebody may be given.
func (c *channel) served() map[int64]bool {
	if c.Rollout == nil {
		return nil
	}
	return map[int64]bool{c.Rollout.Before: true, c.Rollout.Sequence: true, c.Rollout.Rollback: true}
}
