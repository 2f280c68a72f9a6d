package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"
)

// chunk is a run of rows whose bodies are looked at together.
type chunk struct {
	rows  []Row
	found []finding
	done  chan struct{} // closed when found is filled in
	err   error         // reading went wrong after these rows
	// misfiled is the first row that the index of queries does not show.
	misfiled *uint64
}

// finding is what a row alone shows.
type finding struct {
	columns  Columns
	rotation *Rotation
	seal     *Seal
	err      error
}

// chunks reads the rows that are to be verified; several goroutines look into the
// bodies ahead of the caller, which gets them in order.
func (v *verifier) chunks(ctx context.Context) iter.Seq2[*chunk, error] {
	return func(yield func(*chunk, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		ordered := make(chan *chunk, 4*v.opts.Workers)
		work := make(chan *chunk, 4*v.opts.Workers)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		group.Go(func() { v.read(ctx, ordered, work) })
		for range v.opts.Workers {
			group.Go(func() {
				for c := range work {
					c.look(ctx, v.index)
				}
			})
		}
		for c := range ordered {
			<-c.done
			if !yield(c, nil) {
				return
			}
			if c.err != nil {
				yield(nil, c.err)
				return
			}
		}
	}
}

func (v *verifier) read(ctx context.Context, ordered, work chan<- *chunk) {
	defer close(ordered)
	defer close(work)
	c := &chunk{done: make(chan struct{})}
	send := func() bool {
		c.found = make([]finding, len(c.rows))
		for _, to := range []chan<- *chunk{work, ordered} {
			select {
			case to <- c:
			case <-ctx.Done():
				return false
			}
		}
		c = &chunk{done: make(chan struct{})}
		return true
	}
	for row, err := range v.store.Rows(ctx, v.tree.size, v.size) {
		if err != nil {
			c.err = err
			break
		}
		if c.rows = append(c.rows, row); len(c.rows) == TileWidth && !send() {
			return
		}
	}
	send()
}

// look checks what each row alone shows, and what the index says of it.
func (c *chunk) look(ctx context.Context, index RowChecker) {
	defer close(c.done)
	for i := range c.rows {
		c.found[i] = lookAt(&c.rows[i])
	}
	if index == nil || len(c.rows) == 0 {
		return
	}
	first, wrong, err := index.CheckRows(ctx, c.rows)
	if err != nil {
		c.err = errors.Join(c.err, fmt.Errorf("compare the index of queries: %w", err))
	}
	if wrong {
		c.misfiled = &first
	}
}

func lookAt(row *Row) (f finding) {
	if row.Body == nil {
		return f
	}
	if tlog.RecordHash(row.Body) != row.Hash {
		f.err = fmt.Errorf("the body is not what its hash was made of")
		return f
	}
	e, err := ParseEntry(row.Body)
	if err != nil {
		f.err = err
		return f
	}
	request := row.Request
	if f.columns = row.Columns; !row.Derived {
		if f.columns, request, err = ScanBody(row.Body); err != nil {
			f.err = err
			return f
		}
	}
	switch {
	case f.columns != row.Columns:
		f.err = fmt.Errorf("its columns, which queries look at, do not follow from its body")
	case request != row.Request:
		f.err = fmt.Errorf("the hash of its request does not follow from its body")
	}
	var data any
	switch e.Kind {
	case KeyRotation:
		f.rotation = &Rotation{}
		data = f.rotation
	case Sealed:
		f.seal = &Seal{}
		data = f.seal
	default:
		return f
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		f.err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return f
}
