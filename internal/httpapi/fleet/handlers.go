package fleetapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of errors, beside those of [fleet.Codes], of package wire and of whoever verifies
// releases; docs/fleet.md lists them all.
const codeNoTrust = "no_trust_policy"

// typeTar is the media type of a release that is brought here.
const typeTar = "application/x-tar"

// Nodes in one answer.
const (
	defaultPage = 1000
	maxPage     = 10_000
)

// report takes what a node says about itself.
func (a *api) report(w http.ResponseWriter, r *http.Request) error {
	err := a.takeReport(w, r)
	a.Reported(resultOf(err))
	return err
}

// Results of a report, beside the codes of refusals.
const resultTaken = "taken"

func resultOf(err error) string {
	if err == nil {
		return resultTaken
	}
	return wire.From(err, refusal).Code
}

func (a *api) takeReport(w http.ResponseWriter, r *http.Request) error {
	id, err := wire.Segment(r, nodesPath, reportPart)
	if err != nil {
		return err
	}
	if who := a.Caller(r.Context()); !who.Anybody && (who.Node == "" || who.Node != id) {
		return &wire.Error{
			Status: http.StatusForbidden, Code: wire.CodeNodeMismatch,
			Message: "a node reports for itself alone: this takes its certificate, or a token with the scope report and its name",
		}
	}
	var report fleet.Report
	if err := wire.DecodeJSON(w, r, fleet.MaxReport, &report); err != nil {
		return err
	}
	if report.Node == "" {
		report.Node = id
	}
	if report.Node != id {
		return wire.Wrong(wire.CodeInvalidValue, "node", "the report is of node %q and was sent for %q", wire.Echo(report.Node), wire.Echo(id))
	}
	desired, err := a.Fleet.Report(r.Context(), report)
	if err != nil {
		return err
	}
	answer := struct {
		Desired *fleet.Desired `json:"desired,omitempty"`
	}{}
	if desired != (fleet.Desired{}) {
		answer.Desired = &desired
	}
	return wire.SendJSON(w, http.StatusOK, answer)
}

// overview is who runs what.
type overview struct {
	Summary map[string]int `json:"summary"` // nodes by condition
	Nodes   []fleet.Node   `json:"nodes"`
	OPAs    []fleet.OPA    `json:"opas"`
	Next    string         `json:"next"` // path of the rest; "" for none
}

func (a *api) fleet(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "condition", "after", "limit")
	if err != nil {
		return err
	}
	condition, err := wire.OneOf(q, "condition", fleet.Conditions()...)
	if err != nil {
		return err
	}
	limit, err := wire.Limit(q, defaultPage, maxPage)
	if err != nil {
		return err
	}
	v := overview{Summary: map[string]int{}, Nodes: []fleet.Node{}, OPAs: a.OPAs()}
	if v.OPAs == nil {
		v.OPAs = []fleet.OPA{}
	}
	for _, c := range fleet.Conditions() {
		v.Summary[c] = 0
	}
	for _, n := range a.Fleet.Nodes() { // by name
		v.Summary[n.Condition]++
		if condition != "" && n.Condition != condition || n.Node <= q.Get("after") || v.Next != "" {
			continue
		}
		if len(v.Nodes) == limit {
			v.Next = wire.Next(w, fleetPath, q, "after", v.Nodes[len(v.Nodes)-1].Node)
			continue
		}
		v.Nodes = append(v.Nodes, n)
	}
	return wire.SendJSON(w, http.StatusOK, v)
}

func (a *api) releases(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "channel")
	if err != nil {
		return err
	}
	list := []fleet.Release{}
	for _, channel := range a.Fleet.Channels() {
		if want := q.Get("channel"); want == "" || want == channel {
			list = append(list, a.Fleet.Releases(channel)...)
		}
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"releases": list})
}

