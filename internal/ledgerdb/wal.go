package ledgerdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Sizes of the write-ahead log of SQLite (sqlite.org/fileformat2.html, 4).
const (
	walHeader   = 32
	frameHeader = 24
)

// checkWAL refuses a database whose write-ahead log has a bad frame before the
// end. SQLite stops at the first frame whose checksum is wrong, takes it for what
// a crash left unfinished, and opens what was committed before: an older ledger,
// validly signed.
//
// A transaction is begun when the one before is durable. So a bad frame is what a
// crash left only if no good frame of a later transaction follows. In the last
// transaction nobody can tell; the head kept elsewhere does.
func checkWAL(database string) error {
	f, err := os.Open(database + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = walkWAL(bufio.NewReaderSize(f, 1<<20))
	return errors.Join(err, f.Close())
}

// walSum is the checksum of frames, cumulative over the log.
type walSum [2]uint32

// add continues a checksum over words, eight bytes at a time.
func (s walSum) add(order binary.ByteOrder, data []byte) walSum {
	for i := 0; i+8 <= len(data); i += 8 {
		s[0] += order.Uint32(data[i:]) + s[1]
		s[1] += order.Uint32(data[i+4:]) + s[0]
	}
	return s
}

func readSum(data []byte) walSum {
	return walSum{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])}
}

// walWalk is the state of a walk over the frames of a log.
type walWalk struct {
	order binary.ByteOrder
	salts [8]byte
	// A frame continues the checksum of the one before: as it is, or as it is
	// stored when that frame is bad. Either way a good frame is recognised.
	computed, stored walSum

	bad       int  // the first bad frame, from 1; 0 is none
	committed bool // a frame that commits was seen since then
}

func walkWAL(r io.Reader) error {
	header := make([]byte, walHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return walEnd(err)
	}
	w, pageSize, err := beginWAL(header)
	if err != nil {
		return walFault(r, err)
	}
	frame := make([]byte, frameHeader+pageSize)
	for n := 1; ; n++ {
		if _, err := io.ReadFull(r, frame); err != nil {
			return walEnd(err)
		}
		if w.frame(n, frame) {
			return fmt.Errorf("%w: frame %d of the write-ahead log is bad, and what follows up to frame %d was committed: "+
				"SQLite would drop it without a word; restore the files from a copy", ledger.ErrDamaged, w.bad, n)
		}
	}
}

// walEnd is for the end of the file, which may be within a frame.
func walEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// walFault is for a bad header. It is written and synced before any frame.
func walFault(rest io.Reader, cause error) error {
	any, err := io.CopyN(io.Discard, rest, frameHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if any == 0 {
		return nil
	}
	return fmt.Errorf("%w: the header of the write-ahead log is bad: %w", ledger.ErrDamaged, cause)
}

func beginWAL(header []byte) (w walWalk, pageSize int, err error) {
	switch binary.BigEndian.Uint32(header) {
	case 0x377f0682:
		w.order = binary.LittleEndian
	case 0x377f0683:
		w.order = binary.BigEndian
	default:
		return w, 0, errors.New("it does not begin like one")
	}
	size := binary.BigEndian.Uint32(header[8:])
	if size < 512 || size > 65536 || size&(size-1) != 0 {
		return w, 0, errors.New("bad page size")
	}
	copy(w.salts[:], header[16:24])
	w.computed = walSum{}.add(w.order, header[:24])
	if w.stored = readSum(header[24:]); w.stored != w.computed {
		return w, 0, errors.New("bad checksum")
	}
	return w, int(size), nil
}

// frame takes the next frame and tells whether it proves that an earlier one was
// damaged.
func (w *walWalk) frame(n int, frame []byte) (damage bool) {
	sum := func(before walSum) walSum { return before.add(w.order, frame[:8]).add(w.order, frame[frameHeader:]) }
	stored := readSum(frame[16:])
	current := [8]byte(frame[8:16]) == w.salts
	continues := stored == sum(w.computed) || stored == sum(w.stored)
	if continues && !current && w.bad == 0 {
		// The checksum continues that of good frames, and the salts are of another
		// round of the log: they are not under the checksum, and were changed.
		w.bad = n
		return true
	}
	good := continues && current
	commits := binary.BigEndian.Uint32(frame[4:]) != 0
	if good && w.bad > 0 && w.committed {
		return true
	}
	if !good && w.bad == 0 {
		w.bad = n
	}
	// A bad frame may be the one that commits: it says so unless that is what is bad.
	if w.bad > 0 && current && commits {
		w.committed = true
	}
	if good {
		w.computed = stored
	} else {
		w.computed = sum(w.stored)
	}
	w.stored = stored
	return false
}
