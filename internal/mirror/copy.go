package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// copied is the copy of one node's ledger.
type copied struct {
	owner *Mirrors

	busy   sync.Mutex // held while the copy is changed
	store  ledger.Store
	mirror *ledger.Mirror // nil while the files are closed

	mu     sync.Mutex
	status Status // guarded by mu; changed by who holds busy
}

func (c *copied) seen() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Upload is what a node sends: the public key of its ledger, and what that has more
// than the copy.
type Upload struct {
	Key       string           `json:"key"`
	Extension ledger.Extension `json:"extension"`
	// More are extensions that follow, each on the one before. A server that does not
	// know them refuses the upload as a whole, so they are sent to one alone that has said
	// that it does: see [Status.Takes].
	More Following `json:"more,omitempty"`
}

// Extend appends to the copy of a node's ledger. The caller has made sure that it is
// that node who sends. It fails with an [*Error]. Of several extensions each is taken as
// a whole or not at all, up to the first that is not in order.
func (m *Mirrors) Extend(ctx context.Context, node string, u Upload) (Status, error) {
	key, err := note.NewVerifier(u.Key)
	if err != nil {
		return Status{}, &Error{Code: CodeInvalidKey, Err: fmt.Errorf("key: %w", err)}
	}
	if err := u.check(); err != nil {
		return Status{}, &Error{Code: CodeInvalidUpload, Err: err}
	}
	c, err := m.of(node)
	if err != nil {
		return Status{}, err
	}
	events, err := c.extend(ctx, key, u)
	for _, e := range events {
		m.tell(ctx, e)
	}
	st := c.seen()
	st.Takes = MaxExtensions
	return st, err
}

func (m *Mirrors) tell(ctx context.Context, e Event) {
	log := m.Log.With("node", e.Status.Node, "origin", e.Status.Origin, "size", e.Status.Size)
	switch e.Action {
	case Faulted:
		log.Error("the ledger of a node cannot be mirrored", "code", e.Status.Fault.Code, "error", e.Status.Fault.Message)
	default:
		log.Info("mirror of the ledger of a node", "action", e.Action)
	}
	if m.Record != nil {
		m.Record(ctx, e)
	}
}

func (c *copied) extend(ctx context.Context, key note.Verifier, u Upload) ([]Event, error) {
	c.busy.Lock()
	defer c.busy.Unlock()
	before := c.seen()
	if f := before.Fault; f != nil && f.Code == CodeForked {
		return nil, &Error{Code: CodeForked, Err: errors.New(f.Message)}
	}
	pinned := u.Key
	if before.Key != "" {
		pinned = before.Key
	}
	if err := c.ready(ctx, before.Node, pinned); err != nil {
		return nil, err
	}
	if !c.knows(key) {
		return nil, &Error{Code: CodeKeyMismatch, Err: fmt.Errorf("the ledger of node %s is signed by %s; another key needs an entry of that ledger, or a person who removes the copy", before.Node, pinned)}
	}
	failed := c.mirror.Extend(ctx, u.Extension)
	for i := 0; failed == nil && i < len(u.More); i++ {
		failed = c.mirror.Extend(ctx, u.More[i])
	}
	verdict := judged(failed)
	var err error // not a nil pointer in an interface
	if verdict != nil {
		err = verdict
	}
	next := before
	next.Key, next.Origin = pinned, key.Name()
	next.Size, _ = c.mirror.Head()
	if next.Size != before.Size || before.Pinned.IsZero() {
		next.Updated = c.owner.Now().UTC()
	}
	if before.Pinned.IsZero() {
		if err != nil && next.Size == 0 {
			// A stranger leaves nothing, not even its key in memory.
			return nil, errors.Join(err, c.close())
		}
		next.Pinned = next.Updated
	}
	events := next.faulted(failed, verdict, c.owner.Now())
	if before.Pinned.IsZero() {
		events = append([]Event{{Began, next}}, events...)
	}
	if saved := c.save(before, next); saved != nil {
		return nil, errors.Join(err, saved)
	}
	return events, err
}