// publish takes an archive with a release and its rollback.
func (a *api) publish(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	if a.Verify == nil {
		return &wire.Error{Status: http.StatusNotFound, Code: codeNoTrust, Message: "releases are not taken without a trust policy; start charter-server with --trust FILE"}
	}
	if _, _, err := wire.Media(r, typeTar, wire.TypeBytes); err != nil {
		return err
	}
	select {
	case a.uploading <- struct{}{}:
		defer func() { <-a.uploading }()
	default:
		return wire.TooMany("another release is being uploaded, try again", 5*time.Second)
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(upload))  // the server's is for small bodies
	_ = c.SetWriteDeadline(time.Now().Add(upload)) // which begins with the request
	ctx, cancel := context.WithTimeout(r.Context(), upload)
	defer cancel()
	archive, err := wire.Body(w, r, maxArchive)
	if err != nil {
		return err
	}
	releases, err := a.Verify(ctx, archive)
	if err != nil {
		return err
	}
	p, err := a.Fleet.Publish(ctx, a.Caller(ctx).Principal, releases)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if p.Again {
		status = http.StatusOK
	}
	return wire.SendJSON(w, status, p)
}

func (a *api) rollouts(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"rollouts": a.Fleet.Rollouts()})
}

// beginning is the body that begins a rollout. Of a plan, what is absent is that of
// [fleet.DefaultPlan].
type beginning struct {
	Channel  string        `json:"channel"`
	Sequence int64         `json:"sequence"`
	Stages   []fleet.Stage `json:"stages"`
	Gates    *gates        `json:"gates"`
	Manual   bool          `json:"manual"`
}

// gates are [fleet.Gates] of which some may be absent.
type gates struct {
	Errors     *float64        `json:"errors"`
	Violations *float64        `json:"violations"`
	Latency    *fleet.Duration `json:"latency"`
	Nodes      *int            `json:"min_nodes"`
	Decisions  *uint64         `json:"min_decisions"`
}

func (b *beginning) plan() fleet.Plan {
	p := fleet.DefaultPlan()
	p.Manual = b.Manual
	if b.Stages != nil {
		p.Stages = b.Stages
	}
	if g := b.Gates; g != nil {
		set(&p.Gates.Errors, g.Errors)
		set(&p.Gates.Violations, g.Violations)
		set(&p.Gates.Latency, g.Latency)
		set(&p.Gates.Nodes, g.Nodes)
		set(&p.Gates.Decisions, g.Decisions)
	}
	return p
}

func set[T any](into, value *T) {
	if value != nil {
		*into = *value
	}
}

func (a *api) begin(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	var b beginning
	if err := wire.DecodeJSON(w, r, maxBody, &b); err != nil {
		return err
	}
	rollout, err := a.Fleet.Begin(r.Context(), a.Caller(r.Context()).Principal, b.Channel, b.Sequence, b.plan())
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, rollout)
}

// act takes a step of the rollout of the channel in the path.
func (a *api) act(w http.ResponseWriter, r *http.Request, step string, do func(context.Context, string, string) (fleet.Rollout, error)) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	channel, err := wire.Segment(r, rolloutsPath, step)
	if err != nil {
		return err
	}
	if err := wire.NoBody(r); err != nil {
		return err
	}
	rollout, err := do(r.Context(), a.Caller(r.Context()).Principal, channel)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, rollout)
}

// refused gives a refusal of package fleet its status.
func refused(e *fleet.Error) *wire.Error {
	f := &wire.Error{Status: http.StatusBadRequest, Code: string(e.Code), Message: e.Message, Cause: e.Err}
	switch e.Code {
	case fleet.InvalidReport, fleet.InvalidPlan:
		f.Code, f.Errors = wire.CodeInvalidRequest, []wire.Problem{{Code: string(e.Code), Message: e.Message, Location: e.Field}}
	case fleet.TooManyNodes:
		f.Status, f.Retry = http.StatusServiceUnavailable, time.Minute
	case fleet.CannotBeWritten:
		f.Status, f.Retry = http.StatusServiceUnavailable, 5*time.Second
	case fleet.UnknownChannel, fleet.UnknownRelease:
		f.Status = http.StatusNotFound
	case fleet.OlderSequence, fleet.SequenceReused, fleet.RolloutActive, fleet.NoRollout, fleet.UntrustedRun:
		f.Status = http.StatusConflict
	case fleet.BadArchive, fleet.WrongChannel, fleet.NoRollback, fleet.WrongRollback:
		f.Status = http.StatusUnprocessableEntity
	}
	return f
}

// refusal maps errors of those that this package serves to answers.
func refusal(err error) *wire.Error {
	if e, ok := errors.AsType[*fleet.Error](err); ok {
		return refused(e)
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return &wire.Error{Status: http.StatusUnprocessableEntity, Code: r.Code, Message: "the release is not accepted: " + wire.Cut(r.Error(), wire.MaxMessage)}
	}
	return nil
}
