package charterapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/wire"
)

// page reads which time and which page of a list is wanted: f then selects one more
// than limit, so that it shows whether there is another.
func page(q url.Values, f *enforcement.Filter) (limit int, err error) {
	if f.Since, err = wire.Time(q, "since"); err != nil {
		return 0, err
	}
	if f.Until, err = wire.Time(q, "until"); err != nil {
		return 0, err
	}
	if f.Before, err = wire.Before(q); err != nil {
		return 0, err
	}
	limit, err = wire.Limit(q, defaultPage, maxPage)
	f.Limit = limit + 1
	return limit, err
}

// follow names the page after the one that ends with an entry.
func follow(w http.ResponseWriter, path string, q url.Values, end uint64) string {
	return wire.Next(w, path, q, "before", strconv.FormatUint(end, 10))
}

// one is the part of a path between a prefix and a suffix, for requests without
// parameters.
func one(r *http.Request, prefix, suffix string) (string, error) {
	if _, err := wire.Parameters(r); err != nil {
		return "", err
	}
	return wire.Segment(r, prefix, suffix)
}

// unknown is the 404 of something that has an id.
func unknown(code enforcement.Code, format string, args ...any) *wire.Error {
	return &wire.Error{Status: http.StatusNotFound, Code: string(code), Message: fmt.Sprintf(format, args...)}
}
