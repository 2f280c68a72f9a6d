package decisionapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/decision"
)

// Names of the headers of W3C Trace Context.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// parentOf returns what the headers of a request say it is part of: nothing when
// they are absent or malformed, and then a trace of its own begins.
func parentOf(h http.Header) trace.SpanContext {
	parents := h[traceparent]
	if len(parents) != 1 {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{
		"traceparent": parents[0], "tracestate": strings.Join(h[tracestate], ","),
	})
	return trace.SpanContextFromContext(ctx)
}

// begin begins the span of a request, nil without a tracer and for probes and
// scrapes, and tells the record which trace it is part of. Neither the path as it was sent nor the query is
// among the attributes: both can hold what the charter protects.
func (a *api) begin(c echo.Context, rec *record, route string) trace.Span {
	r := c.Request()
	parent := parentOf(r.Header)
	if a.Tracer == nil || route == "/health" || route == "/metrics" {
		rec.trace = parent
		return nil
	}
	method, name := r.Method, r.Method
	if !standard(method) {
		method, name = "_OTHER", "HTTP"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", method), attribute.String("url.scheme", scheme),
	}
	if route != unmatched {
		name += " " + route
		attributes = append(attributes, attribute.String("http.route", route))
		if !strings.HasSuffix(route, "*") { // then the path is the route
			attributes = append(attributes, attribute.String("url.path", route))
		}
	}
	ctx := trace.ContextWithRemoteSpanContext(r.Context(), parent)
	ctx, span := a.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	rec.trace, rec.spanned = span.SpanContext(), true
	c.SetRequest(r.WithContext(ctx))
	return span
}

// standard reports whether a method is one of RFC 9110 and RFC 5789.
func standard(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodConnect, http.MethodOptions,
		http.MethodTrace, http.MethodPatch:
		return true
	default:
		return false
	}
}

// finish ends the span of a request.
func finish(span trace.Span, rec *record, status int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		fault := strconv.Itoa(status)
		if rec.failure != nil {
			fault = rec.failure.Code
		}
		span.SetAttributes(attribute.String("error.type", fault))
		span.SetStatus(codes.Error, fault)
	}
	if t := rec.tally; t != nil {
		span.SetAttributes(attribute.Int("charter.items", t.items), attribute.Int("charter.allowed", t.allowed))
	}
	span.End()
}

// decideTraced asks the Decider within a span of its own.
func (a *api) decideTraced(ctx context.Context, in decision.Input) (decision.Decision, error) {
	if a.Tracer == nil {
		return a.Decider.Decide(ctx, in)
	}
	ctx, span := a.Tracer.Start(ctx, "decide")
	defer span.End()
	d, err := a.Decider.Decide(ctx, in)
	if !span.IsRecording() {
		return d, err
	}
	span.SetAttributes(attribute.String("charter.outcome", d.Outcome), attribute.String("charter.clause", d.Clause),
		attribute.String("charter.revision", d.Revision), attribute.Bool("charter.allow", d.Allow))
	if err != nil {
		span.SetStatus(codes.Error, "undetermined") // the error is in the log; it can repeat the question
	}
	return d, err
}

// decideBatchTraced asks for many decisions within one span.
func (a *api) decideBatchTraced(ctx context.Context, decider Decider, in []decision.Input) ([]answer, error) {
	if a.Tracer == nil {
		return ask(ctx, decider, in)
	}
	ctx, span := a.Tracer.Start(ctx, "decide batch", trace.WithAttributes(attribute.Int("charter.items", len(in))))
	defer span.End()
	answers, err := ask(ctx, decider, in)
	if err != nil {
		span.SetStatus(codes.Error, "undetermined")
	} else if len(answers) > 0 {
		span.SetAttributes(attribute.String("charter.revision", answers[0].decision.Revision))
	}
	return answers, err
}
