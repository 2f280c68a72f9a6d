package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// storeVersion is that of the files.
const storeVersion = 1

// savedNodes is what nodesFile holds.
type savedNodes struct {
	Version int              `json:"version"`
	Nodes   map[string]*node `json:"nodes"`
	Pending []entry          `json:"pending,omitempty"` // alarms that may not be in the ledger yet
}

// savedState is what stateFile holds.
type savedState struct {
	Version  int                 `json:"version"`
	Channels map[string]*channel `json:"channels"`
	// Pending are steps that may not be in the ledger yet.
	Pending []entry `json:"pending,omitempty"`
}

// entry is one that is to be in the ledger, once.
type entry struct {
	ID        string             `json:"id"`
	Principal string             `json:"principal,omitempty"`
	Node      string             `json:"node,omitempty"`
	Revision  string             `json:"revision,omitempty"`
	Step      ledger.ReleaseStep `json:"step"`
}

const (
	// maxPending bounds the alarms that wait for the ledger; what comes then is in the
	// log alone.
	maxPending = 1000
	// patience is how long an entry may take; after that it is tried again later.
	patience = 2 * time.Second
)

// load reads what is on disk, and clears away what a crash has left.
func (f *Fleet) load() error {
	nodes, state := savedNodes{}, savedState{}
	if err := read(f.nodesPath(), &nodes); err != nil {
		return err
	}
	if err := read(f.statePath(), &state); err != nil {
		return err
	}
	if nodes.Nodes != nil {
		f.nodes = nodes.Nodes
	}
	for _, n := range f.nodes {
		if n.Report != nil && n.Labelled.IsZero() { // written before labels were kept apart
			n.Labels = n.Report.Labels
		}
	}
	if state.Channels != nil {
		f.channels = state.Channels
	}
	f.pending = append(state.Pending, nodes.Pending...)
	for name, c := range f.channels {
		if err := c.valid(name); err != nil {
			return fmt.Errorf("%s: %w", f.statePath(), err)
		}
		content, err := f.contentFor(name, c, f.content)
		if err != nil {
			return err
		}
		f.content = content
		if err := f.shelf.sweep(name, c); err != nil {
			return fmt.Errorf("clear away what is not released: %w", err)
		}
	}
	return nil
}

// valid reports what is wrong with a channel that was read, which nobody should have
// changed by hand.
func (c *channel) valid(name string) error {
	for i, r := range c.Releases {
		if r == nil || r.Channel != name || i > 0 && c.Releases[i-1].Sequence >= r.Sequence {
			return fmt.Errorf("the releases of channel %s are damaged", name)
		}
	}
	r := c.Rollout
	if r == nil {
		return nil
	}
	if r.Plan.Gates.Nodes == 0 { // written before reports were counted by node
		r.Plan.Gates.Nodes = DefaultGates().Nodes
	}
	if err := r.Plan.Check(); err != nil {
		return err
	}
	if !slices.Contains(States(), r.State) || r.Stage < 0 || r.Stage >= len(r.Plan.Stages) || c.release(r.Sequence) == nil {
		return fmt.Errorf("the rollout of channel %s is damaged", name)
	}
	return nil
}

