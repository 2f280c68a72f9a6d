package fleet

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Names below Options.Dir.
const (
	nodesFile   = "fleet.json"
	releasesDir = "releases"
	stateFile   = "rollouts.json" // in releasesDir; written after what it refers to
)

// Log is the part of a ledger that is needed.
type Log interface {
	AppendAll(ctx context.Context, entries []ledger.Entry, level ledger.Level) ([]ledger.Position, error)
}

// Defaults of [Options].
const (
	DefaultGrace    = 2 * time.Minute
	DefaultSilent   = 3
	DefaultMaxNodes = 10_000
	// forgotten is when a node that was not heard of any more makes room.
	forgotten = 90 * 24 * time.Hour
)

// Options configure [Open].
type Options struct {
	Dir string // where to keep nodes, releases and rollouts
	Log Log    // nil records nothing
	// Grace is how long a node may run an older release than it is offered.
	Grace time.Duration
	// Silent is how many reports a node may owe.
	Silent   int
	MaxNodes int
	Logger   *slog.Logger     // nil logs nothing
	Now      func() time.Time // nil is time.Now
}

// Fleet is what is known about nodes, releases and rollouts. Its methods may be called
// concurrently.
type Fleet struct {
	Options
	disk   disk
	shelf  shelf
	opened time.Time // before that nobody could report

	stepping  sync.Mutex        // held while a step is decided and written
	told      map[string]uint64 // watched steps of which the log says that they wait for a person, by channel; guarded by stepping
	recording sync.Mutex        // held while entries are appended, so that their order stays
	writing   sync.Mutex        // held while nodes are written
	saved     atomic.Uint64     // version of the nodes on disk

	mu       sync.Mutex
	nodes    map[string]*node    // guarded by mu
	version  uint64              // of nodes, grows with each change; guarded by mu
	channels map[string]*channel // never changed, only replaced; guarded by mu
	pending  []entry             // steps that are not in the ledger yet; guarded by mu
	content  map[place]Content   // of releases that are served; guarded by mu
	changed  chan struct{}       // closed when anybody may be given another release; guarded by mu
	// woken are closed, each for its node, then, and when its labels bring it another one.
	woken  map[string]chan struct{} // guarded by mu
	halts  map[string]uint64        // rollouts stopped since the start, by cause; guarded by mu
	alarms uint64                   // nodes that went back since the start; guarded by mu
}

// place names a release.
type place struct {
	channel  string
	sequence int64
}

// Open reads what is known, which may be nothing.
func Open(o Options) (*Fleet, error) { return openOn(disk{write, durable.MkdirAll}, o) }

