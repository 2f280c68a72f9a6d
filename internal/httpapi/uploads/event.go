package uploadsapi

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// maxID bounds the id of a decision or an instance in bytes.
const maxID = 128

// event is one decision of OPA as it uploads it (EventV1 of its package logs), as far
// as it is read here: OPA has more, and later versions even more.
type event struct {
	Labels     map[string]string `json:"labels"`
	DecisionID string            `json:"decision_id"`
	Path       string            `json:"path"`
	Query      string            `json:"query"`
	Bundles    map[string]struct {
		Revision string `json:"revision"`
	} `json:"bundles"`
	Input     jsontext.Value `json:"input"`
	Result    jsontext.Value `json:"result"`
	Erased    []string       `json:"erased"` // by a mask of OPA: JSON pointers
	Masked    []string       `json:"masked"` // given another value by one
	Timestamp time.Time      `json:"timestamp"`
}

// parseEvent reads one event; the error is a problem with its field.
func parseEvent(text jsontext.Value) (*event, *wire.Problem) {
	var e event
	if err := wire.DecodeKnown(text, &e); err != nil {
		return &e, &wire.From(err).Errors[0]
	}
	switch {
	case e.DecisionID == "" || e.Labels["id"] == "":
		return &e, problem(wire.CodeMissingField, "decision_id", "decision_id and labels.id are required")
	case !printable(e.DecisionID) || !printable(e.Labels["id"]):
		return &e, problem(wire.CodeInvalidValue, "decision_id", "decision_id and labels.id have at most %d bytes of printable text", maxID)
	case e.Timestamp.IsZero():
		return &e, problem(wire.CodeMissingField, "timestamp", "timestamp is required")
	}
	return &e, nil
}

func problem(code, location, format string, args ...any) *wire.Problem {
	return &wire.Problem{Code: code, Message: fmt.Sprintf(format, args...), Location: location}
}

func printable(id string) bool {
	return len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) })
}

// decision reads the event as a decision of the charter; nil when it is none.
func (e *event) decision() (*audit.Reported, *wire.Problem) {
	if e.Query != "" {
		return nil, nil // nobody enforces what an ad-hoc query gives
	}
	answer, asked := e.answer()
	if !asked {
		return nil, nil
	}
	r := &audit.Reported{ID: e.DecisionID, At: e.Timestamp, Input: e.question()}
	if answer == nil {
		if e.hidden("/result") {
			return nil, problem(codeMaskedResult, "result", "a mask of OPA hides the result: whether it was allowed cannot be recorded")
		}
		r.Decision = decision.Undetermined(e.revision(), "") // which allows nothing
		return r, nil
	}
	d, p := answer.decision()
	if p != nil {
		return nil, p
	}
	if d.Revision == "" {
		d.Revision = e.revision()
		if d.WouldDeny != nil {
			d.WouldDeny.Revision = d.Revision
		}
	}
	r.Decision = *d
	return r, nil
}

// answer is the document data.charter.decision in what OPA answered, or of one value in
// it as much as that tells; nil when there is none. It is not asked when OPA answered
// something else.
func (e *event) answer() (doc object, asked bool) {
	at := []string{"charter", "decision"}
	for part := range strings.SplitSeq(strings.Trim(e.Path, "/"), "/") {
		switch {
		case part == "":
		case len(at) == 0 && (part == "allow" || part == "outcome"):
			if e.Result == nil {
				return nil, true
			}
			return object{part: e.Result}, true
		case len(at) == 0 || part != at[0]:
			return nil, false
		default:
			at = at[1:]
		}
	}
	if len(at) > 0 && e.Input == nil && !e.hidden("/input") {
		return nil, false // somebody looks around, and asks nothing
	}
	doc = objectOf(e.Result)
	for _, part := range at {
		doc = objectOf(doc[part])
	}
	if doc["allow"] == nil && doc["outcome"] == nil {
		return nil, true
	}
	return doc, true
}

// hidden reports whether a mask changed or erased what is at a JSON pointer of the
// event, something in it, or something that it is in.
func (e *event) hidden(pointer string) bool {
	within := func(p string) bool {
		return p == pointer || strings.HasPrefix(p, pointer+"/") || strings.HasPrefix(pointer, p+"/")
	}
	return slices.ContainsFunc(e.Erased, within) || slices.ContainsFunc(e.Masked, within)
}

// revision is that of the bundle, when there is one beside the state that has any.
func (e *event) revision() string {
	var found string
	for _, b := range e.Bundles {
		if strings.HasPrefix(b.Revision, "state-") {
			continue
		}
		if b.Revision != "" && found != "" {
			return "" // nobody knows which
		}
		found += b.Revision
	}
	return clip(found)
}

// question is what was asked, as far as that is a question at all. What a mask wrote is
// nothing that was asked.
func (e *event) question() decision.Input {
	in := objectOf(e.Input)
	for _, name := range decision.Fields() {
		if slices.Contains(e.Masked, "/input") || slices.Contains(e.Masked, "/input/"+name) {
			delete(in, name)
		}
	}
	q := decision.Input{
		Metric: in.text("metric"), Node: in.text("node"), Role: in.text("role"), Operation: in.text("operation"),
		Purpose: in.text("purpose"), Retention: in.text("retention"), Time: in.text("time"),
	}
	var claims []jsontext.Value
	if json.Unmarshal(in["claims"], &claims) == nil {
		for _, c := range claims {
			if text, ok := textOf(c); ok {
				q.Claims = append(q.Claims, clip(text))
			}
		}
	}
	labels := objectOf(in["labels"])
	if len(labels) > 0 {
		q.Labels = make(map[string]string, len(labels))
	}
	for name, value := range labels {
		if text, ok := textOf(value); !ok || text != "" { // an empty value is no label
			q.Labels[clip(name)] = "…" // values are not kept
		}
	}
	return q
}