func read(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (f *Fleet) nodesPath() string { return filepath.Join(f.Dir, nodesFile) }
func (f *Fleet) statePath() string { return filepath.Join(f.shelf.dir, stateFile) }

// save returns when a version of the nodes is on disk. Those who wait for it together
// are served by one write.
func (f *Fleet) save(version uint64) error {
	if f.saved.Load() >= version {
		return nil
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.saved.Load() >= version {
		return nil
	}
	f.mu.Lock()
	data, err := json.Marshal(savedNodes{storeVersion, f.nodes, alarms(f.pending, true)})
	version = f.version
	f.mu.Unlock()
	if err == nil {
		err = f.disk.write(f.nodesPath(), data)
	}
	if err == nil {
		f.saved.Store(version)
	}
	return err
}

// step puts a channel that next has decided in force: on disk first, then for everybody,
// then in the ledger. It needs stepping.
func (f *Fleet) step(ctx context.Context, name string, next *channel, e ledger.ReleaseStep, by string) error {
	next.Step++
	recorded := stepEntry(next, e, by)
	f.mu.Lock()
	channels := maps.Clone(f.channels)
	pending := alarms(f.pending, false)
	content := f.content
	f.mu.Unlock()
	channels[name] = next
	if f.Log != nil {
		pending = append(pending, recorded)
	}
	content, err := f.contentFor(name, next, content)
	if err != nil {
		return unwritten(err)
	}
	if err := f.writeState(channels, pending); err != nil {
		return unwritten(err)
	}
	f.mu.Lock()
	f.channels, f.content = channels, content
	if f.Log != nil {
		f.pending = append(slices.Clip(f.pending), recorded)
	}
	if e.Cause != nil {
		f.halts[e.Cause.Gate]++
	} else if e.Action == actHalt && e.Code != "" {
		f.halts[ByTrust]++
	} else if e.Action == actHalt || e.Action == actRoll {
		f.halts[ByPerson]++
	}
	f.notify()
	f.mu.Unlock()
	f.Logger.Info("release", "channel", name, "action", e.Action, "sequence", e.Sequence, "stage", e.Stage, "by", by)
	f.record(ctx)
	return nil
}

// contentFor is the content that is served once next is in force. It must not be in
// memory for longer than somebody is given it.
func (f *Fleet) contentFor(name string, next *channel, have map[place]Content) (map[place]Content, error) {
	kept := map[place]Content{}
	for p, c := range have {
		if p.channel != name {
			kept[p] = c
		}
	}
	for sequence := range next.served() {
		p, r := place{name, sequence}, next.release(sequence)
		if r == nil || r.Untrusted != "" {
			continue
		}
		c, has := have[p]
		if !has {
			var err error
			if c, err = f.shelf.get(r); err != nil {
				return nil, err
			}
		}
		kept[p] = c
	}
	return kept, nil
}

// ByPerson is the cause of a halt that no gate brought about.
const ByPerson = "person"

func (f *Fleet) writeState(channels map[string]*channel, pending []entry) error {
	data, err := json.Marshal(savedState{storeVersion, channels, pending})
	if err != nil {
		return err
	}
	return f.disk.write(f.statePath(), data)
}

// stepEntry is the entry about a step.
func stepEntry(c *channel, s ledger.ReleaseStep, by string) entry {
	e := entry{ID: rand.Text(), Principal: by, Step: s}
	if r := c.release(s.Sequence); r != nil {
		e.Revision, e.Step.Digest = r.Revision, r.Digest
	}
	return e
}

// alarm leaves an entry about a node that went back. It needs mu.
func (f *Fleet) alarm(r *Report, b Back) {
	f.Logger.Error("a node runs an older release than it has reported before: its disk may have been replaced by an older copy",
		"node", r.Node, "sequence", b.To, "before", b.From)
	if f.Log == nil || len(f.pending) >= maxPending {
		return
	}
	f.pending = append(slices.Clip(f.pending), entry{ID: rand.Text(), Node: r.Node, Revision: r.Status.Revision, Step: ledger.ReleaseStep{
		Action: actBack, Channel: r.Status.Channel, Sequence: b.To, Before: b.From, Digest: r.Status.Digest,
	}})
}

// own is the principal of what nobody has asked for: a ledger recognizes what is appended
// twice by principal and id. Those of callers begin with the kind of their proof and a
// colon.
const own = "fleet"

// record appends what waits. What cannot be appended now is tried again by Run; what is
// appended twice is recognized by its id.
func (f *Fleet) record(ctx context.Context) {
	f.recording.Lock()
	defer f.recording.Unlock()
	f.mu.Lock()
	waiting := f.pending
	f.mu.Unlock()
	if len(waiting) == 0 || f.Log == nil {
		return
	}
	entries := make([]ledger.Entry, len(waiting))
	for i, w := range waiting {
		data, err := json.Marshal(w.Step)
		if err != nil {
			f.Logger.Error("an entry about a release cannot be written", "error", err.Error())
			return
		}
		entries[i] = ledger.Entry{Kind: ledger.Release, Principal: cmp.Or(w.Principal, own), RequestID: w.ID, Node: w.Node, Revision: w.Revision, Data: data}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if _, err := f.Log.AppendAll(ctx, entries, ledger.Durable); err != nil {
		f.Logger.Warn("steps of releases are not in the ledger yet", "steps", len(entries), "error", err.Error())
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	done := map[string]bool{}
	for _, w := range waiting {
		done[w.ID] = true
	}
	f.pending = slices.DeleteFunc(slices.Clone(f.pending), func(e entry) bool { return done[e.ID] })
	f.touch()
}

// alarms are the entries about nodes, or the others.
func alarms(list []entry, about bool) []entry {
	var some []entry
	for _, e := range list {
		if (e.Step.Action == actBack) == about {
			some = append(some, e)
		}
	}
	return some
}

// prune forgets the content of releases that nobody is given any more, but for the
// latest, and what is known of the oldest.
func (f *Fleet) prune(c *channel) []*Release {
	const content, known = 6, 200
	served := c.served()
	var dropped []*Release
	for i, r := range c.Releases {
		if i < len(c.Releases)-content && !served[r.Sequence] {
			dropped = append(dropped, r)
		}
	}
	old := len(c.Releases) - known
	var kept []*Release
	for i, r := range c.Releases {
		if i >= old || served[r.Sequence] {
			kept = append(kept, r)
		}
	}
	c.Releases = kept
	return dropped
}