// write makes the directory as well: a server that nobody reports to leaves nothing
// behind.
func write(path string, data []byte) error {
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// disk is where files are; tests do without what makes it durable.
type disk struct {
	write func(path string, data []byte) error
	mkdir func(dir string) error
}

func openOn(d disk, o Options) (*Fleet, error) {
	if o.Dir == "" {
		return nil, errors.New("fleet: Dir is required")
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Silent == 0 {
		o.Silent = DefaultSilent
	}
	if o.MaxNodes == 0 {
		o.MaxNodes = DefaultMaxNodes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Fleet{
		Options: o, disk: d, shelf: shelf{d, filepath.Join(o.Dir, releasesDir)}, opened: o.Now().UTC().Round(0),
		told: map[string]uint64{}, nodes: map[string]*node{}, channels: map[string]*channel{}, content: map[place]Content{}, changed: make(chan struct{}), woken: map[string]chan struct{}{}, halts: map[string]uint64{},
	}
	return f, f.load()
}

// Report takes what a node says about itself. When it returns nil, what decides about
// the releases that the node is offered is on disk. Errors are [*Error].
func (f *Fleet) Report(ctx context.Context, r Report) (Desired, error) {
	if err := r.Check(); err != nil {
		return Desired{}, err
	}
	f.mu.Lock()
	now := f.now()
	n, err := f.node(r.Node, now)
	if err != nil {
		f.mu.Unlock()
		return Desired{}, err
	}
	m, reached := n.mark(f.channelName(r.Status.Channel)), max(r.Status.Sequence, r.Status.HighWater)
	back := n.goesBack(m, &r, now)
	again := back && n.Back.Again > 0
	higher := reached > m.Highest
	m.Highest, m.Ran = max(m.Highest, reached), max(m.Ran, r.Status.Sequence)
	before := f.desired(n, r.Node)
	other := n.relabel(r.Labels, now)
	n.take(m, &r, f.channels[f.channelName(r.Status.Channel)], now)
	if version := f.touch(); higher || other || back && !again {
		n.unsaved = version
	}
	unsaved, desired := n.unsaved, f.desired(n, r.Node)
	if desired != before || other {
		f.wake(r.Node)
	}
	if back {
		f.alarms++
	}
	if back && !again {
		f.alarm(&r, *n.Back)
	}
	f.mu.Unlock()
	if err := f.save(unsaved); err != nil {
		return Desired{}, unwritten(err)
	}
	if back {
		f.record(ctx)
	}
	return desired, nil
}

// Desired is the release that a node is offered; zero for none.
type Desired struct {
	Channel  string `json:"channel,omitempty"`
	Sequence int64  `json:"sequence,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// desired is what n is offered. It needs mu.
func (f *Fleet) desired(n *node, name string) Desired {
	ch, c := f.channelFor(n)
	if c == nil {
		return Desired{}
	}
	if r := c.release(c.want(name, n.labels(), n.marked(ch).had())); r != nil {
		return Desired{ch, r.Sequence, r.Digest}
	}
	return Desired{}
}

// node returns the one with a name, a new one when there is room. It needs mu.
func (f *Fleet) node(name string, now time.Time) (*node, error) {
	if n := f.nodes[name]; n != nil {
		return n, nil
	}
	if len(f.nodes) >= f.MaxNodes && !f.forget(now) {
		return nil, refuse(TooManyNodes, "", "%d nodes are known, which is as many as there may be", len(f.nodes))
	}
	n := &node{First: now}
	f.nodes[name] = n
	return n, nil
}

// forget makes room. It needs mu.
func (f *Fleet) forget(now time.Time) bool {
	before := len(f.nodes)
	maps.DeleteFunc(f.nodes, func(_ string, n *node) bool { return now.Sub(n.heard()) > forgotten })
	return len(f.nodes) < before
}

// channelName is that of a channel; "" is the only one, if there is one alone. It needs
// mu.
func (f *Fleet) channelName(name string) string {
	if name == "" && len(f.channels) == 1 {
		return sortedKeys(f.channels)[0]
	}
	return name
}

// channelFor is the channel of a node. It needs mu.
func (f *Fleet) channelFor(n *node) (string, *channel) {
	name := ""
	if n.Report != nil {
		name = n.Report.Status.Channel
	}
	name = f.channelName(name)
	return name, f.channels[name]
}

// touch says that nodes have changed. It needs mu.
func (f *Fleet) touch() uint64 {
	f.version++
	return f.version
}

// notify wakes those who wait for another release. It needs mu.
func (f *Fleet) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
	for name := range f.woken {
		f.wake(name)
	}
}

// wake wakes those alone who wait for another release for one node: what that says about
// itself is no news to the others. It needs mu.
func (f *Fleet) wake(node string) {
	if woken := f.woken[node]; woken != nil {
		close(woken)
		delete(f.woken, node)
	}
}

// waiting is closed when a node may be given another release, "" being who is none. It
// needs mu.
func (f *Fleet) waiting(node string) <-chan struct{} {
	if node == "" {
		return f.changed
	}
	woken := f.woken[node]
	if woken == nil {
		woken = make(chan struct{})
		f.woken[node] = woken
	}
	return woken
}

// now is by the clock of the options, without what is not kept on disk.
func (f *Fleet) now() time.Time { return f.Now().UTC().Round(0) }
