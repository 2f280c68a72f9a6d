package fleetapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
)

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
	return faultOf(err).Code
}

func (a *api) takeReport(w http.ResponseWriter, r *http.Request) error {
	parts, err := segments(r, nodesPath)
	if err != nil {
		return err
	}
	id, who := parts[0], a.Caller(r.Context())
	if !who.Anybody && (who.Node == "" || who.Node != id) {
		return &fault{
			status: http.StatusForbidden, Code: codeNodeMismatch,
			Message: "a node reports for itself alone: this takes its certificate, or a token with the scope report and its name",
		}
	}
	var report fleet.Report
	if err := readJSON(w, r, fleet.MaxReport, &report); err != nil {
		return err
	}
	if report.Node == "" {
		report.Node = id
	}
	if report.Node != id {
		return wrong(codeInvalidValue, "node", "the report is of node %q and was sent for %q", echoed(report.Node), echoed(id))
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
	sendJSON(w, http.StatusOK, answer)
	return nil
}

// overview is who runs what.
type overview struct {
	Summary map[string]int `json:"summary"` // nodes by condition
	Nodes   []fleet.Node   `json:"nodes"`
	OPAs    []fleet.OPA    `json:"opas"`
	Next    string         `json:"next"` // path of the rest; "" for none
}

func (a *api) fleet(w http.ResponseWriter, r *http.Request) error {
	q, err := parameters(r, "condition", "after", "limit")
	if err != nil {
		return err
	}
	condition, err := oneOf(q, "condition", fleet.Conditions()...)
	if err != nil {
		return err
	}
	limit, err := number(q, "limit", defaultPage, maxPage)
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
			q.Set("after", v.Nodes[len(v.Nodes)-1].Node)
			v.Next = fleetPath + "?" + q.Encode()
			continue
		}
		v.Nodes = append(v.Nodes, n)
	}
	sendJSON(w, http.StatusOK, v)
	return nil
}

func (a *api) releases(w http.ResponseWriter, r *http.Request) error {
	q, err := parameters(r, "channel")
	if err != nil {
		return err
	}
	list := []fleet.Release{}
	for _, channel := range a.Fleet.Channels() {
		if want := q.Get("channel"); want == "" || want == channel {
			list = append(list, a.Fleet.Releases(channel)...)
		}
	}
	sendJSON(w, http.StatusOK, map[string]any{"releases": list})
	return nil
}

// publish takes an archive with a release and its rollback.
func (a *api) publish(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if a.Verify == nil {
		return &fault{status: http.StatusNotFound, Code: codeNoTrust, Message: "releases are not taken without a trust policy; start charter-server with --trust FILE"}
	}
	if err := mediaOf(r, typeTar, "application/octet-stream"); err != nil {
		return err
	}
	select {
	case a.uploading <- struct{}{}:
		defer func() { <-a.uploading }()
	default:
		return &fault{status: http.StatusTooManyRequests, Code: codeTooMany, Message: "another release is being uploaded, try again", retry: 5 * time.Second}
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(upload))  // the server's is for small bodies
	_ = c.SetWriteDeadline(time.Now().Add(upload)) // which begins with the request
	ctx, cancel := context.WithTimeout(r.Context(), upload)
	defer cancel()
	archive, err := readBody(w, r, maxArchive)
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
	sendJSON(w, status, p)
	return nil
}

func (a *api) rollouts(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	sendJSON(w, http.StatusOK, map[string]any{"rollouts": a.Fleet.Rollouts()})
	return nil
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
	Reports    *int            `json:"min_reports"`
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
		set(&p.Gates.Reports, g.Reports)
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
	if _, err := parameters(r); err != nil {
		return err
	}
	var b beginning
	if err := readJSON(w, r, maxBody, &b); err != nil {
		return err
	}
	rollout, err := a.Fleet.Begin(r.Context(), a.Caller(r.Context()).Principal, b.Channel, b.Sequence, b.plan())
	if err != nil {
		return err
	}
	sendJSON(w, http.StatusOK, rollout)
	return nil
}

// act takes a step of the rollout of the channel in the path.
func (a *api) act(w http.ResponseWriter, r *http.Request, do func(context.Context, string, string) (fleet.Rollout, error)) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	parts, err := segments(r, rolloutsPath)
	if err != nil {
		return err
	}
	if body, err := readBody(w, r, maxBody); err != nil {
		return err
	} else if len(body) > 0 && string(body) != "{}" {
		return wrong(codeUnknownField, "", "this takes no body")
	}
	rollout, err := do(r.Context(), a.Caller(r.Context()).Principal, parts[0])
	if err != nil {
		return err
	}
	sendJSON(w, http.StatusOK, rollout)
	return nil
}

// refused gives a refusal of package fleet its status.
func refused(e *fleet.Error) *fault {
	f := &fault{status: http.StatusBadRequest, Code: string(e.Code), Message: e.Message, cause: e.Err}
	switch e.Code {
	case fleet.InvalidReport, fleet.InvalidPlan:
		f.Code, f.Errors = codeInvalidRequest, []problem{{string(e.Code), e.Message, e.Field}}
	case fleet.TooManyNodes:
		f.status, f.retry = http.StatusServiceUnavailable, time.Minute
	case fleet.CannotBeWritten:
		f.status, f.retry = http.StatusServiceUnavailable, 5*time.Second
	case fleet.UnknownChannel, fleet.UnknownRelease:
		f.status = http.StatusNotFound
	case fleet.OlderSequence, fleet.SequenceReused, fleet.RolloutActive, fleet.NoRollout:
		f.status = http.StatusConflict
	case fleet.BadArchive, fleet.WrongChannel, fleet.NoRollback, fleet.WrongRollback:
		f.status = http.StatusUnprocessableEntity
	}
	return f
}

// notVerified is the answer to an archive that is not taken.
func notVerified(r *Refusal) *fault {
	return &fault{status: http.StatusUnprocessableEntity, Code: r.Code, Message: "the release is not accepted: " + cut(r.Error(), maxMessage)}
}

// faultOf maps what handlers return to answers.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if e, ok := errors.AsType[*fleet.Error](err); ok {
		return refused(e)
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return notVerified(r)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &fault{status: http.StatusServiceUnavailable, Code: codeTimeout, Message: "the answer took too long, ask again", retry: time.Second, cause: err}
	case errors.Is(err, context.Canceled):
		return &fault{status: statusClientClosed, Code: codeCanceled, Message: "the request was given up", cause: err}
	default:
		return &fault{status: http.StatusInternalServerError, Code: codeInternal, Message: "internal error; the log says more", cause: err}
	}
}
