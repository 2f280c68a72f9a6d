package ledgerapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
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
	if _, err := parameters(r); err != nil {
		return err
	}
	text := a.Keys.Public()
	if len(text) == 0 {
		return missing("the ledger has no entries yet, and no published key")
	}
	send(w, typeText, cacheNot, text)
	return nil
}

// change changes which keys sign. A body says nothing and is not read.
func (a *api) change(do func(ctx context.Context, principal string) (keyring.Change, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := parameters(r); err != nil {
			return err
		}
		c, err := do(r.Context(), audit.CallerOf(r.Context()).Principal)
		if err != nil {
			return a.unchanged(err)
		}
		return sendJSON(w, c)
	}
}

// unchanged is the answer when keys could not be changed, or not to the end.
func (a *api) unchanged(err error) error {
	a.Log.Error("keys of the ledger", "error", err)
	switch {
	case errors.Is(err, keyring.ErrFile):
		return &fault{
			status: http.StatusInternalServerError, Code: codeKeyNotSaved,
			Message: "a file of a key could not be written, and no key is lost; the log says which. Mend it and ask again: what was begun is completed",
		}
	case errors.Is(err, ledger.ErrKey):
		return &fault{
			status: http.StatusConflict, Code: codeKeyRefused,
			Message: "the key in " + keyring.NextFile + " has signed this ledger before, or is of another one: move it away and ask again",
		}
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrMalformed):
		return err
	}
	return &fault{
		status: http.StatusServiceUnavailable, Code: codeAuditUnavailable,
		Message: "the ledger cannot be written, so its keys cannot be changed; ask again: what was begun is completed",
	}
}
