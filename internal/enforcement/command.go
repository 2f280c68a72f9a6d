package enforcement

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// command appends what decide returns for the state of that moment, and returns when
// it is folded and in force. The error is an [*Error]; with the code replayed, what
// was appended had been before.
func (e *Enforcer) command(ctx context.Context, level ledger.Level, decide func(s *state, now time.Time) (ledger.Entry, error)) error {
	if err := e.take(ctx); err != nil {
		return unavailable("there is too much to do; try again later", err)
	}
	defer e.give()
	const down = "the ledger cannot be used now; try again later"
	if err := e.catchUp(ctx, math.MaxUint64); err != nil {
		return unavailable(down, err)
	}
	e.mu.Lock()
	entry, err := decide(e.state, e.clock())
	e.mu.Unlock()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	positions, err := e.Log.AppendAll(limited, []ledger.Entry{entry}, level)
	switch {
	case errors.Is(err, ledger.ErrConflict) || len(positions) == 1 && positions[0].Duplicate:
		return refuse(Replayed, "a request with this id or nonce was made before, and has no effect again")
	case err != nil && !errors.Is(err, ledger.ErrNoQuorum):
		return unavailable(down, err)
	}
	if err := e.round(ctx); err != nil {
		e.failed(err)
		return unavailable("it is in the ledger, and in force as soon as that is possible", err)
	}
	return nil
}

// clock is the wall clock, which is not before what was recorded. It needs mu.
func (e *Enforcer) clock() time.Time {
	if now := e.Now().Round(0); now.After(e.state.at) {
		return now
	}
	return e.state.at
}

// entryOf is an entry of this package under an id.
func entryOf(kind ledger.Kind, node, id string, data any) (ledger.Entry, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return ledger.Entry{}, unavailable("the entry cannot be written", err)
	}
	return ledger.Entry{Kind: kind, Node: node, Principal: Principal, RequestID: id, Data: text}, nil
}

// digest is a short name of texts, the same for the same texts.
func digest(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		sum := sha256.Sum256([]byte(text))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}
