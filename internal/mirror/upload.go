package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/witness"
)

// MaxUpload bounds an upload in bytes, as JSON.
const MaxUpload = ledger.MaxExtension + 4<<10

// MaxCosignature bounds a [Cosignature] in bytes, as JSON.
const MaxCosignature = 64 << 10

// ParseUpload reads an [Upload] from an untrusted source. Nothing in it is verified. It
// fails with an [*Error].
func ParseUpload(data []byte) (Upload, error) {
	var u Upload
	if err := parse(data, MaxUpload, &u); err != nil {
		return Upload{}, err
	}
	return u, nil
}

func parse(data []byte, limit int, into any) error {
	if len(data) > limit {
		return &Error{Code: CodeInvalidUpload, Err: fmt.Errorf("more than %d bytes", limit)}
	}
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return &Error{Code: CodeInvalidUpload, Err: err}
	}
	return nil
}

// Cosignature is a checkpoint of the server's ledger that a node has cosigned.
type Cosignature struct {
	Key        string `json:"key"` // of the node's witness, a verifier key (C2SP signed-note)
	Checkpoint string `json:"checkpoint"`
}

// ParseCosignature reads a [Cosignature] from an untrusted source. Nothing in it is
// verified. It fails with an [*Error].
func ParseCosignature(data []byte) (Cosignature, error) {
	var c Cosignature
	err := parse(data, MaxCosignature, &c)
	return c, err
}

// Cosigned takes what a node has cosigned: a checkpoint that this server has signed, of
// a size that its ledger has and with the hash that it has there. The first key of a
// witness that a node shows is its key from then on. It fails with an [*Error].
func (m *Mirrors) Cosigned(ctx context.Context, node string, c Cosignature) (Status, error) {
	bad := func(code string, format string, args ...any) (Status, error) {
		return Status{}, &Error{Code: code, Err: fmt.Errorf(format, args...)}
	}
	if m.Own == nil {
		return bad(CodeUnavailable, "this server keeps no ledger")
	}
	key, err := witness.ParseVerifier(c.Key)
	if err != nil {
		return bad(CodeInvalidKey, "key: %w", err)
	}
	keys := m.OwnKeys()
	keys.Witnesses, keys.IgnoreUnknown = []note.Verifier{key}, true
	shown, err := keys.OpenCheckpoint([]byte(c.Checkpoint))
	switch {
	case err != nil:
		return bad(CodeInvalidUpload, "checkpoint: %w", err)
	case len(shown.Witnesses) == 0:
		return bad(CodeInvalidUpload, "the key has not cosigned the checkpoint")
	}
	if err := m.Own.Continues(ctx, shown); errors.Is(err, ledger.ErrBehind) {
		// Its own key has signed two histories, or an old copy of the ledger runs.
		m.Log.Error("a node holds a checkpoint of this ledger that it does not continue", "node", node, "error", err.Error(), "checkpoint", c.Checkpoint)
		return bad(CodeForked, "%w", err)
	} else if err != nil {
		return bad(CodeUnavailable, "%w", err)
	}
	of, err := m.of(node)
	if err != nil {
		return Status{}, err
	}
	return of.cosigned(c, shown.Size)
}

func (c *copied) cosigned(given Cosignature, size uint64) (Status, error) {
	c.busy.Lock()
	defer c.busy.Unlock()
	before := c.seen()
	if before.Pinned.IsZero() {
		return Status{}, &Error{Code: CodeKeyMismatch, Err: errors.New("the node has not shown its own ledger yet")}
	}
	if before.Witness != "" && before.Witness != given.Key {
		return Status{}, &Error{Code: CodeKeyMismatch, Err: fmt.Errorf("node %s cosigns with %s; another key needs a person who removes its copy", before.Node, before.Witness)}
	}
	next := before
	next.Witness, next.Cosigned = given.Key, max(before.Cosigned, size)
	if err := c.save(before, next); err != nil {
		return Status{}, err
	}
	return next, nil
}
