package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// gap is a gap that is not in the ledger yet, under the id that keeps it from being
// there twice.
type gap struct {
	ID string `json:"id"`
	ledger.Missing
}

func (g gap) entry() (ledger.Entry, error) {
	e, err := entryWith(ledger.Gap, g.Missing)
	return Once(e, g.ID), err
}

// unreported counts what was answered unrecorded, until the ledger says so. A file
// keeps it meanwhile: the count is in there before the first such answer is given,
// and again whenever it has doubled, so that a crash leaves at least half of it.
type unreported struct {
	path     string        // "" for no file
	patience time.Duration // how long an answer waits for the file
	failed   func(error)   // told when it cannot be written

	mu     sync.Mutex // guards what follows
	open   gap        // what is added to; without an ID when nothing is missing
	closed []gap      // that are being reported
	due    uint64     // the count of open that is to be in the file next
	want   uint64     // what has to be in the file, as a number that grows
	have   uint64     // what is
	kept   mark       // of open in the file
	err    error      // of the latest attempt to write it
	began  time.Time
	flight chan struct{} // closed when the attempt that is under way has ended; nil for none
}

// mark is how far a gap was counted.
type mark struct {
	id    string
	count uint64
}

// add counts n more. It waits for nothing: see await.
func (u *unreported) add(n uint64, required bool, now string) mark {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open.ID == "" {
		u.open = gap{ID: rand.Text(), Missing: ledger.Missing{Reason: ledger.ReasonBestEffort, Count: new(uint64), From: now}}
		u.due = 0
	}
	if required && u.open.Reason != ledger.ReasonUnavailable {
		u.open.Reason = ledger.ReasonUnavailable
		u.want++
	}
	u.open.To = now
	*u.open.Count += n
	if *u.open.Count >= u.due {
		u.due = 2 * *u.open.Count
		u.want++
	}
	u.write()
	return mark{u.open.ID, *u.open.Count}
}

// close ends what was counted, so that it can be reported: it does not change from
// here on, in the file neither. any is false when nothing was.
func (u *unreported) close() (g gap, any bool) {
	u.mu.Lock()
	if g, any = u.open, u.open.ID != ""; any {
		u.open = gap{}
		u.closed = append(u.closed, g)
		u.want++
		u.write()
	}
	u.mu.Unlock()
	if any {
		u.await(mark{})
	}
	return g, any
}

// settle forgets what was closed: it is in the ledger.
func (u *unreported) settle() {
	u.mu.Lock()
	settled := len(u.closed) > 0
	if settled {
		u.closed = nil
		u.want++
		u.write()
	}
	u.mu.Unlock()
	if settled {
		u.await(mark{})
	}
}

// unkept is why the file does not have what it should.
func (u *unreported) unkept() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.path == "" || u.have == u.want:
		return nil
	case u.err == nil && time.Since(u.began) > u.patience:
		return fmt.Errorf("keep what is missing from the ledger: the disk of %s does not answer", u.path)
	}
	return u.err
}

// await waits until the file has at least half of what was counted, or for the zero
// mark all that it should. It never waits longer than patience: a disk that hangs
// costs the first to come their time.
func (u *unreported) await(m mark) {
	u.mu.Lock()
	flight, left := u.flight, u.patience-time.Since(u.began)
	enough := m.id != "" && u.kept.id == m.id && u.kept.count >= m.count/2
	u.mu.Unlock()
	if flight == nil || enough || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-flight:
	case <-timer.C:
	}
}

// write begins an attempt to bring the file up to date, unless one is under way. It
// needs mu to be held.
func (u *unreported) write() {
	if u.path == "" || u.flight != nil || u.have == u.want {
		return
	}
	u.flight, u.began = make(chan struct{}), time.Now()
	go u.keep()
}

func (u *unreported) keep() {
	for {
		u.mu.Lock()
		want, gaps, kept := u.want, slices.Clone(u.closed), mark{}
		if open := u.open; open.ID != "" {
			kept = mark{open.ID, *open.Count}
			open.AtLeast, open.Count, open.To = kept.count, nil, "" // it is not over
			gaps = append(gaps, open)
		}
		u.began = time.Now()
		u.mu.Unlock()
		err := u.save(gaps)
		u.mu.Lock()
		if u.err = err; err == nil {
			u.have, u.kept = want, kept
		}
		if err != nil || u.want == want {
			close(u.flight)
			u.flight = nil
			u.mu.Unlock()
			if err != nil {
				u.failed(err)
			}
			return
		}
		u.mu.Unlock()
	}
}

// save replaces the file; without gaps there is none.
func (u *unreported) save(gaps []gap) error {
	if len(gaps) == 0 {
		if err := os.Remove(u.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget what was missing from the ledger: %w", err)
		}
		u.putBy()
		return durable.SyncDir(filepath.Dir(u.path))
	}
	text, err := json.Marshal(gaps, json.Deterministic(true))
	if err != nil {
		return err
	}
	if err = durable.WriteFile(u.path, text); err != nil {
		// The disk may be full, which is what was put by for.
		if os.Remove(u.spare()) == nil {
			err = durable.WriteFile(u.path, text)
		}
	}
	if err != nil {
		return fmt.Errorf("keep what is missing from the ledger: %w", err)
	}
	return nil
}

func (u *unreported) spare() string { return u.path + ".spare" }

// putBy takes a block of the disk for the time when it is full. Nothing depends on
// it when it is not.
func (u *unreported) putBy() {
	if info, err := os.Stat(u.spare()); err == nil && info.Size() > 0 {
		return
	}
	_ = durable.WriteFile(u.spare(), make([]byte, 4<<10))
}

// maxFile is how many bytes of the file are read.
const maxFile = 16 << 20

// load reads what an earlier run has left, and closes it: what had not ended then
// has ended by now.
func (u *unreported) load(now string) ([]gap, error) {
	if u.path == "" {
		return nil, nil
	}
	f, err := os.Open(u.path)
	if errors.Is(err, os.ErrNotExist) {
		u.putBy()
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is missing from the ledger: %w", err)
	}
	var gaps []gap
	err = json.UnmarshalRead(io.LimitReader(f, maxFile), &gaps, json.RejectUnknownMembers(true))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read what is missing from the ledger in %s: %w; nothing but a gap entry can be made of it, so move it away to begin without", u.path, err)
	}
	for i := range gaps {
		if gaps[i].To == "" {
			gaps[i].To = now
		}
	}
	// Before anything is reported: another crash must not report it otherwise.
	if err := u.save(gaps); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = gaps
	return gaps, nil
}
