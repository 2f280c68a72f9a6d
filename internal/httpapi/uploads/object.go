package uploadsapi

import (
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	// maxReasons bounds the reasons of a decision; a charter gives far fewer.
	maxReasons = 256
	// maxField bounds the name of the field that a reason is about, in bytes.
	maxField = 100
)

// object is a JSON object of which masks may have changed any part: what is not what
// it should be is absent.
type object map[string]jsontext.Value

// objectOf reads an object; nil when it is none.
func objectOf(value jsontext.Value) object {
	var o object
	if json.Unmarshal(value, &o) != nil {
		return nil
	}
	return o
}

func textOf(value jsontext.Value) (string, bool) {
	var text string
	return text, len(value) > 0 && value.Kind() == '"' && json.Unmarshal(value, &text) == nil
}

func (o object) text(name string) string {
	text, _ := textOf(o[name])
	return clip(text)
}

// flag reads a boolean; ok is false when it is none.
func (o object) flag(name string) (value, ok bool) {
	ok = len(o[name]) > 0 && json.Unmarshal(o[name], &value) == nil
	return value, ok
}

// clip is what is kept of a text that is as long as any text of a valid question.
func clip(text string) string { return cut(text, decision.MaxNameBytes) }

// cut ends a text after at most limit bytes, between two characters, and leaves out
// what cannot stand in a log.
func cut(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// oneOf is a text of a closed list, "" for another one.
func oneOf(text string, known ...string) string {
	if slices.Contains(known, text) {
		return text
	}
	return ""
}

// decision reads the document of a decision that says at least whether it allows, or
// how it ended.
func (o object) decision() (*decision.Decision, *wire.Problem) {
	outcome := oneOf(o.text("outcome"), decision.Allowed, decision.Denied, decision.Forbidden, decision.UnknownMetric, decision.Suspended,
		decision.Quarantined, decision.StalePolicy, decision.NoPolicy, decision.InvalidRequest)
	allow, said := o.flag("allow")
	switch {
	case !said && outcome == "":
		return nil, problem(wire.CodeInvalidValue, "result", "neither allow nor outcome is one of a decision")
	case !said:
		allow = outcome == decision.Allowed
	case outcome == "" && allow:
		outcome = decision.Allowed
	case outcome == "":
		outcome = decision.Denied
	case !allow && outcome == decision.Allowed:
		return nil, problem(wire.CodeInvalidValue, "result.outcome", "allow is false, and the outcome is allowed")
	}
	d := &decision.Decision{
		Allow: allow, Outcome: outcome, Revision: o.text("revision"), Clause: o.text("clause"),
		Severity: oneOf(o.text("severity"), "none", "low", "medium", "high", "critical"),
		Mode:     oneOf(o.text("mode"), decision.Enforce, decision.Warn, decision.Shadow),
		Reasons:  o.reasons(),
	}
	if allow && outcome != decision.Allowed { // warn or shadow mode lifted it
		would := *d
		would.Allow = false
		d.WouldDeny = &would
	}
	return d, nil
}

// reasons are those with a code that Rego can give.
func (o object) reasons() []decision.Reason {
	var list []jsontext.Value
	if json.Unmarshal(o["reasons"], &list) != nil {
		return nil
	}
	var reasons []decision.Reason
	for _, value := range list[:min(len(list), maxReasons)] {
		r := objectOf(value)
		if code := r.text("code"); slices.Contains(decision.Codes(), code) {
			reasons = append(reasons, decision.Reason{
				Code: code, Clause: r.text("clause"), Field: cut(r.text("field"), maxField),
				Severity: oneOf(r.text("severity"), "none", "low", "medium", "high", "critical"),
			})
		}
	}
	return reasons
}
