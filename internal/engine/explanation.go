package engine

import (
	"fmt"
	"io"
	"slices"

	"github.com/open-policy-agent/opa/v1/server/types"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
)

// Explanation is the trace of an [AdHoc] query. It belongs to the caller.
type Explanation struct {
	events []*topdown.Event
	pretty bool
}

// WriteJSON writes the trace as JSON in OPA's form: an array of events, or of
// lines of text when the query asked for them. Events are encoded piece by
// piece: their nodes and variables, whole tables among them, can take a thousand
// times more room as JSON than in memory.
func (e *Explanation) WriteJSON(w io.Writer) error {
	if e.pretty {
		text, err := types.NewTraceV1(e.events, true)
		if err != nil {
			return fmt.Errorf("encode explanation: %w", err)
		}
		_, err = w.Write(text)
		return err
	}
	const piece = 16
	separator := "["
	for part := range slices.Chunk(e.events, piece) {
		text, err := types.NewTraceV1(part, false)
		if err != nil {
			return fmt.Errorf("encode explanation: %w", err)
		}
		if _, err := io.WriteString(w, separator); err != nil {
			return err
		}
		if _, err := w.Write(text[1 : len(text)-1]); err != nil { // without its brackets
			return err
		}
		separator = ","
	}
	if len(e.events) == 0 {
		_, err := io.WriteString(w, "[]")
		return err
	}
	_, err := io.WriteString(w, "]")
	return err
}

// events records a trace up to a limit.
type events struct {
	topdown.BufferTracer
	stop func()
}

// TraceEvent records an event.
func (e *events) TraceEvent(event topdown.Event) {
	if len(e.BufferTracer) >= MaxEvents {
		e.stop()
		return
	}
	e.BufferTracer.TraceEvent(event)
}

// Enabled says that there is somebody to trace for.
func (e *events) Enabled() bool { return true }

// filtered returns the events that a mode asks for, as OPA selects them.
func (e *events) filtered(mode string) []*topdown.Event {
	all := []*topdown.Event(e.BufferTracer)
	switch types.ExplainModeV1(mode) {
	case types.ExplainNotesV1:
		return lineage.Notes(all)
	case types.ExplainFailsV1:
		return lineage.Fails(all)
	case types.ExplainFullV1:
		return lineage.Full(all)
	default:
		return all
	}
}
