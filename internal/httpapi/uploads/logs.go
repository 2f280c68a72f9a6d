package uploadsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/audit"
)

// maxProblems bounds the events that an answer lists as refused.
const maxProblems = 20

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
	Events     int       `json:"events"`
	Denied     uint64    `json:"denied"`
	Allowed    uint64    `json:"allowed"`
	Repeated   uint64    `json:"repeated"`   // were uploaded before
	Refused    uint64    `json:"refused"`    // are recorded as not this uploader's to report
	Unreadable int       `json:"unreadable"` // cannot be recorded
	Ignored    int       `json:"ignored"`    // are no decisions of a charter
	Errors     []problem `json:"errors"`     // the first of those that are refused or unreadable
}

func (t *taken) problem(p problem) {
	if len(t.Errors) < maxProblems {
		t.Errors = append(t.Errors, p)
	}
}

// logs takes decision logs. An upload that is JSON throughout is taken although some of
// its events cannot be: OPA sends all of it again and again until it is, and nothing
// after it.
func (a *API) logs(w http.ResponseWriter, r *http.Request) (any, error) {
	who := a.Caller(r.Context())
	if who.Node == "" && !who.AnyNode {
		return nil, &fault{
			status: http.StatusForbidden, Code: codeNodeMismatch,
			Message: "the uploader speaks for no node, so no decision is its to report; its token needs node, or the scope assert",
		}
	}
	body, err := a.read(w, r, a.MaxContent)
	if err != nil {
		return nil, err
	}
	if most := a.MaxContent / leastEvent; more(body, most) {
		return nil, &fault{status: http.StatusRequestEntityTooLarge, Code: codeBodyTooLarge, Message: fmt.Sprintf("more than %d events in one upload: these are none of OPA", most)}
	}
	var events []jsontext.Value
	if err := json.Unmarshal(body, &events); err != nil {
		return nil, malformed(err)
	}
	if wait := a.charge(r.Context(), len(events)); wait > 0 {
		return nil, &fault{
			status: http.StatusTooManyRequests, Code: codeTooMany, retry: wait,
			Message: "too many decisions from this uploader; upload again later, nothing is recorded twice",
		}
	}
	answer := taken{Events: len(events), Errors: []problem{}}
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
		r.Refused = codeNodeMismatch
		answer.problem(problem{codeNodeMismatch, "the decision is about another node than the uploader's; it is recorded as refused", fmt.Sprintf("%d.input.node", i)})
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

// malformed is the 400 of a body that is not what OPA sends.
func malformed(err error) error {
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return wrong(codeInvalidValue, "", "the body is not JSON, or ends too early, at byte %d", syntax.ByteOffset)
	}
	return wrong(codeWrongType, fieldOf(err), "the body is not what OPA uploads")
}

// fieldOf is the field that an error of decoding is about.
func fieldOf(err error) string {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return ""
	}
	var field string
	for token := range semantic.JSONPointer.Tokens() {
		if field != "" {
			field += "."
		}
		field += token
	}
	return cut(field, maxField)
}
