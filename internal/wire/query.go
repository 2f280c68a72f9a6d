package wire

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parameters returns those of the query; one that is not known is refused, since a
// filter that is passed over selects too much, and so is one that is given twice.
func Parameters(r *http.Request, known ...string) (url.Values, error) { return Lists(r, nil, known...) }

// Lists is [Parameters] with some, beside those known, that may be repeated.
func Lists(r *http.Request, lists []string, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Wrong(CodeInvalidValue, "", "the query is malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case slices.Contains(lists, name):
		case !slices.Contains(known, name):
			hint := "there are none here"
			if all := slices.Concat(lists, known); len(all) > 0 {
				hint = strings.Join(all, ", ") + " are known"
			}
			return nil, Wrong(CodeUnknownField, Echo(name), "unknown parameter %q; %s", Echo(name), hint)
		case len(q[name]) > 1:
			return nil, Wrong(CodeInvalidValue, name, "%s is given twice", name)
		}
	}
	return q, nil
}

// OneOf reads a parameter of a closed list; absent is "".
func OneOf(q url.Values, name string, known ...string) (string, error) {
	v := q.Get(name)
	if v != "" && !slices.Contains(known, v) {
		return "", Wrong(CodeInvalidValue, name, "%s %q is not one of %s", name, Echo(v), strings.Join(known, ", "))
	}
	return v, nil
}

// Number reads a parameter, or part of a path; the value of an absent one is otherwise.
func Number(name, text string, otherwise uint64) (uint64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, Wrong(CodeInvalidValue, name, "%s is not a whole number: %q", name, Echo(text))
	}
	return n, nil
}

// Limit reads the parameter limit, how many items are wanted at most: from 1 to most.
func Limit(q url.Values, otherwise, most int) (int, error) {
	n, err := Number("limit", q.Get("limit"), uint64(otherwise))
	if err != nil || n < 1 || n > uint64(most) {
		return 0, Wrong(CodeInvalidValue, "limit", "limit is not between 1 and %d: %q", most, Echo(q.Get("limit")))
	}
	return int(n), nil
}

// Before reads the parameter before, the index of an entry that items lie before; 0
// when it is absent.
func Before(q url.Values) (uint64, error) {
	n, err := Number("before", q.Get("before"), 0)
	if err == nil && n == 0 && q.Get("before") != "" {
		err = Wrong(CodeInvalidValue, "before", "there is nothing before entry 0")
	}
	return n, err
}

// Time reads a parameter that is a time; the zero time when it is absent, and for none
// else. What cannot be counted in nanoseconds since 1970, which is how entries of the
// ledger have their times, is brought to the nearest time that can.
func Time(q url.Values, name string) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, Wrong(CodeInvalidValue, name, "%s is not a time such as 2026-06-01T12:00:00Z: %q", name, Echo(text))
	}
	if first, last := time.Unix(0, 1), time.Unix(0, math.MaxInt64); t.Before(first) {
		t = first
	} else if t.After(last) {
		t = last
	}
	return t, nil
}

// Next names the page after the one that ends at a value of a parameter, and puts it
// into the header Link (RFC 8288), too.
func Next(w http.ResponseWriter, path string, q url.Values, name, value string) string {
	after := maps.Clone(q)
	after.Set(name, value)
	next := path + "?" + after.Encode()
	w.Header().Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next))
	return next
}

// Segment is the one part of the path of a request between a prefix and a suffix such as
// /restore, unescaped. Routers let a parameter at the end of a path match more than one.
func Segment(r *http.Request, prefix, suffix string) (string, error) {
	rest, begins := strings.CutPrefix(r.URL.EscapedPath(), prefix+"/")
	part, ends := strings.CutSuffix(rest, suffix)
	text, err := url.PathUnescape(part)
	if !begins || !ends || err != nil || text == "" || strings.Contains(part, "/") {
		return "", Missing("there is nothing at this path")
	}
	return text, nil
}
