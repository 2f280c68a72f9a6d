package app

import (
	"context"
	"time"
)

// What bounds the entries about state documents: whoever has the key that signs them
// must not be able to fill the ledgers of all nodes.
const (
	stateEntries    = 30              // at once
	stateEntryPause = 2 * time.Minute // for each one more
)

// stateQuiet decides which change of the state alone has an entry. Those that have none
// are counted in the next one, which comes within [stateEntryPause]. The zero value has
// all its room; it is guarded by Server.reloading.
type stateQuiet struct {
	used    int       // of stateEntries
	since   time.Time // room comes back from here on
	skipped uint64    // changes since the last entry
}

// take reports whether there is room for an entry.
func (q *stateQuiet) take(now time.Time) bool {
	if q.used > 0 {
		back := int(now.Sub(q.since) / stateEntryPause)
		if back < 0 || back >= q.used { // the clock went back, or all of it is there
			q.used = 0
		} else {
			q.used -= back
			q.since = q.since.Add(time.Duration(back) * stateEntryPause)
		}
	}
	if q.used >= stateEntries {
		return false
	}
	if q.used == 0 {
		q.since = now
	}
	q.used++
	return true
}

// quieten reports whether a change of the state alone has no entry for now.
func (s *Server) quieten(now time.Time) bool {
	if s.stateQuiet.take(now) {
		return false
	}
	if s.stateQuiet.skipped++; s.stateQuiet.skipped == 1 {
		s.log.Warn("the state changes so often that not every change has an entry in the ledger; they are counted")
	}
	return true
}

// recordQuietened records the state in force once there is room for an entry, if it has
// none, or now.
func (s *Server) recordQuietened(ctx context.Context, now bool) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	p := s.engine.Current()
	if p == nil || s.stateQuiet.skipped == 0 || !s.stateQuiet.take(time.Now()) && !now {
		return
	}
	s.stateQuiet.skipped-- // the one that the entry is about
	s.trigger = "state"
	defer func() { s.trigger = "" }()
	s.recordActive(ctx, p, p)
}
