// Package tracing sends spans of this process to an OpenTelemetry collector over
// OTLP/HTTP.
//
// Start with [New]; [Provider.Tracer] makes the spans, and [Provider.Shutdown]
// sends what is left. Guaranteed are: spans wait in a bounded queue and are
// dropped when it is full, so a collector that is slow or gone never slows or
// fails what is traced, and is in the log at most once a minute; nothing global is
// set. The names and attributes of spans are those of their makers.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names the makers of spans, as OpenTelemetry wants it.
const scope = "github.com/westworld-charter/charter"

// Options configure [New].
type Options struct {
	// Endpoint is the URL that takes spans, such as
	// "http://127.0.0.1:4318/v1/traces". Headers, certificates, timeout and
	// compression come from the standard variables OTEL_EXPORTER_OTLP_*.
	Endpoint string
	// Ratio of the requests without a parent that are recorded, 0 to 1. Others
	// are recorded when their parent is.
	Ratio            float64
	Service, Version string       // of this program
	Log              *slog.Logger // told about spans that could not be sent
}

// Provider makes tracers. Its methods are safe for concurrent use.
type Provider struct{ sdk *sdktrace.TracerProvider }

// New starts a provider. Nothing is sent before the first span has ended, and a
// collector that cannot be reached is no error.
func New(ctx context.Context, o Options) (*Provider, error) {
	if o.Endpoint == "" || o.Log == nil || o.Ratio < 0 || o.Ratio > 1 {
		return nil, errors.New("tracing: Endpoint, Log and a Ratio from 0 to 1 are required")
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("start OTLP exporter: %w", err)
	}
	// What the environment says about the service wins.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	return &Provider{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reporting{SpanExporter: exporter, log: o.Log, now: time.Now}),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithResource(about),
	)}, nil
}

// Tracer makes spans.
func (p *Provider) Tracer() trace.Tracer { return p.sdk.Tracer(scope) }

// Shutdown sends the spans that have ended, until ctx ends. Spans that end later
// are lost.
func (p *Provider) Shutdown(ctx context.Context) error { return p.sdk.Shutdown(ctx) }
