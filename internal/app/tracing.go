package app

import (
	"context"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/westworld-charter/charter/internal/tracing"
)

// tracesPath is where a collector takes spans over OTLP/HTTP.
const tracesPath = "/v1/traces"

// flushTimeout bounds how long the process waits for the collector when it ends.
const flushTimeout = 5 * time.Second

// TracingOptions say where spans go.
type TracingOptions struct {
	Endpoint string  // URL of an OTLP/HTTP receiver, /v1/traces unless it has a path; "" sends none
	Ratio    float64 // of the requests without a parent that are recorded, 0 to 1
}

func (o TracingOptions) validate(fault func(string, ...any)) {
	if o.Endpoint == "" {
		return
	}
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		fault("--otlp-endpoint %q is not a URL such as http://127.0.0.1:4318", redacted(u, o.Endpoint))
	case u.User != nil:
		fault("--otlp-endpoint %s holds a password, which /v1/config would show; put it into the environment variable OTEL_EXPORTER_OTLP_HEADERS", u.Redacted())
	}
}

func redacted(u *url.URL, text string) string {
	if u == nil {
		return text
	}
	return u.Redacted()
}

// url is the endpoint with its path.
func (o TracingOptions) url() string {
	if u, err := url.Parse(o.Endpoint); err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = tracesPath
		return u.String()
	}
	return o.Endpoint
}

// standardEnvironment are the settings that OpenTelemetry has variables of its
// own for. All other sources win over them.
func standardEnvironment(getenv func(string) string) layer {
	const traces, all = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
	if v := getenv(traces); v != "" {
		return layer{"otlp-endpoint": {v, traces}}
	}
	if v := getenv(all); v != "" {
		return layer{"otlp-endpoint": {strings.TrimSuffix(v, "/") + tracesPath, all}}
	}
	return nil
}

// startTracing does nothing without an endpoint.
func (s *Server) startTracing(ctx context.Context) error {
	o := s.options.Tracing
	if o.Endpoint == "" {
		return nil
	}
	var err error
	s.tracing, err = tracing.New(ctx, tracing.Options{
		Endpoint: o.url(), Ratio: o.Ratio, Service: s.program.name, Version: build().Version, Log: s.log,
	})
	return err
}

// tracer is nil without an endpoint.
func (s *Server) tracer() trace.Tracer {
	if s.tracing == nil {
		return nil // not a nil pointer in an interface
	}
	return s.tracing.Tracer()
}

// stopTracing sends the last spans, also when ctx has ended.
func (s *Server) stopTracing(ctx context.Context) {
	if s.tracing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := s.tracing.Shutdown(ctx); err != nil {
		s.log.Warn("the last spans could not be sent", "error", err.Error())
	}
}

// loadTraced loads a part within a span.
func (s *Server) loadTraced(ctx context.Context, p *part, why string, from stamps) error {
	if s.tracing == nil {
		return p.load(ctx, from)
	}
	ctx, span := s.tracing.Tracer().Start(ctx, "reload "+p.name, trace.WithAttributes(attribute.String("charter.trigger", why)))
	defer span.End()
	err := p.load(ctx, from)
	if err != nil {
		code := codeOf(err)
		span.SetAttributes(attribute.String("error.type", code))
		span.SetStatus(codes.Error, code) // the log says more, about paths and contents, too
	}
	span.SetAttributes(attribute.String("charter.revision", revisionOf(s.engine.Current())))
	return err
}
