package report

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Options say what a report is about. Period is required.
type Options struct {
	Period Period
	// Charters are those that may have been in force: they are recognised by their
	// digests, and the others are not used. Any number, or none.
	Charters []*charter.Charter
	// Rows is how many rows a table has, and how many items a list; 0 is
	// [DefaultRows].
	Rows int
}

func (o *Options) complete() {
	if o.Rows <= 0 {
		o.Rows = DefaultRows
	}
}

// Builder makes a report of entries that it gets in their order, from the first one
// of the ledger on. It is not safe for concurrent use.
type Builder interface {
	// Add takes the next entry. One whose body was pruned counts as missing. The
	// error wraps [ledger.ErrMalformed].
	Add(row ledger.Row) error
	// Document returns the report over what was added. The checkpoint is that which
	// covers these entries; nil for an empty ledger. The error wraps
	// [ledger.ErrCheckpoint].
	Document(checkpoint []byte, a Assurance) (Document, error)

	// since is the time before which only some entries count, and which these are.
	since() (Period, []ledger.Kind)
}

// Document is a finished report: an [Audit] or a [Collection]. [Write] writes it.
type Document interface {
	// page is the report for people.
	page() page
}

// Source is the part of [ledger.Reader] that [Make] needs.
type Source interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error]
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error]
}

// Make reads what a report needs and returns the report. It believes the source and
// its index of queries, and verifies nothing: a says what is known otherwise. It is
// for a program that keeps the ledger itself. To others, [ledger.Verify] shows
// entries that it verifies, for [Builder.Add].
func Make(ctx context.Context, s Source, b Builder, a Assurance) (Document, error) {
	head, err := s.Checkpoint(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return b.Document(nil, a)
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	_, size, _, err := ledger.ParseCheckpoint(head)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if err := feed(ctx, s, b, size); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Document(head, a)
}

// feed gives a builder the entries that count.
func feed(ctx context.Context, s Source, b Builder, size uint64) error {
	kept, err := firstKept(ctx, s, size)
	if err != nil {
		return err
	}
	for index := range kept {
		if err := b.Add(ledger.Row{Index: index}); err != nil {
			return err
		}
	}
	period, kinds := b.since()
	for row, err := range s.Find(ctx, ledger.Filter{Kinds: kinds, Until: period.From, From: kept, Before: size}) {
		if err == nil {
			err = b.Add(row)
		}
		if err != nil {
			return err
		}
	}
	for row, err := range s.Find(ctx, ledger.Filter{Since: period.From, From: kept, Before: size, Limit: 1}) {
		if err != nil {
			return err
		}
		return follow(ctx, s, b, row.Index, size, period)
	}
	return nil
}

// follow adds the entries of the period, and the first one after it.
func follow(ctx context.Context, s Source, b Builder, from, size uint64, p Period) error {
	for row, err := range s.Rows(ctx, from, size) {
		if err == nil {
			err = b.Add(row)
		}
		if err != nil || row.Body != nil && row.Time >= p.To.UnixNano() {
			return err
		}
	}
	return nil
}

// firstKept is the first entry that is not pruned: all before it are.
func firstKept(ctx context.Context, s Source, size uint64) (uint64, error) {
	var failed error
	n := sort.Search(int(size), func(i int) bool {
		for row, err := range s.Rows(ctx, uint64(i), uint64(i)+1) {
			if err != nil && failed == nil {
				failed = err
			}
			return err != nil || row.Body != nil
		}
		return true
	})
	return uint64(n), failed
}
