package charterapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/enforcement"
)

// page reads which time and which page of a list is wanted: f then selects one more
// than limit, so that it shows whether there is another.
func page(q url.Values, f *enforcement.Filter) (limit int, err error) {
	if f.Since, err = moment(q, "since"); err != nil {
		return 0, err
	}
	if f.Until, err = moment(q, "until"); err != nil {
		return 0, err
	}
	n, err := number(q, "limit", defaultPage)
	if err != nil {
		return 0, err
	}
	if n < 1 || n > maxPage {
		return 0, wrong(codeInvalidValue, "limit", "limit is not between 1 and %d: %d", maxPage, n)
	}
	if f.Before, err = number(q, "before", 0); err != nil {
		return 0, err
	}
	if q.Get("before") == "0" {
		return 0, wrong(codeInvalidValue, "before", "there is nothing before entry 0")
	}
	f.Limit = int(n) + 1
	return int(n), nil
}

// follow names the page after the one that ends with an entry.
func follow(w http.ResponseWriter, path string, q url.Values, end uint64) string {
	after := url.Values{}
	for name, values := range q {
		after[name] = values
	}
	after.Set("before", strconv.FormatUint(end, 10))
	next := path + "?" + after.Encode()
	w.Header().Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next))
	return next
}

// segments are the parts of the path of a request after a prefix, unescaped.
func segments(r *http.Request, prefix string) ([]string, error) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix+"/")
	if !ok {
		return nil, missing("there is nothing at this path")
	}
	parts := strings.Split(rest, "/")
	for i, p := range parts {
		text, err := url.PathUnescape(p)
		if err != nil || text == "" {
			return nil, missing("there is nothing at this path")
		}
		parts[i] = text
	}
	return parts, nil
}

// one is the single part of a path after a prefix, for requests without parameters.
func one(r *http.Request, prefix string) (string, error) {
	if _, err := parameters(r); err != nil {
		return "", err
	}
	return first(r, prefix)
}

// first is the first part of a path after a prefix.
func first(r *http.Request, prefix string) (string, error) {
	parts, err := segments(r, prefix)
	if err != nil {
		return "", err
	}
	return parts[0], nil
}

// unknown is the 404 of something that has an id.
func unknown(code enforcement.Code, format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: string(code), Message: fmt.Sprintf(format, args...)}
}
