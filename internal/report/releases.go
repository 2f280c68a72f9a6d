package report

import (
	"cmp"
	"slices"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Releases are signed releases: those that the server of this ledger handed to nodes, and
// those that whoever wrote this ledger followed itself.
type Releases struct {
	// Steps counts steps of rollouts, such as publish, begin and rollback.
	Steps Breakdown `json:"steps"`
	// List are the releases that were published in the period, or that nodes were
	// offered at some time of it, by channel and sequence. A rollback that was used is
	// one of its own.
	List []Release `json:"list"`
	// Stops are rollouts that were halted or rolled back, and halted ones that went on.
	Stops []Stop `json:"stops"`
	// Backwards are nodes that ran an older release than they had reported.
	Backwards []Backwards `json:"went_backwards"`
	// Decided are the releases that decided where this ledger was written.
	Decided []Decided `json:"decided"`
	// Refused are those that were offered there and not accepted, state bundles included.
	Refused []RefusedRelease `json:"refused"`
}

// Release is a release with what became of it by the end of the period. Times are those
// of entries.
type Release struct {
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest,omitempty"` // of its manifest, which is what was signed; empty when the ledger does not say
	Revision string `json:"revision,omitempty"`
	// Signers made its release statement, by their names in the trust policy of the
	// server, which verified it before it was published.
	Signers     []string `json:"signers"`
	Published   string   `json:"published,omitempty"` // empty when that was before the ledger, or was pruned
	PublishedBy string   `json:"published_by,omitempty"`
	// Rollback is the sequence that was signed for going back, RollbackOf the release
	// that this one is the rollback of; 0 for none.
	Rollback   int64 `json:"rollback,omitempty"`
	RollbackOf int64 `json:"rollback_of,omitempty"`
	// Began is when nodes were offered it first, Completed when everybody was and the
	// plan was over, Ended when nobody was any more.
	Began     string `json:"began,omitempty"`
	Completed string `json:"completed,omitempty"`
	Ended     string `json:"ended,omitempty"`
	// ReplacedBy is the sequence that everybody was given instead; 0 for none.
	ReplacedBy int64 `json:"replaced_by,omitempty"`
	// State is published, running, halted, done, rolled-back or replaced.
	State   string   `json:"state"`
	Stage   int      `json:"stage,omitempty"` // that it reached, from 1
	Stages  int      `json:"stages,omitempty"`
	Entries Citation `json:"entries"`

	published, began, ended int64
}

// States of a [Release].
const (
	releasePublished  = "published"
	releaseRunning    = "running"
	releaseHalted     = "halted"
	releaseDone       = "done"
	releaseRolledBack = "rolled-back"
	releaseReplaced   = "replaced"
)

// Steps of a rollout that change what is told of a release.
const (
	stepPublish   = "publish"
	stepBegin     = "begin"
	stepAdvance   = "advance"
	stepResume    = "resume"
	stepHalt      = "halt"
	stepRollback  = "rollback"
	stepFinish    = "finish"
	stepBackwards = "went-backwards"
)

// Stop is a step against the plan of a rollout.
type Stop struct {
	Index    uint64 `json:"index"`
	Time     string `json:"time"`
	Action   string `json:"action"` // halt, rollback or resume
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Rollback int64  `json:"rollback,omitempty"` // that nodes were given instead
	Stage    int    `json:"stage"`
	Stages   int    `json:"stages"`
	By       string `json:"by,omitempty"` // who did it; empty for a gate
	// Gate did not hold, with what it measured, over how many reports of how many nodes
	// that had been reached.
	Gate    string  `json:"gate,omitempty"`
	Value   float64 `json:"value,omitempty"`
	Limit   float64 `json:"limit,omitempty"`
	Reached int     `json:"reached,omitempty"`
	Reports int     `json:"reports,omitempty"`
}

// Backwards is a node that ran an older release than it had reported.
type Backwards struct {
	Index    uint64 `json:"index"`
	Time     string `json:"time"`
	Node     string `json:"node"`
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Before   int64  `json:"before"` // sequence that it had reported
	Digest   string `json:"digest,omitempty"`
}

// Decided is a release from the entry with which it began to decide to the one with which
// something else did.
type Decided struct {
	Index    uint64 `json:"index"`
	From     string `json:"from"`
	Until    string `json:"until,omitempty"` // empty: it decided at the end of the period
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest"`
	Revision string `json:"revision"`
	Expires  string `json:"expires,omitempty"` // of its statement
	Before   bool   `json:"before"`            // it began before the period

	ended int64
}

// RefusedRelease is a release, or a state bundle, that was not accepted.
type RefusedRelease struct {
	Index    uint64 `json:"index"`
	Time     string `json:"time"`
	Part     string `json:"part"` // policy or state
	Code     string `json:"code"`
	Channel  string `json:"channel,omitempty"`  // that is followed, or that it claims
	Sequence int64  `json:"sequence,omitempty"` // that it claims; 0 when that is not known, or not believed
	Digest   string `json:"digest,omitempty"`
	// Repeats, when not 0, is how often the same was refused that the entry stands for.
	Repeats uint64 `json:"repeats,omitempty"`
}

// load is the part of the Data of a charter-load entry that reports tell.
type load struct {
	Result  string `json:"result"`
	Code    string `json:"code"`
	Part    string `json:"part"`
	Trigger string `json:"trigger"`
	Repeats uint64 `json:"repeats"`
	signed
}

// signed says which signed release an entry is about.
type signed struct {
	Release  string `json:"release"`
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Expires  string `json:"expires"`
}

// releaseKey names a release.
type releaseKey struct {
	channel  string
	sequence int64
}

// releases follows releases, from before the period on.
type releases struct {
	period Period
	limit  int
	forget int64 // what ended before this time is not kept

	byKey map[releaseKey]*Release
	more  uint64 // published without a place

	stops     list[Stop]
	backwards list[Backwards]
	refusals  list[RefusedRelease]
	decided   list[Decided]
	current   *Decided // that decides now; nil when nothing does that was released
}

func newReleases(p Period, rows int, forget int64) releases {
	return releases{
		period: p, limit: rows, forget: forget, byKey: map[releaseKey]*Release{}, stops: list[Stop]{limit: rows}, backwards: list[Backwards]{limit: rows},
		refusals: list[RefusedRelease]{limit: rows}, decided: list[Decided]{limit: rows},
	}
}

// step takes note of an entry of kind release.
func (r *releases) step(ev *event, s *ledger.ReleaseStep) {
	during := r.period.holds(ev.Time)
	if s.Action == stepBackwards {
		if during {
			r.backwards.add(Backwards{ev.index, stamp(instant(ev.Time)), ev.Node, s.Channel, s.Sequence, s.Before, s.Digest})
		}
		return
	}
	if during && (s.Action == stepHalt || s.Action == stepRollback || s.Action == stepResume) {
		r.stops.add(stopOf(ev, s))
	}
	one := r.of(releaseKey{s.Channel, s.Sequence})
	if one == nil {
		return
	}
	one.Entries.add(ev.index)
	one.Digest, one.Revision = cmp.Or(s.Digest, one.Digest), cmp.Or(ev.Revision, one.Revision)
	one.Rollback = cmp.Or(s.Rollback, one.Rollback)
	if s.Stages > 0 {
		one.Stage, one.Stages = s.Stage, s.Stages
	}
	r.take(ev, s, one)
}

// take is step for the release that the step is about.
func (r *releases) take(ev *event, s *ledger.ReleaseStep, one *Release) {
	now := stamp(instant(ev.Time))
	switch s.Action {
	case stepPublish:
		one.Published, one.PublishedBy, one.Signers, one.published = now, ev.Principal, some(s.Signers), ev.Time
		r.prepared(ev, s)
	case stepBegin, stepResume, stepAdvance:
		one.State = releaseRunning
		if one.began == 0 {
			one.Began, one.began = now, ev.Time
		}
	case stepHalt:
		one.State = releaseHalted
	case stepFinish:
		r.complete(one, ev.Time)
	case stepRollback:
		whole := one.Completed != ""
		one.State = releaseRolledBack
		one.Ended, one.ended = now, ev.Time
		if back := r.of(releaseKey{s.Channel, s.Rollback}); back != nil {
			back.RollbackOf, back.State, back.Began, back.began = s.Sequence, releaseDone, now, ev.Time
			back.Entries.add(ev.index)
			if whole {
				r.complete(back, ev.Time)
			}
		}
	}
}

// prepared notes the rollback that was published with a release: an earlier one of its
// channel, signed once more.
func (r *releases) prepared(ev *event, s *ledger.ReleaseStep) {
	if s.Rollback == 0 {
		return
	}
	back := r.of(releaseKey{s.Channel, s.Rollback})
	if back == nil {
		return
	}
	back.Entries.add(ev.index)
	back.Digest, back.RollbackOf, back.Signers = s.RollbackDigest, s.Sequence, some(s.RollbackSigners)
	for key, other := range r.byKey {
		if key.channel == s.Channel && other.Digest == back.Digest && other.Revision != "" {
			back.Revision = other.Revision
		}
	}
}

// complete notes that everybody is offered a release, and nobody another one of its
// channel.
func (r *releases) complete(one *Release, at int64) {
	one.State, one.Completed = releaseDone, stamp(instant(at))
	if one.began == 0 {
		one.Began, one.began = one.Completed, at
	}
	for key, other := range r.byKey {
		if key.channel == one.Channel && other != one && other.began != 0 && other.ended == 0 {
			other.State, other.ReplacedBy = releaseReplaced, one.Sequence
			other.Ended, other.ended = one.Completed, at
		}
	}
}

// of returns a release, a new one when it is not known; nil when there is no room.
func (r *releases) of(key releaseKey) *Release {
	if one := r.byKey[key]; one != nil {
		return one
	}
	if len(r.byKey) >= r.limit {
		for key, old := range r.byKey {
			if old.ended != 0 && old.ended < r.forget {
				delete(r.byKey, key)
			}
		}
	}
	if len(r.byKey) >= r.limit {
		r.more++
		return nil
	}
	one := &Release{Channel: key.channel, Sequence: key.sequence, Signers: []string{}, State: releasePublished}
	r.byKey[key] = one
	return one
}

func stopOf(ev *event, s *ledger.ReleaseStep) Stop {
	one := Stop{
		Index: ev.index, Time: stamp(instant(ev.Time)), Action: s.Action, Channel: s.Channel, Sequence: s.Sequence, Stage: s.Stage, Stages: s.Stages,
	}
	if s.Action == stepRollback {
		one.Rollback = s.Rollback
	}
	if c := s.Cause; c != nil && s.Action != stepResume {
		one.Gate, one.Value, one.Limit, one.Reached, one.Reports = c.Gate, c.Value, c.Limit, c.Reached, c.Reports
	} else {
		one.By = ev.Principal
	}
	return one
}

// activated follows which release decides where the ledger is written.
func (r *releases) activated(ev *event, s signed) {
	if c := r.current; c != nil {
		if c.Digest == s.Release && c.Sequence == s.Sequence && c.Channel == s.Channel {
			return
		}
		c.Until, c.ended = stamp(instant(ev.Time)), ev.Time
		r.keep(c)
	}
	r.current = nil
	if s.Release != "" {
		r.current = &Decided{
			Index: ev.index, From: stamp(instant(ev.Time)), Channel: s.Channel, Sequence: s.Sequence, Digest: s.Release, Revision: ev.Revision, Expires: s.Expires,
			Before: ev.Time < r.period.From.UnixNano(),
		}
	}
}

// keep lists a release that decided at some time of the period.
func (r *releases) keep(d *Decided) {
	if d.ended == 0 || d.ended >= r.period.From.UnixNano() {
		r.decided.add(*d)
	}
}

// refused takes note of a release that was not accepted.
func (r *releases) refused(ev *event, l *load) {
	if l.Result != "refused" || l.Trigger != "release" || !r.period.holds(ev.Time) {
		return
	}
	r.refusals.add(RefusedRelease{ev.index, stamp(instant(ev.Time)), l.Part, l.Code, l.Channel, l.Sequence, l.Release, l.Repeats})
}

// document is the section of a report.
func (r *releases) document(steps *table[string]) Releases {
	if r.current != nil {
		r.keep(r.current)
		r.current = nil
	}
	d := Releases{
		Steps: breakdown(steps), List: []Release{}, Stops: r.stops.all(), Backwards: r.backwards.all(), Decided: r.decided.all(), Refused: r.refusals.all(),
	}
	for _, one := range r.byKey {
		offered := one.began != 0 && (one.ended == 0 || one.ended >= r.period.From.UnixNano())
		if offered || r.period.holds(one.published) && one.published != 0 {
			row := *one
			row.Entries = one.Entries.settled()
			d.List = append(d.List, row)
		}
	}
	slices.SortFunc(d.List, func(a, b Release) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Sequence, b.Sequence))
	})
	return d
}

// notListed is how many releases, steps and nodes have no place.
func (r *releases) notListed() uint64 {
	return r.more + r.stops.more + r.backwards.more + r.refusals.more + r.decided.more
}
