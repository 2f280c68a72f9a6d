package ledgerclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// ahead is how many bundles are asked for before they are needed.
const ahead = 8

// Head returns the size and the checkpoint that the server shows.
func (c *Client) Head(ctx context.Context) (uint64, []byte, error) {
	signed, err := c.get(ctx, "/checkpoint")
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, nil, fmt.Errorf("%w: the server has no ledger, or an empty one", err)
	}
	if err != nil {
		return 0, nil, err
	}
	_, size, _, err := ledger.ParseCheckpoint(signed)
	return size, signed, err
}

// Tile returns a full tile.
func (c *Client) Tile(ctx context.Context, level int, index uint64) ([]byte, error) {
	return c.tile(ctx, level, index, ledger.TileWidth)
}

func (c *Client) tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	data, err := c.get(ctx, "/"+ledger.TilePath{Level: level, Index: index, Width: width}.String())
	if err == nil && len(data) != width*tlog.HashSize {
		err = fmt.Errorf("%w: tile %d of level %d has %d bytes", ledger.ErrDamaged, index, level, len(data))
	}
	return data, err
}

// Rows visits entries in order.
func (c *Client) Rows(ctx context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		size, _, err := c.Head(ctx)
		if err != nil {
			yield(ledger.Row{}, err)
			return
		}
		to := min(to, size)
		type answer struct {
			rows []ledger.Row
			err  error
		}
		var coming []chan answer
		for next := from / ledger.TileWidth; ; next++ {
			if next*ledger.TileWidth < to {
				one := make(chan answer, 1)
				coming = append(coming, one)
				go func() {
					rows, err := c.bundle(ctx, next, size)
					one <- answer{rows, err}
				}()
				if len(coming) < ahead {
					continue
				}
			}
			if len(coming) == 0 {
				return
			}
			got := <-coming[0]
			coming = coming[1:]
			for _, row := range got.rows {
				if row.Index >= from && row.Index < to && !yield(row, nil) {
					return
				}
			}
			if got.err != nil {
				yield(ledger.Row{}, got.err)
				return
			}
		}
	}
}

// bundle reads the entries of a tile. Where some were pruned there is no bundle:
// then hashes and what is left are read.
func (c *Client) bundle(ctx context.Context, index, size uint64) ([]ledger.Row, error) {
	first := index * ledger.TileWidth
	width := int(min(size-first, ledger.TileWidth))
	data, err := c.get(ctx, "/"+ledger.TilePath{Entries: true, Index: index, Width: width}.String())
	if errors.Is(err, ledger.ErrNotFound) {
		return c.remains(ctx, index, width)
	}
	if err != nil {
		return nil, err
	}
	bodies, err := ledger.ParseBundle(data)
	if err == nil && len(bodies) != width {
		err = fmt.Errorf("%w: %d entries, expected %d", ledger.ErrMalformed, len(bodies), width)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %d: %w", index, err)
	}
	rows := make([]ledger.Row, len(bodies))
	for i, body := range bodies {
		rows[i] = rowOf(first+uint64(i), body)
	}
	return rows, nil
}

// rowOf makes a row of a body. One from which nothing follows is for others to
// judge.
func rowOf(index uint64, body []byte) ledger.Row {
	row := ledger.Row{Index: index, Body: body, Hash: tlog.RecordHash(body)}
	var err error
	if row.Columns, row.Request, err = ledger.ScanBody(body); err != nil {
		row.Columns, row.Request = ledger.Columns{}, [32]byte{}
	}
	return row
}

func (c *Client) remains(ctx context.Context, index uint64, width int) ([]ledger.Row, error) {
	first := index * ledger.TileWidth
	hashes, err := c.tile(ctx, 0, index, width)
	if err != nil {
		return nil, err
	}
	rows := make([]ledger.Row, width)
	for i := range rows {
		rows[i].Index = first + uint64(i)
		copy(rows[i].Hash[:], hashes[i*tlog.HashSize:])
	}
	for row, err := range c.Find(ctx, ledger.Filter{From: first, Before: first + uint64(width)}) {
		if err != nil {
			return nil, err
		}
		rows[row.Index-first] = row
	}
	return rows, nil
}

