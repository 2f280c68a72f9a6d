package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Decider decides; an engine is one.
type Decider interface {
	Decide(ctx context.Context, in decision.Input) (decision.Decision, error)
	DecideBatch(ctx context.Context, in []decision.Input) []decision.Decision
}

// Log is the part of [ledger.Log] that is needed.
type Log interface {
	AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error)
}

// Errors of an [Auditor]. Nothing is allowed with either of them.
var (
	// ErrUnavailable says that an allowance could not be recorded and is not given.
	ErrUnavailable = errors.New("the audit log cannot be written")
	// ErrConflict says that the caller's request id came back with another question
	// or another answer. The ledger has both.
	ErrConflict = errors.New("the request id was used for another request")
)

// Enforcer gives denials their consequences. Denied is called with denials that are in
// the ledger, before they are answered, and returns when their consequences are in
// force, or ctx ends. A position of size 0 is that of an entry which may be missing.
type Enforcer interface {
	Denied(ctx context.Context, entries []ledger.Entry, positions []ledger.Position)
}

// Defaults of [Options].
const (
	DefaultWindow   = time.Minute
	DefaultDistinct = 20_000
	DefaultDeadline = 2 * time.Second
)

// Options configure [New]. Next, Log and Rules are required.
type Options struct {
	Next  Decider
	Log   Log
	Rules func() Rules // of the active charter; called for every question
	// Window is how long allowances are counted together; 0 is a minute.
	Window time.Duration
	// Distinct is how many different questions a window tells apart; 0 is 20,000.
	// On average they take half a kilobyte at most. Those beyond are counted
	// together.
	Distinct int
	// Deadline is how long recording may take, of every 512 entries; 0 is 2 s.
	Deadline time.Duration
	// Unreported is a file that keeps how many denials were answered unrecorded, until
	// a gap entry says so: a crash does not lose it. "" keeps it in memory alone.
	Unreported string
	// Enforcer is told about denials that were recorded; nil tells nobody.
	Enforcer Enforcer
	// Failed is told about every failure to record; nil tells nobody.
	Failed func(error)
	Now    func() time.Time // nil is time.Now
}

// Auditor decides and records. It is safe for concurrent use.
type Auditor struct {
	Options

	current atomic.Pointer[window]
	// suspended says that nothing is counted: a window could not be opened or
	// recorded, or somebody knows that it could not. Flush ends that.
	suspended atomic.Bool
	missed    atomic.Uint64 // denials that were answered unrecorded, ever

	opening sync.Mutex     // held while windows change
	begun   *window        // announced without an acknowledgement; guarded by opening
	pending []ledger.Entry // of closed windows that are not recorded yet; guarded by opening
	over    bool           // Run has ended; guarded by opening

	unreported unreported // denials that were answered unrecorded
}

// New returns an Auditor that has no window yet. See [Auditor.Recover] and
// [Auditor.Run].
func New(o Options) *Auditor {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Distinct == 0 {
		o.Distinct = DefaultDistinct
	}
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Auditor{Options: o, unreported: unreported{path: o.Unreported, patience: o.Deadline, failed: o.Failed}}
}

// Decide answers one question and records the answer. The error wraps
// [ErrUnavailable] when an allowance could not be recorded, which warn and shadow
// mode give as well; a denial stays a denial whatever becomes of its record, but
// for [ErrConflict].
func (a *Auditor) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	d, err := a.Next.Decide(ctx, in)
	if err != nil {
		return d, err
	}
	rules := a.Rules()
	if _, no := denied(&d); no {
		err = a.denial(ctx, rules, in, d)
	} else {
		err = a.allowance(ctx, rules, &in, &d)
	}
	if err != nil {
		return decision.Decision{}, err
	}
	return d, nil
}

