package notify

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/durable"
)

const (
	stateFile     = "state"    // the state when the journal of the same generation began
	journalPrefix = "journal-" // and its generation: the records since then
	deadDir       = "dead"

	maxJournal = 4 << 20  // bytes, then the state is written anew
	maxRead    = 32 << 20 // bytes of a file that are read
)

// outbox is the state on disk: a snapshot and a journal of records. Each line of both
// has a checksum, so that what a crash or a disk spoiled is known.
type outbox struct {
	dir     string
	lock    *durable.Lock
	gen     uint64
	journal *os.File // nil until the first rewrite
	size    int64
}

// snapshot is what stateFile holds.
type snapshot struct {
	Generation uint64 `json:"generation"`
	State      *state `json:"state"`
}

// openOutbox takes the directory and reads what is in it. Damaged counts the lines that
// are not what was written; a last line that a crash cut off is none of them.
func openOutbox(dir string) (o *outbox, s *state, damaged int, err error) {
	if err := durable.MkdirAll(filepath.Join(dir, deadDir)); err != nil {
		return nil, nil, 0, err
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		return nil, nil, 0, err
	}
	o = &outbox{dir: dir, lock: lock}
	if s, damaged, err = o.load(); err != nil {
		return nil, nil, 0, errors.Join(err, lock.Unlock())
	}
	return o, s, damaged, nil
}

func (o *outbox) load() (*state, int, error) {
	text, err := readLimited(filepath.Join(o.dir, stateFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, err
	}
	s, gen, damaged := readSnapshot(text)
	names, err := filepath.Glob(filepath.Join(o.dir, journalPrefix+"*"))
	if err != nil {
		return nil, 0, err
	}
	o.gen = gen
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimPrefix(filepath.Base(name), journalPrefix), 10, 64)
		if err != nil {
			continue
		}
		o.gen = max(o.gen, n) // the next one is above all
		if n != gen && damaged == 0 {
			continue // what it says is in the snapshot
		}
		text, err := readLimited(name)
		if err != nil {
			return nil, 0, err
		}
		damaged += replay(text, s)
	}
	return s, damaged, nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// readSnapshot never fails: what is damaged is left out and counted.
func readSnapshot(text []byte) (s *state, generation uint64, damaged int) {
	if len(text) == 0 {
		return newState(), 0, 0
	}
	var snap snapshot
	body, ok := unframe(bytes.TrimSuffix(text, []byte("\n")))
	if !ok || json.Unmarshal(body, &snap) != nil || snap.State == nil {
		return newState(), 0, 1
	}
	if !snap.State.adopt() {
		damaged = 1
	}
	return snap.State, snap.Generation, damaged
}

// replay applies the records of a journal and returns how many could not be.
func replay(text []byte, s *state) (damaged int) {
	for len(text) > 0 {
		row, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !whole {
			break // a crash cut it off: nobody was told that it is on disk
		}
		var r record
		body, ok := unframe(row)
		if !ok || json.Unmarshal(body, &r) != nil {
			damaged++
			continue
		}
		if r.Message != nil {
			m := r.Message.bounded(r.At)
			r.Message = &m
		}
		if s.apply(r) != nil {
			damaged++
		}
	}
	return damaged
}

// frame makes a line: checksum, space, JSON.
func frame(body []byte) []byte {
	out := make([]byte, 0, len(body)+10)
	out = hex.AppendEncode(out, sum(body))
	out = append(out, ' ')
	out = append(out, body...)
	return append(out, '\n')
}

func unframe(row []byte) ([]byte, bool) {
	check, body, ok := bytes.Cut(row, []byte(" "))
	if !ok {
		return nil, false
	}
	want, err := hex.AppendDecode(nil, check)
	return body, err == nil && bytes.Equal(want, sum(body))
}

func sum(body []byte) []byte {
	n := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// append makes lines durable.
func (o *outbox) append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := o.journal.Write(lines); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	if err := o.journal.Sync(); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	o.size += int64(len(lines))
	return nil
}

// full reports whether the state should be written anew.
func (o *outbox) full() bool { return o.size >= maxJournal }

// rewrite makes a state durable and begins a journal after it.
func (o *outbox) rewrite(s []byte) error {
	// The number may not be used again, whatever comes of this attempt.
	o.gen++
	body := fmt.Appendf(nil, `{"generation":%d,"state":%s}`, o.gen, s)
	if err := durable.WriteFile(filepath.Join(o.dir, stateFile), frame(body)); err != nil {
		return err
	}
	before := o.journal
	f, err := os.OpenFile(filepath.Join(o.dir, journalPrefix+strconv.FormatUint(o.gen, 10)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	o.journal, o.size = f, 0
	if err := durable.SyncDir(o.dir); err != nil {
		return err
	}
	if before != nil {
		_ = before.Close() // what it holds is in the snapshot
	}
	o.sweep()
	return nil
}

// sweep removes the journals that count no more. One that stays is not read.
func (o *outbox) sweep() {
	names, _ := filepath.Glob(filepath.Join(o.dir, journalPrefix+"*")) // the pattern is right
	for _, name := range names {
		if name != o.journal.Name() {
			_ = os.Remove(name)
		}
	}
}

func (o *outbox) close() error {
	var err error
	if o.journal != nil {
		err = o.journal.Close()
	}
	return errors.Join(err, o.lock.Unlock())
}
