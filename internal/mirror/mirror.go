// Package mirror keeps copies of the ledgers of nodes where their nodes cannot reach
// them, and lets each side vouch for the other's.
//
// On a server, [Open] makes the copies and [Mirrors.Extend] takes what a node sends. On
// a node, [Pusher] sends what its ledger has more than the copy, and [Watcher] cosigns
// the ledger of the server when that has only grown. A node needs no address for that:
// it asks, and is never asked.
//
// Guaranteed are: a copy holds nothing but whole commits that the node's key has signed,
// byte for byte; a ledger that was put back, or shows two histories, stops its copy, and
// the two checkpoints that prove it are kept; the first key that a node shows is its key
// until it hands over to another one in its ledger, or a person removes the copy. A copy
// is a directory that `charter-admin audit --data` reads like any ledger.
package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Codes of an [Error]; the list is closed.
const (
	CodeInvalidUpload = "invalid_upload"  // not an upload, or one that does not go with its checkpoint's form
	CodeInvalidKey    = "invalid_key"     // not a public key of a ledger
	CodeKeyMismatch   = "key_mismatch"    // another key than the one that the node showed first
	CodeSize          = "size_mismatch"   // it begins elsewhere than where the copy ends: see Size
	CodeDiverged      = "ledger_diverged" // the entries do not go with the signed checkpoint
	CodeRolledBack    = "ledger_rolled_back"
	CodeForked        = "ledger_forked" // two signed histories: the proof is kept, and the copy stays as it is
	CodeTooMany       = "too_many_nodes"
	CodeUnavailable   = "mirror_unavailable" // the disk of the copy
)

// Codes returns the closed list.
func Codes() []string {
	return []string{
		CodeInvalidUpload, CodeInvalidKey, CodeKeyMismatch, CodeSize, CodeDiverged, CodeRolledBack, CodeForked, CodeTooMany, CodeUnavailable,
	}
}

// Error says why something is not taken. Size is what the copy holds, for [CodeSize].
type Error struct {
	Code string
	Size uint64
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() + " [" + e.Code + "]" }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fault is why a copy does not go on.
type Fault struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	// Held and Shown are signed checkpoints of a fork.
	Held  string `json:"held,omitempty"`
	Shown string `json:"shown,omitempty"`
}

// Status is what is known of the ledger of a node.
type Status struct {
	Node    string    `json:"node"`
	Origin  string    `json:"origin"`
	Key     string    `json:"key"`    // that the node showed first
	Pinned  time.Time `json:"pinned"` // when it did
	Size    uint64    `json:"size"`   // entries in the copy
	Updated time.Time `json:"updated,omitzero"`
	Fault   *Fault    `json:"fault,omitempty"`
	// Witness is the key that the node cosigns the ledger of this server with, and
	// Cosigned how many entries of it.
	Witness  string `json:"witness,omitempty"`
	Cosigned uint64 `json:"cosigned,omitzero"`
	// Takes is how many extensions one upload may have, in the answer to an upload; 0 in
	// that of a server that takes one.
	Takes int `json:"takes,omitempty"`
}

// Actions of an [Event].
const (
	Began     = "begin"
	Faulted   = "fault"
	Recovered = "recover"
)

// Event is a change that belongs into the ledger of the server.
type Event struct {
	Action string
	Status Status
}

// Options configure [Open]. Dir is required.
type Options struct {
	Dir string
	// Nodes bounds the copies; 0 is 10,000.
	Nodes int
	// Keys returns keys that are known for a node's ledger otherwise; nil, and an empty
	// list, pin the first key that the node shows.
	Keys func(node string) []note.Verifier
	// Own is the ledger of this server, which nodes cosign, and OwnKeys what signs it;
	// a nil Own takes no cosignatures.
	Own     *ledger.Reader
	OwnKeys func() ledger.Keys
	// Record is told of changes, outside of any lock; nil is nobody.
	Record func(ctx context.Context, e Event)
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger     // nil logs nothing
}