// DecideBatch answers questions in their order and records the answers together.
// The error wraps [ErrUnavailable] when one of the allowances could not be
// recorded, or [ErrConflict]; none of the answers may be given then. Of such a
// batch, allowances may have been counted all the same.
func (a *Auditor) DecideBatch(ctx context.Context, in []decision.Input) ([]decision.Decision, error) {
	answers := a.Next.DecideBatch(ctx, in)
	rules := a.Rules()
	r := records{caller: callerOf(ctx), rules: rules}
	for i := range answers {
		d := &answers[i]
		switch _, no := denied(d); {
		case ctx.Err() != nil && undetermined(d): // nobody gets an answer
		case no:
			r.denial(r.caller.Part(i), &in[i], d)
		case rules.Allowed == Each:
			r.each = append(r.each, entryOf(ledger.Allowance, r.caller.Part(i), &in[i], d))
		}
	}
	// Denials first: whoever asks for something forbidden beside something allowed
	// must not get around the record when the allowance cannot be given.
	if err := a.denials(ctx, &r); err != nil {
		return nil, err
	}
	if len(r.each) > 0 {
		if err := a.recordEach(ctx, r.each); err != nil {
			return nil, err
		}
	}
	if rules.Allowed != Counted {
		return answers, nil
	}
	for i := range answers {
		if _, no := denied(&answers[i]); no {
			continue
		}
		if err := a.count(ctx, &in[i], &answers[i]); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// undetermined reports whether d is not a decision but the lack of one.
func undetermined(d *decision.Decision) bool {
	return d.Outcome == decision.Denied && len(d.Reasons) == 1 && d.Reasons[0].Code == decision.CodeUndetermined
}

func (a *Auditor) allowance(ctx context.Context, rules Rules, in *decision.Input, d *decision.Decision) error {
	switch rules.Allowed {
	case Each:
		return a.recordEach(ctx, []ledger.Entry{entryOf(ledger.Allowance, callerOf(ctx), in, d)})
	case Counted:
		return a.count(ctx, in, d)
	case None:
	}
	return nil
}

func (a *Auditor) recordEach(ctx context.Context, entries []ledger.Entry) error {
	missing, err := a.append(ctx, entries, ledger.Durable)
	switch {
	case missing > 0:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, ledger.ErrConflict):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return nil
}

// Refusal is a question that was not decided because it was not the caller's to
// ask, such as one for another node. Code is that of the answer.
type Refusal struct {
	Input decision.Input
	Code  string
}

// Refused records refusals like denials, and the route of the caller with them.
// The caller's request id is left for the question that it may ask.
func (a *Auditor) Refused(ctx context.Context, refusals ...Refusal) {
	r := records{caller: callerOf(ctx)}
	for i := range refusals {
		d := refusal(refusals[i].Code)
		r.denial(Caller{Principal: r.caller.Principal}, &refusals[i].Input, &d)
	}
	for _, entries := range r.byLevel {
		for i := range entries {
			entries[i].Data = routed(r.caller.Route, entries[i].Data)
		}
	}
	_ = a.denials(ctx, &r) // the answer is a refusal already
}

// refusal is the decision that stands for none.
func refusal(code string) decision.Decision {
	const severity = "high"
	return decision.Decision{
		Outcome: decision.Denied, Clause: decision.ClauseRequest, Severity: severity, Mode: decision.Enforce,
		Reasons: []decision.Reason{{Code: code, Clause: decision.ClauseRequest, Severity: severity}},
	}
}

// records are what is to be recorded of one request.
type records struct {
	caller   Caller
	rules    Rules
	each     []ledger.Entry
	byLevel  [2][]ledger.Entry // denials, by ledger.Level
	required bool              // one of them may not be missing
	lifted   bool              // one of these is an allowance as well
}

// denial adds one.
func (r *records) denial(c Caller, in *decision.Input, d *decision.Decision) {
	why, _ := denied(d)
	required := !r.rules.optional(why)
	r.required = r.required || required
	r.lifted = r.lifted || d.Allow && required
	level := r.rules.level(why)
	r.byLevel[level] = append(r.byLevel[level], entryOf(ledger.Denial, c, in, d))
}

func (a *Auditor) denial(ctx context.Context, rules Rules, in decision.Input, d decision.Decision) error {
	r := records{caller: callerOf(ctx), rules: rules}
	r.denial(r.caller, &in, &d)
	return a.denials(ctx, &r)
}

// denials records denials. Those of critical severity may need witnesses and go
// separately. The error is about what may not be answered: a lifted denial that
// is not recorded, or a conflict.
func (a *Auditor) denials(ctx context.Context, r *records) error {
	var failed error
	for level, entries := range r.byLevel {
		if len(entries) == 0 {
			continue
		}
		missing, err := a.append(ctx, entries, ledger.Level(level))
		if missing > 0 {
			a.unreported.await(a.lose(missing, r.required))
		}
		switch {
		case missing > 0 && r.lifted:
			failed = fmt.Errorf("%w: %w", ErrUnavailable, err)
		case errors.Is(err, ledger.ErrConflict) && failed == nil:
			failed = fmt.Errorf("%w: %w", ErrConflict, err)
		}
	}
	return failed
}

// chunk is how many entries of a request wait to be written at the same time: as
// many as a log commits together. A batch of denials must not keep everybody
// else's entries waiting for all of its own.
const chunk = 512

// append records entries, whatever becomes of the request: who gives up asking is
// recorded all the same. It returns how many are not recorded, or may not be.
func (a *Auditor) append(ctx context.Context, entries []ledger.Entry, level ledger.Level) (missing int, err error) {
	for len(entries) > 0 {
		n, reach := min(len(entries), chunk), ledger.Durable
		if n == len(entries) {
			reach = level // who has witnessed the last ones has witnessed all
		}
		lost, failed := a.appendChunk(ctx, entries[:n], reach)
		entries = entries[n:]
		missing, err = missing+lost, errors.Join(err, failed)
		if lost > 0 {
			return missing + len(entries), err
		}
	}
	return missing, err
}

// appendChunk is append within the deadline.
func (a *Auditor) appendChunk(ctx context.Context, entries []ledger.Entry, level ledger.Level) (missing int, err error) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Deadline)
	defer cancel()
	positions, err := a.Log.AppendAll(limited, entries, level)
	if missing = Unrecorded(positions, err, len(entries)); missing > 0 {
		a.Failed(err)
	}
	a.enforce(ctx, entries, positions)
	return missing, err
}

