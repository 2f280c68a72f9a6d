package uploadsapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/wire"
)

// leastEvent is fewer bytes than any event of OPA has: two ids and a time alone are more.
// What is shorter would cost far more memory than it was sent with.
const leastEvent = 128

// more reports whether a list has more than most items. One that is no list, or not
// JSON, has not.
func more(body []byte, most int64) bool {
	list := jsontext.NewDecoder(bytes.NewBuffer(body))
	if token, err := list.ReadToken(); err != nil || token.Kind() != '[' {
		return false
	}
	for n := int64(0); list.PeekKind() != ']'; n++ {
		if n == most {
			return true
		}
		if list.SkipValue() != nil {
			return false
		}
	}
	return false
}

// taken is the answer to decision logs. Events is the sum of Denied, Allowed, Unreadable
// and Ignored; Repeated and Refused are among the former two.
type taken struct {
	Events     int            `json:"events"`
	Denied     uint64         `json:"denied"`
	Allowed    uint64         `json:"allowed"`
	Repeated   uint64         `json:"repeated"`   // were uploaded before
	Refused    uint64         `json:"refused"`    // are recorded as not this uploader's to report
	Unreadable int            `json:"unreadable"` // cannot be recorded
	Ignored    int            `json:"ignored"`    // are no decisions of a charter
	Errors     []wire.Problem `json:"errors"`     // the first of those that are refused or unreadable
}

func (t *taken) problem(p wire.Problem) {
	if len(t.Errors) < wire.MaxProblems {
		t.Errors = append(t.Errors, p)
	}
}

// logs takes decision logs. An upload that is JSON throughout is taken although some of
// its events cannot be: OPA sends all of it again and again until it is, and nothing
// after it.
func (a *API) logs(w http.ResponseWriter, r *http.Request) (any, error) {
	who := a.Caller(r.Context())
	if who.Node == "" && !who.AnyNode {
		return nil, &wire.Error{
			Status: http.StatusForbidden, Code: wire.CodeNodeMismatch,
			Message: "the uploader speaks for no node, so no decision is its to report; its token needs node, or the scope assert",
		}
	}
	body, err := read(w, r, a.MaxContent)
	if err != nil {
		return nil, err
	}
	if most := a.MaxContent / leastEvent; more(body, most) {
		return nil, &wire.Error{Status: http.StatusRequestEntityTooLarge, Code: wire.CodeBodyTooLarge, Message: fmt.Sprintf("more than %d events in one upload: these are none of OPA", most)}
	}
	var events []jsontext.Value
	if err := wire.DecodeKnown(body, &events); err != nil {
		return nil, err
	}
	if wait := a.charge(r.Context(), len(events)); wait > 0 {
		return nil, wire.TooMany("too many decisions from this uploader; upload again later, nothing is recorded twice", wait)
	}
	answer := taken{Events: len(events), Errors: []wire.Problem{}}
	byInstance, order := map[string][]audit.Reported{}, []string{}
	for i, text := range events {
		instance, reported := a.event(i, text, who, &answer)
		if reported == nil {
			continue
		}
		if byInstance[instance] == nil {
			order = append(order, instance)
		}
		byInstance[instance] = append(byInstance[instance], *reported)
	}
	for _, instance := range order {
		counts, err := a.Recorder.Report(r.Context(), audit.Reporter{Principal: who.Principal, Instance: instance}, byInstance[instance])
		if err != nil {
			return nil, err
		}
		answer.Denied += counts.Denied
		answer.Allowed += counts.Allowed
		answer.Repeated += counts.Repeated
		answer.Refused += counts.Refused
	}
	a.tell(who, &answer)
	return answer, nil
}

func (a *API) charge(ctx context.Context, events int) time.Duration {
	if a.Charge == nil || events <= 1 {
		return 0
	}
	return a.Charge(ctx, events-1)
}

// event reads the i-th event; nil when there is nothing to record.
func (a *API) event(i int, text jsontext.Value, who Caller, answer *taken) (instance string, r *audit.Reported) {
	e, p := parseEvent(text)
	if p == nil {
		r, p = e.decision()
	}
	switch {
	case p != nil:
		answer.Unreadable++
		p.Location = fmt.Sprintf("%d.%s", i, p.Location)
		answer.problem(*p)
		return "", nil
	case r == nil:
		answer.Ignored++
		return "", nil
	case !who.AnyNode && r.Input.Node != "" && r.Input.Node != who.Node:
		r.Refused = wire.CodeNodeMismatch
		answer.problem(wire.Problem{
			Code: wire.CodeNodeMismatch, Message: "the decision is about another node than the uploader's; it is recorded as refused", Location: fmt.Sprintf("%d.input.node", i),
		})
	}
	return e.Labels["id"], r
}

// tell counts what became of an upload, and logs what an operator can mend.
func (a *API) tell(who Caller, t *taken) {
	a.Observer.DecisionsReported("denied", t.Denied)
	a.Observer.DecisionsReported("allowed", t.Allowed)
	a.Observer.DecisionsReported("repeated", t.Repeated)
	a.Observer.DecisionsReported("refused", t.Refused)
	a.Observer.DecisionsReported("unreadable", uint64(t.Unreadable))
	a.Observer.DecisionsReported("ignored", uint64(t.Ignored))
	if len(t.Errors) > 0 {
		a.Logger.Warn("decisions in an upload of OPA are not as they should be", "principal", who.Principal,
			"refused", t.Refused, "unreadable", t.Unreadable, "code", t.Errors[0].Code, "field", t.Errors[0].Location)
	}
}
