package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/witness"
)

// MaxUpload bounds an upload in bytes, as JSON.
const MaxUpload = ledger.MaxExtension + 4<<10

// MaxExtensions is how many extensions one upload may have. Together they have as many
// entries as a single one may.
const MaxExtensions = 256

// batchBytes is what a node puts into an upload of several, in bytes of entries and
// checkpoints: with more a round trip is not what costs time.
const batchBytes = 2 << 20

// Following are the extensions after the first of an upload.
type Following []ledger.Extension

// UnmarshalJSONFrom stops at the first extension or entry that is too many.
func (f *Following) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*f = nil
	if token, err := d.ReadToken(); err != nil {
		return err
	} else if token.Kind() != '[' {
		return errors.New("more is no list")
	}
	for entries := 0; d.PeekKind() != ']'; {
		if len(*f) == MaxExtensions-1 {
			return fmt.Errorf("%w: more than %d extensions", ledger.ErrTooLarge, MaxExtensions)
		}
		var x ledger.Extension
		if err := json.UnmarshalDecode(d, &x); err != nil {
			return err
		}
		if entries += len(x.Entries); entries > ledger.MaxExtensionEntries {
			return fmt.Errorf("%w: more than %d entries", ledger.ErrTooLarge, ledger.MaxExtensionEntries)
		}
		*f = append(*f, x)
	}
	_, err := d.ReadToken()
	return err
}

// check refuses extensions that do not follow each other.
func (u *Upload) check() error {
	entries, next := len(u.Extension.Entries), u.Extension.From+uint64(len(u.Extension.Entries))
	for i, x := range u.More {
		switch entries += len(x.Entries); {
		case len(u.Extension.Entries) == 0 || len(x.Entries) == 0:
			return fmt.Errorf("more.%d: one of several extensions has no entries", i)
		case x.From != next:
			return fmt.Errorf("more.%d: it begins at entry %d, and the one before ends at %d", i, x.From, next)
		case entries > ledger.MaxExtensionEntries:
			return fmt.Errorf("%w: more than %d entries", ledger.ErrTooLarge, ledger.MaxExtensionEntries)
		}
		next += uint64(len(x.Entries))
	}
	return nil
}

// MaxCosignature bounds a [Cosignature] in bytes, as JSON.
const MaxCosignature = 64 << 10

// ParseUpload reads an [Upload] from an untrusted source. Nothing in it is verified. It
// fails with an [*Error].
func ParseUpload(data []byte) (Upload, error) {
	var u Upload
	if err := parse(data, MaxUpload, &u); err != nil {
		return Upload{}, err
	}
	if err := u.check(); err != nil {
		return Upload{}, &Error{Code: CodeInvalidUpload, Err: err}
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