// faulted notes what an attempt says about the ledger of the node, if it says
// anything, and returns the change.
func (s *Status) faulted(failed error, judged *Error, now time.Time) []Event {
	switch {
	case judged == nil && s.Fault != nil:
		s.Fault = nil
		return []Event{{Recovered, *s}}
	case judged == nil || judged.Code != CodeForked && judged.Code != CodeDiverged && judged.Code != CodeRolledBack:
		return nil
	case s.Fault != nil && s.Fault.Code == judged.Code:
		return nil
	}
	s.Fault = &Fault{Code: judged.Code, Message: judged.Err.Error(), Since: now.UTC()}
	if fork, ok := errors.AsType[*ledger.ForkError](failed); ok {
		s.Fault.Held, s.Fault.Shown = string(fork.Held), string(fork.Shown)
	}
	return []Event{{Faulted, *s}}
}

// judged names an error of [ledger.Mirror.Extend].
func judged(err error) *Error {
	if err == nil {
		return nil
	}
	if size, ok := errors.AsType[*ledger.SizeError](err); ok {
		return &Error{Code: CodeSize, Size: size.Size, Err: err}
	}
	if _, ok := errors.AsType[*ledger.ForkError](err); ok {
		return &Error{Code: CodeForked, Err: err}
	}
	code := CodeUnavailable
	switch {
	case errors.Is(err, ledger.ErrDiverged):
		code = CodeDiverged
	case errors.Is(err, ledger.ErrBehind):
		code = CodeRolledBack
	case errors.Is(err, ledger.ErrSignature):
		code = CodeKeyMismatch
	case errors.Is(err, ledger.ErrMalformed), errors.Is(err, ledger.ErrCheckpoint), errors.Is(err, ledger.ErrTooLarge):
		code = CodeInvalidUpload
	}
	return &Error{Code: code, Err: err}
}

// ready opens the copy. It needs busy.
func (c *copied) ready(ctx context.Context, node, key string) error {
	for _, idle := range c.owner.used(c) {
		idle.rest()
	}
	if c.mirror != nil {
		return nil
	}
	unavailable := func(err error) error {
		return &Error{Code: CodeUnavailable, Err: fmt.Errorf("copy of node %s: %w", node, err)}
	}
	first, err := note.NewVerifier(key)
	if err != nil {
		return unavailable(err)
	}
	keys := []note.Verifier{first}
	if c.owner.Keys != nil {
		if known := c.owner.Keys(node); len(known) > 0 {
			keys = known
		}
	}
	dir := filepath.Join(c.path(), ledgerName)
	if err := durable.MkdirAll(dir); err != nil {
		return unavailable(err)
	}
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{Log: c.owner.Log})
	if err != nil {
		return unavailable(err)
	}
	m, err := ledger.OpenMirror(ctx, store, ledger.Keys{Origin: first.Name(), Log: keys})
	if err != nil {
		return unavailable(errors.Join(err, store.Close()))
	}
	c.store, c.mirror = store, m
	return nil
}

// rest closes the files until they are needed again, unless they are just in use.
func (c *copied) rest() {
	if !c.busy.TryLock() {
		return
	}
	defer c.busy.Unlock()
	if err := c.close(); err != nil {
		c.owner.Log.Warn("close the copy of a ledger", "node", c.seen().Node, "error", err.Error())
	}
}

func (c *copied) close() error {
	if c.store == nil {
		return nil
	}
	err := c.store.Close()
	c.store, c.mirror = nil, nil
	return err
}

func (c *copied) path() string { return filepath.Join(c.owner.Dir, directory(c.seen().Node)) }

// knows reports whether the ledger of the node has been signed by a key.
func (c *copied) knows(key note.Verifier) bool {
	for _, k := range c.mirror.Keys() {
		if k.Name() == key.Name() && k.KeyHash() == key.KeyHash() {
			return true
		}
	}
	return false
}

// save makes a status durable, if it says anything new, and the keys beside it.
func (c *copied) save(before, next Status) error {
	same := before.Key == next.Key && before.Witness == next.Witness && before.Fault == next.Fault && !before.Pinned.IsZero()
	if !same {
		if err := c.write(next); err != nil {
			return &Error{Code: CodeUnavailable, Err: err}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = next
	return nil
}

func (c *copied) write(next Status) error {
	data, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(c.path(), keysName), []byte(next.Key+"\n")); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(c.path(), metaFile), append(data, '\n'))
}
