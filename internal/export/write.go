package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Source is the part of [ledger.Reader] that is needed.
type Source interface {
	Inclusion(ctx context.Context, index, size uint64) (tlog.RecordProof, error)
}

// Options say what is exported. All fields but Selection and Progress are
// required.
type Options struct {
	Format     Format
	File       string // name for the manifest, without directory
	From, To   uint64 // the range; To is exclusive
	Checkpoint []byte // of a size of at least To
	Created    time.Time
	// Selection says in words which entries of the range were selected; nil for
	// all of them.
	Selection map[string]string
	// Progress is told how many entries are written.
	Progress func(entries uint64)
}

// Write writes entries to out, and returns the manifest. The rows are those of the
// range in their order, or of a selection from it.
func Write(ctx context.Context, out io.Writer, src Source, rows iter.Seq2[ledger.Row, error], o Options) (Manifest, error) {
	origin, size, _, err := ledger.ParseCheckpoint(o.Checkpoint)
	if err != nil {
		return Manifest{}, fmt.Errorf("export: %w", err)
	}
	if o.From > o.To || o.To > size {
		return Manifest{}, fmt.Errorf("export: entries %d to %d: %w: the ledger holds %d", o.From, o.To, ledger.ErrNotFound, size)
	}
	m := Manifest{
		Type: manifestType, File: o.File, Format: o.Format, Created: o.Created.UTC().Format(time.RFC3339), Origin: origin,
		From: o.From, To: o.To, Selection: o.Selection, Checkpoint: string(o.Checkpoint),
	}
	sum := &counter{to: out, hash: sha256.New()}
	w, err := NewWriter(o.Format, sum)
	if err != nil {
		return Manifest{}, fmt.Errorf("export: %w", err)
	}
	if err := m.fill(w, rows, o.Progress); err != nil {
		return Manifest{}, fmt.Errorf("export: %w", err)
	}
	m.Bytes, m.SHA256 = sum.bytes, hex.EncodeToString(sum.hash.Sum(nil))
	for _, p := range []*Proved{m.First, m.Last} {
		if p == nil {
			continue
		}
		if p.Proof, err = src.Inclusion(ctx, p.Index, size); err != nil {
			return Manifest{}, fmt.Errorf("export: %w", err)
		}
	}
	return m, nil
}

// fill writes the rows and takes note of them.
func (m *Manifest) fill(w Writer, rows iter.Seq2[ledger.Row, error], progress func(uint64)) error {
	for row, err := range rows {
		if err != nil {
			return err
		}
		if row.Index < m.From || row.Index >= m.To || m.Complete() && row.Index != m.From+m.Entries {
			return fmt.Errorf("%w: entry %d comes where %d is expected", ledger.ErrDamaged, row.Index, m.From+m.Entries)
		}
		if err := w.Write(row); err != nil {
			return err
		}
		p := &Proved{Index: row.Index, CID: ledger.CID(row.Body)}
		if m.First == nil {
			m.First = p
			p = &Proved{Index: p.Index, CID: p.CID}
		}
		m.Last = p
		m.Entries++
		if progress != nil {
			progress(m.Entries)
		}
	}
	if m.Complete() && m.Entries != m.To-m.From {
		return fmt.Errorf("%w: entry %d is missing", ledger.ErrDamaged, m.From+m.Entries)
	}
	return w.Close()
}

// counter counts and hashes what it passes on.
type counter struct {
	to    io.Writer
	hash  hash.Hash
	bytes int64
}

func (c *counter) Write(data []byte) (int, error) {
	n, err := c.to.Write(data)
	c.hash.Write(data[:n])
	c.bytes += int64(n)
	return n, err
}
