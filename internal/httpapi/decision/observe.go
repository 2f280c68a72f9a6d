package decisionapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// requestIDHeader carries the id of a request in both directions.
const requestIDHeader = "X-Request-Id"

const recordKey = "decisionapi.record"

// record gathers what the access log says about one request. Only the goroutine
// that serves the request touches it.
type record struct {
	id      string
	input   decision.Input
	decided *decision.Decision
	tally   *tally // of the questions of a batch; nil otherwise
	failure *wire.Error
	// trace is what the request is part of, invalid if of none; spanned says that
	// its span in it is ours.
	trace   trace.SpanContext
	spanned bool
}

// tally counts what became of the questions of one request.
type tally struct{ items, allowed, refused, failed int }

func (t *tally) add(i *item) {
	t.items++
	switch {
	case i.refused():
		t.refused++
	case i.fault != nil:
		t.failed++
	case i.decision.Allow:
		t.allowed++
	}
}

// count tells the log about a batch.
func (rec *record) count(items []item) {
	rec.tally = &tally{}
	for i := range items {
		rec.tally.add(&items[i])
	}
}

// recordOf returns the record of a request; nil outside observe.
func recordOf(c echo.Context) *record {
	rec, _ := c.Get(recordKey).(*record)
	return rec
}

// observe names, times, counts and logs every request, also one that no route
// matches.
func (a *api) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := a.Now()
		rec := &record{id: requestID(c.Request().Header.Get(requestIDHeader))}
		c.Set(recordKey, rec)
		h := c.Response().Header()
		h.Set(requestIDHeader, rec.id)
		h.Set("X-Content-Type-Options", "nosniff")
		route := a.route(c)
		span := a.begin(c, rec, route)
		if err := next(c); err != nil {
			a.fail(err, c)
		}
		if span != nil {
			finish(span, rec, c.Response().Status)
		}
		took := a.Now().Sub(start)
		a.Observer.Served(c.Request().Context(), route, c.Request().Method, c.Response().Status, took)
		a.access(c, rec, route, took)
		return nil
	}
}

// unmatched is the route of requests that match none.
const unmatched = "unmatched"

// route is the pattern that matched, which callers cannot choose freely.
func (a *api) route(c echo.Context) string {
	if p := c.Path(); a.routes[p] {
		return p
	}
	return unmatched
}

// requestID takes over a caller's id when it is short and plain, and makes one
// otherwise.
func requestID(given string) string {
	if !plain(given) {
		return rand.Text()
	}
	return given
}

// maxID bounds the ids that callers give in bytes.
const maxID = 128

// plain reports whether an id of a caller is short and can stand anywhere.
func plain(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, b := range []byte(id) {
		alphanumeric := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if !alphanumeric && b != '-' && b != '_' && b != '.' && b != ':' && b != '/' && b != '+' && b != '=' {
			return false
		}
	}
	return true
}

// access writes one line about the request. Neither the query nor the labels
// are in it: both can hold what the charter protects.
func (a *api) access(c echo.Context, rec *record, route string, took time.Duration) {
	level := levelOf(route, c.Response().Status)
	ctx := c.Request().Context()
	if !a.Log.Enabled(ctx, level) {
		return
	}
	r := c.Request()
	attrs := []slog.Attr{
		slog.String("request_id", rec.id),
		slog.String("method", wire.Echo(r.Method)),
		slog.String("route", route),
		slog.Int("status", c.Response().Status),
		slog.Int64("bytes", c.Response().Size),
		slog.Float64("seconds", took.Seconds()),
	}
	var who []slog.Attr
	if !a.unlogged[r.Method+" "+route] {
		attrs = append(attrs, slog.String("remote", r.RemoteAddr))
		who = identityOf(c).attrs()
	}
	if rec.trace.IsValid() {
		attrs = append(attrs, slog.String("trace_id", rec.trace.TraceID().String()))
	}
	if rec.spanned {
		attrs = append(attrs, slog.String("span_id", rec.trace.SpanID().String()))
	}
	if route == unmatched {
		attrs = append(attrs, slog.String("path", wire.Echo(r.URL.Path)))
	}
	a.Log.LogAttrs(ctx, level, "request", append(append(attrs, who...), rec.attrs()...)...)
}

func levelOf(route string, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError && route != "/health":
		return slog.LevelError
	case route == "/health", route == "/metrics":
		return slog.LevelDebug // probes and scrapes would drown everything else
	default:
		return slog.LevelInfo
	}
}

func (rec *record) attrs() []slog.Attr {
	var attrs []slog.Attr
	if in := rec.input; in.Metric != "" {
		attrs = append(attrs, slog.String("metric", in.Metric), slog.String("operation", in.Operation),
			slog.String("role", in.Role), slog.String("node", in.Node))
	}
	if d := rec.decided; d != nil {
		attrs = append(attrs, slog.String("outcome", d.Outcome), slog.String("clause", d.Clause))
		if d.DecisionID != "" {
			attrs = append(attrs, slog.String("decision_id", d.DecisionID), slog.String("revision", d.Revision))
		}
	}
	if t := rec.tally; t != nil {
		attrs = append(attrs, slog.Int("items", t.items), slog.Int("allowed", t.allowed), slog.Int("refused", t.refused), slog.Int("failed", t.failed))
	}
	if e := rec.failure; e != nil {
		// The message of a refused question can repeat what the caller wrote.
		attrs = append(attrs, slog.String("code", e.Code))
		if e.Cause != nil {
			attrs = append(attrs, slog.String("error", e.Cause.Error()))
		}
	}
	return attrs
}

// recover turns a panic into a 500, so that one bad request does not end the
// others. An answer that has begun is cut off instead: a torn one would look
// complete.
func (a *api) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if cause, ok := p.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
				panic(p)
			}
			a.Log.LogAttrs(context.WithoutCancel(c.Request().Context()), slog.LevelError, "panic",
				slog.String("request_id", recordOf(c).id), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			if c.Response().Committed {
				panic(http.ErrAbortHandler)
			}
			err = internal(fmt.Errorf("panic: %v", p))
		}()
		return next(c)
	}
}
