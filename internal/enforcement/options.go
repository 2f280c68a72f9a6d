package enforcement

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Principal is that of entries of this package. Those of callers begin with the kind
// of their proof, so that nobody else has it.
const Principal = "charter:enforcement"

// Defaults of [Options].
const (
	DefaultQuiet = time.Hour
	DefaultSLA   = 72 * time.Hour
)

// Appender is the part of [ledger.Log] that is needed.
type Appender interface {
	AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error)
}

// History is the part of [ledger.Store] that is needed.
type History interface {
	Head(ctx context.Context) (size uint64, checkpoint []byte, err error)
	Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error]
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]
}

// Evidence keeps what people wrote and sent, outside of the ledger.
type Evidence interface {
	// Put keeps content and returns its salted hash. The error is an [*Error] when
	// there is no room.
	Put(ctx context.Context, content []byte, mediaType string) (ledger.EvidenceRef, error)
	// Get returns what has a hash.
	Get(ctx context.Context, hash string) (content []byte, mediaType string, err error)
	// Erase forgets content for good. What is not there is no error.
	Erase(ctx context.Context, hash string) error
}

// Observer is told how long things took. Its methods must not block.
type Observer interface {
	ReportLatency(time.Duration)     // from a report to its violation in the ledger, and from a denial to its own
	RevocationLatency(time.Duration) // from a request to the revocation in force
	StandingLatency(time.Duration)   // from a denial in the ledger to the new standing in force
}

// Options configure [New]. Log, History, Charter and Publish are required.
type Options struct {
	Log     Appender
	History History
	Charter func() *charter.Charter // the active one
	// Publish brings sections of data.charter_state in force and returns when the
	// next decision obeys them. It must not modify the document.
	Publish func(ctx context.Context, state map[string]any) error
	// Announce must neither block nor call the Enforcer; nil tells nobody. After a
	// crash, a notice may come a second time.
	Announce func(Notice)
	Observer Observer
	// Quiet is for how long after one denial the next belongs to the same incident; 0
	// is an hour.
	Quiet time.Duration
	// SLA is how long an investigation may take; 0 is three days.
	SLA time.Duration
	// Mark is a file that spares reading all denials at every start; "" reads them.
	Mark     string
	Evidence Evidence         // nil takes none: reports without a text are accepted
	Logger   *slog.Logger     // nil logs nothing
	Now      func() time.Time // the wall clock; nil is time.Now
}

func (o *Options) validate() error {
	if o.Log == nil || o.History == nil || o.Charter == nil || o.Publish == nil {
		return errors.New("enforcement needs a ledger, a charter and a way to bring state in force")
	}
	if o.Announce == nil {
		o.Announce = func(Notice) {}
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Quiet <= 0 {
		o.Quiet = DefaultQuiet
	}
	if o.SLA <= 0 {
		o.SLA = DefaultSLA
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

type nobody struct{}

func (nobody) ReportLatency(time.Duration)     {}
func (nobody) RevocationLatency(time.Duration) {}
func (nobody) StandingLatency(time.Duration)   {}
