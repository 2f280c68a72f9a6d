package ledgerapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Keys are the keys of a ledger. Errors wrap [keyring.ErrFile], [ledger.ErrKey], or
// are those of [ledger.Log.Append].
type Keys interface {
	// Public is the list of public keys, as [keyring.ParsePublic] reads it.
	Public() []byte
	// Rotate and Retire change which keys sign, in the name of a principal.
	Rotate(ctx context.Context, principal string) (keyring.Change, error)
	Retire(ctx context.Context, principal string) (keyring.Change, error)
}

// keys is the list of public keys. Whoever takes keys from here believes the
// server: what it shows is consistent with itself, and no more is proven.
func (a *api) keys(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	text := a.Keys.Public()
	if len(text) == 0 {
		return wire.Missing("the ledger has no entries yet, and no published key")
	}
	wire.Send(w, http.StatusOK, wire.TypeText, wire.NoCache, text)
	return nil
}

// change changes which keys sign. A body says nothing and is not read.
func (a *api) change(do func(ctx context.Context, principal string) (keyring.Change, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := wire.Parameters(r); err != nil {
			return err
		}
		c, err := do(r.Context(), audit.CallerOf(r.Context()).Principal)
		if err != nil {
			return unchanged(err)
		}
		return wire.SendJSON(w, http.StatusOK, c)
	}
}

// unchanged is the answer when keys could not be changed, or not to the end.
func unchanged(err error) error {
	switch {
	case errors.Is(err, keyring.ErrFile):
		return &wire.Error{
			Status: http.StatusInternalServerError, Code: codeKeyNotSaved, Cause: err,
			Message: "a file of a key could not be written, and no key is lost; the log says which. Mend it and ask again: what was begun is completed",
		}
	case errors.Is(err, ledger.ErrKey):
		return &wire.Error{
			Status: http.StatusConflict, Code: codeKeyRefused, Cause: err,
			Message: "the key in " + keyring.NextFile + " has signed this ledger before, or is of another one: move it away and ask again",
		}
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrMalformed):
		return err
	}
	return &wire.Error{
		Status: http.StatusServiceUnavailable, Code: wire.CodeAuditUnavailable, Cause: err,
		Message: "the ledger cannot be written, so its keys cannot be changed; ask again: what was begun is completed",
	}
}