// enforce has the consequences of denials in force, within a deadline of its own.
func (a *Auditor) enforce(ctx context.Context, entries []ledger.Entry, positions []ledger.Position) {
	if a.Enforcer == nil || len(positions) == 0 || entries[0].Kind != ledger.Denial {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.Deadline)
	defer cancel()
	a.Enforcer.Denied(ctx, entries, positions)
}

// must is append for entries that nobody else can append under their ids.
func (a *Auditor) must(ctx context.Context, entries []ledger.Entry) error {
	missing, err := a.append(ctx, entries, ledger.Durable)
	if missing > 0 {
		return err
	}
	return nil
}

// Unrecorded returns how many of n entries are not recorded, or may not be, by what
// a [Log] returned. What too few witnesses have seen is in the ledger in spite of
// the error, and so is the conflict of a request id that came back with another
// question: they have positions.
func Unrecorded(positions []ledger.Position, err error, n int) int {
	if err == nil {
		return 0
	}
	for i := range positions {
		if positions[i].Size > 0 {
			n--
		}
	}
	return n
}

// lose counts denials that are not in the ledger, or may not be: a commit that
// was still under way at the deadline can succeed.
func (a *Auditor) lose(n int, required bool) mark {
	a.missed.Add(uint64(n))
	return a.unreported.add(uint64(n), required, stamp(a.Now()))
}

// Stats are figures about an Auditor.
type Stats struct {
	Lost      uint64 // denials that were answered and are not in the ledger, or may not be
	Suspended bool   // allowances are not given
	// Unkept is why a crash would lose how many denials were answered unrecorded; nil
	// when it would not.
	Unkept error
}

// Stats returns figures since New.
func (a *Auditor) Stats() Stats {
	return Stats{Lost: a.missed.Load(), Suspended: a.suspended.Load(), Unkept: a.unreported.unkept()}
}

// Missed counts n entries that could not be recorded, as lost denials are. It waits
// for nothing.
func (a *Auditor) Missed(n int) { a.lose(n, true) }
