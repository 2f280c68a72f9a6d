package tracing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// reportEvery is the least interval between two lines about failures.
const reportEvery = time.Minute

// reporting is an exporter that logs its failures instead of handing them to the
// global handler of OpenTelemetry.
type reporting struct {
	sdktrace.SpanExporter

	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	lost     int       // spans since the last line; guarded by mu
	reported time.Time // of the last line; guarded by mu
}

// ExportSpans sends spans. It returns no error: what cannot be sent after the
// retries of the exporter is lost.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := r.SpanExporter.ExportSpans(ctx, spans); err != nil {
		r.report(len(spans), err)
	}
	return nil
}

func (r *reporting) report(lost int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost += lost
	now := r.now()
	if !r.reported.IsZero() && now.Sub(r.reported) < reportEvery {
		return
	}
	r.log.Warn("spans could not be sent; decisions are not affected", "lost", r.lost, "error", err.Error())
	r.lost, r.reported = 0, now
}
