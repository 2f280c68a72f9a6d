package ledgerapi

import (
	"errors"
	"net/http"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of errors, beside those of package wire; docs/api.md lists them all.
const (
	codePruned      = "entry_pruned"
	codeDamaged     = "ledger_damaged"
	codeKeyNotSaved = "key_not_saved"
	codeKeyRefused  = "key_refused"
)

// How long answers may be kept that never change: what tiles hold, and bundles, which
// are for those alone who may ask for them.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cachePrivate = "private, max-age=31536000, immutable"
)

const typeNDJSON = "application/x-ndjson"

// refusal maps errors of the ledger to answers.
func refusal(err error) *wire.Error {
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return wire.Missing("%s", err)
	case errors.Is(err, ledger.ErrDamaged):
		return &wire.Error{Status: http.StatusInternalServerError, Code: codeDamaged, Message: "the ledger is damaged; charter-admin audit verify says where", Cause: err}
	default:
		return nil
	}
}
