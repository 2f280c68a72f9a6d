package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// failing is an exporter without a collector.
type failing struct{ sdktrace.SpanExporter }

func (failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("connection refused")
}

// A collector that is gone for a day must not fill the log, and no loss goes
// untold.
func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	r := &reporting{SpanExporter: failing{}, log: slog.New(slog.NewJSONHandler(&log, nil)), now: func() time.Time { return now }}
	for range 121 { // two minutes
		if err := r.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 10)); err != nil {
			t.Fatal("a failure goes to the global handler of OpenTelemetry")
		}
		now = now.Add(time.Second)
	}
	lost, lines := 0, 0
	for line := range strings.Lines(log.String()) {
		var entry struct {
			Lost  int
			Error string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Error != "connection refused" {
			t.Errorf("%s: %v", line, err)
		}
		lost += entry.Lost
		lines++
	}
	if lines != 3 || lost != 1210 {
		t.Errorf("%d lines about %d spans, want 3 about 1210", lines, lost)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, o := range []Options{{}, {Endpoint: "http://c"}, {Endpoint: "http://c", Log: log, Ratio: 1.5}, {Endpoint: "http://c", Log: log, Ratio: -1}} {
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
