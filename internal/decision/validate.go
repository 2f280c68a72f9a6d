package decision

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Validate checks a question that was built in Go by the same rules as
// [ParseInput]; it returns nil or a [*FieldError].
func (in Input) Validate() error {
	var found problems
	in.check(&found)
	return found.err()
}

// check records every problem of values. Fields that could not be read are
// already in found and are not reported as missing as well.
func (in Input) check(found *problems) {
	in.checkPresence(found)
	in.checkNames(found)
	in.checkClaims(found)
	in.checkLabels(found)
	if in.Operation != "" && !slices.Contains(Operations(), in.Operation) {
		found.add("operation", CodeInvalidValue, "operation %q is none of collect, export, read", clip(in.Operation))
	}
	if in.Retention != "" && !validRetention(in.Retention) {
		found.add("retention", CodeInvalidValue, "retention %q is not a duration such as 30d", clip(in.Retention))
	}
	if in.Time != "" && !validTime(in.Time) {
		found.add("time", CodeInvalidValue, "time %q is neither RFC 3339 nor a date", clip(in.Time))
	}
}

func (in Input) checkPresence(found *problems) {
	for _, r := range []struct{ field, value string }{
		{"metric", in.Metric}, {"operation", in.Operation}, {"role", in.Role},
	} {
		if r.value == "" && !found.has(r.field) {
			found.add(r.field, CodeMissingField, "field %q is required", r.field)
		}
	}
	if (in.Operation == Collect || in.Operation == Export) && in.Node == "" && !found.has("node") {
		found.add("node", CodeMissingField, `field "node" is required to collect and export`)
	}
}

func (in Input) checkNames(found *problems) {
	for _, n := range []struct{ field, value string }{
		{"metric", in.Metric},
		{"node", in.Node},
		{"role", in.Role},
		{"purpose", in.Purpose},
		{"operation", in.Operation},
		{"retention", in.Retention},
		{"time", in.Time},
	} {
		if msg := badName(n.value); msg != "" {
			found.add(n.field, CodeInvalidValue, "field %q %s", n.field, msg)
		}
	}
}

func (in Input) checkClaims(found *problems) {
	if len(in.Claims) > MaxClaims {
		found.add("claims", CodeInvalidValue, "more than %d claims", MaxClaims)
	}
	worst := ""
	for _, c := range in.Claims {
		worst = first(worst, badName(c))
	}
	if worst != "" {
		found.add("claims", CodeInvalidValue, "a claim %s", worst)
	}
}

func (in Input) checkLabels(found *problems) {
	if len(in.Labels) > MaxLabels {
		found.add("labels", CodeInvalidValue, "more than %d labels", MaxLabels)
	}
	worst := ""
	for name, value := range in.Labels {
		worst = first(worst, badName(name))
		if !utf8.ValidString(value) {
			worst = first(worst, "has a value that is not valid UTF-8")
		}
	}
	if worst != "" {
		found.add("labels", CodeInvalidValue, "a label %s", worst)
	}
}

// first returns the first by text of two messages, of which "" is none, so that
// the order of a map does not show.
func first(a, b string) string {
	if a == "" || (b != "" && b < a) {
		return b
	}
	return a
}

// badName says what is wrong with a name, "" when nothing is.
func badName(s string) string {
	switch {
	case len(s) > MaxNameBytes:
		return fmt.Sprintf("is longer than %d bytes", MaxNameBytes)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	default:
		return ""
	}
}

// clip bounds what a value adds to a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// validRetention accepts ^[1-9][0-9]{0,5}[smhdwy]$.
func validRetention(s string) bool {
	if len(s) < 2 || len(s) > 7 || s[0] == '0' || !strings.Contains("smhdwy", s[len(s)-1:]) {
		return false
	}
	return strings.Trim(s[:len(s)-1], "0123456789") == ""
}

// validTime accepts what Rego's time.parse_rfc3339_ns reads, after a bare date
// is completed to midnight UTC: nanoseconds since 1970 must fit 64 bits.
func validTime(s string) bool {
	if len(s) == len(time.DateOnly) {
		s += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339, s)
	return err == nil && !t.Before(time.Unix(0, math.MinInt64)) && !t.After(time.Unix(0, math.MaxInt64))
}