// maxPage is the largest page that the server makes.
const maxPage = 1000

// Find visits the entries that the server finds.
func (c *Client) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		from, before, found := f.From, f.Before, 0
		for {
			limit := maxPage
			if f.Limit > 0 {
				limit = min(limit, f.Limit-found)
			}
			rows, more, err := c.page(ctx, query(f, from, before, limit))
			for _, row := range rows {
				if row.Index < from || before > 0 && row.Index >= before {
					yield(ledger.Row{}, fmt.Errorf("%w: the server answers entry %d to a search from %d to %d", ledger.ErrDamaged, row.Index, from, before))
					return
				}
				if !yield(row, nil) {
					return
				}
				if found++; found == f.Limit {
					return
				}
				if f.Newest {
					before = row.Index
				} else {
					from = row.Index + 1
				}
			}
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			if !more || len(rows) == 0 || f.Newest && before == 0 {
				return
			}
		}
	}
}

func query(f ledger.Filter, from, before uint64, limit int) string {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	for _, kind := range f.Kinds {
		q.Add("kind", string(kind))
	}
	for _, severity := range f.Severities {
		q.Add("severity", severity)
	}
	for name, value := range map[string]string{"node": f.Node, "metric": f.Metric, "clause": f.Clause, "outcome": f.Outcome, "text": f.Text} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, index := range map[string]uint64{"from": from, "before": before} {
		if index > 0 {
			q.Set(name, strconv.FormatUint(index, 10))
		}
	}
	if f.Newest {
		q.Set("order", "newest")
	}
	return q.Encode()
}

func (c *Client) page(ctx context.Context, query string) (rows []ledger.Row, more bool, err error) {
	data, err := c.get(ctx, "/entries?"+query)
	if err != nil {
		return nil, false, err
	}
	var page struct {
		Entries []struct {
			Index uint64
			CID   string
			Entry json.RawMessage
		}
		Next string
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, false, fmt.Errorf("search: %w", err)
	}
	for _, e := range page.Entries {
		if ledger.CID(e.Entry) != e.CID {
			return rows, false, fmt.Errorf("%w: the server answers entry %d with another address", ledger.ErrDamaged, e.Index)
		}
		rows = append(rows, rowOf(e.Index, e.Entry))
	}
	return rows, page.Next != "", nil
}

// Witnessed returns the checkpoint of a receipt: it is the first one with
// cosignatures over the entry if there is any.
func (c *Client) Witnessed(ctx context.Context, from uint64) ([]byte, error) {
	text, err := c.get(ctx, "/receipt/"+strconv.FormatUint(max(from, 1)-1, 10))
	if err != nil {
		return nil, err
	}
	p, err := ledger.ParseProof(text)
	if err != nil {
		return nil, err
	}
	if _, size, _, err := ledger.ParseCheckpoint(p.Checkpoint); err != nil || size < from {
		return nil, fmt.Errorf("%w: a receipt with another checkpoint", errors.Join(ledger.ErrDamaged, err))
	}
	if bytes.Count(p.Checkpoint, []byte("\n— ")) < 2 {
		return nil, fmt.Errorf("witnessed checkpoint from size %d: %w", from, ledger.ErrNotFound)
	}
	return p.Checkpoint, nil
}

// Checkpoints visits the latest checkpoint with cosignatures that can be found and
// the head.
func (c *Client) Checkpoints(ctx context.Context, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		size, head, err := c.Head(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		var latest []byte
		end := uint64(0) // size of latest
		// Whether there is one of a size or more is monotone in the size.
		for low, high := from, size+1; low < high; {
			middle := low + (high-low)/2
			signed, err := c.Witnessed(ctx, middle)
			if errors.Is(err, ledger.ErrNotFound) {
				high = middle
				continue
			}
			if err == nil {
				_, end, _, err = ledger.ParseCheckpoint(signed)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			latest, low = signed, end+1
		}
		if latest != nil && end < size && !yield(latest, nil) {
			return
		}
		if end >= size && latest != nil {
			head = latest
		}
		if size >= from {
			yield(head, nil)
		}
	}
}