// Mirrors are the copies of a server. Methods are safe for concurrent use.
type Mirrors struct {
	Options
	lock *durable.Lock

	mu    sync.Mutex
	nodes map[string]*copied // by node; guarded by mu
	open  []*copied          // with an open store, the latest used last; guarded by mu
}

// maxOpen bounds how many copies have their files open.
const maxOpen = 64

// Names below the directory of a copy. The ledger and its key are where `charter-admin
// audit` looks for them.
const (
	metaFile   = "mirror.json"
	ledgerName = "ledger"
	keysName   = "ledger.pub"
	headFile   = "head" // of ledgerdb: the latest checkpoint
)

// Open reads what there is in Dir. The caller closes it.
func Open(o Options) (*Mirrors, error) {
	if o.Nodes == 0 {
		o.Nodes = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open mirrors: %w", err)
	}
	lock, err := durable.LockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open mirrors: %w", err)
	}
	m := &Mirrors{Options: o, lock: lock, nodes: map[string]*copied{}}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open mirrors: %w", err), lock.Unlock())
	}
	return m, nil
}

func (m *Mirrors) load() error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(m.Dir, e.Name(), metaFile)
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // cut off before anything was in it
			continue
		}
		var st Status
		if err == nil {
			err = json.Unmarshal(data, &st)
		}
		if err == nil && directory(st.Node) != e.Name() {
			err = fmt.Errorf("it is about node %q", st.Node)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if head, err := os.ReadFile(filepath.Join(m.Dir, e.Name(), ledgerName, headFile)); err == nil {
			if _, size, _, err := ledger.ParseCheckpoint(head); err == nil {
				st.Size = size // which is verified when the copy is opened
			}
		}
		m.nodes[st.Node] = &copied{owner: m, status: st}
	}
	return nil
}

// Close closes all copies. Calls under way must have ended.
func (m *Mirrors) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var failed []error
	for _, c := range m.open {
		failed = append(failed, c.close())
	}
	m.open = nil
	return errors.Join(append(failed, m.lock.Unlock())...)
}

// List returns what is known of all nodes, by name.
func (m *Mirrors) List() []Status {
	m.mu.Lock()
	all := make([]*copied, 0, len(m.nodes))
	for _, c := range m.nodes {
		all = append(all, c)
	}
	m.mu.Unlock()
	list := make([]Status, len(all))
	for i, c := range all {
		list[i] = c.seen()
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Node, b.Node) })
	return list
}

// Status returns what is known of a node.
func (m *Mirrors) Status(node string) (Status, bool) {
	m.mu.Lock()
	c := m.nodes[node]
	m.mu.Unlock()
	if c == nil {
		return Status{}, false
	}
	return c.seen(), true
}

// directory is a name for the copy of a node that no file system takes for anything
// else.
func directory(node string) string {
	name := url.PathEscape(node)
	if strings.HasPrefix(name, ".") {
		name = "%2E" + name[1:]
	}
	return name
}

// of returns the copy of a node, an empty one when there was none.
func (m *Mirrors) of(node string) (*copied, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.nodes[node]; c != nil {
		return c, nil
	}
	switch {
	case node == "" || len(directory(node)) > 255:
		return nil, &Error{Code: CodeInvalidUpload, Err: errors.New("the name of the node is empty or too long")}
	case len(m.nodes) >= m.Nodes:
		return nil, &Error{Code: CodeTooMany, Err: fmt.Errorf("there are copies of the ledgers of %d nodes already", len(m.nodes))}
	}
	c := &copied{owner: m, status: Status{Node: node}}
	m.nodes[node] = c
	return c, nil
}

// used notes that a copy is open, and returns those whose files should be closed.
func (m *Mirrors) used(c *copied) (idle []*copied) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(slices.DeleteFunc(m.open, func(o *copied) bool { return o == c }), c)
	if over := len(m.open) - maxOpen; over > 0 {
		idle = slices.Clone(m.open[:over])
		m.open = slices.Clone(m.open[over:])
	}
	return idle
}
