package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Backend is one ledger of a kind of store.
type Backend struct {
	// Open opens it, always the same one. The caller closes the store.
	Open func(t testing.TB, readOnly bool) ledger.Store
	// Tamper has ways to change what queries look at for an entry, but not its
	// body; by name. The store is closed meanwhile.
	Tamper map[string]func(t testing.TB, index uint64)
}

// Conformance checks that a kind of store is what [ledger.Store] says. Fresh
// returns an empty ledger of that kind.
func Conformance(t *testing.T, fresh func(t *testing.T) Backend) {
	for name, test := range map[string]func(*testing.T, Backend){
		"empty": empty, "rows": rowsAreKept, "outrun": outrun, "find": finds, "hostile texts": hostileTexts,
		"requests": requests, "checkpoints": checkpoints, "prune": prunes, "read only": readOnly,
		"concurrent readers": concurrentReaders, "cancelled": cancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
	t.Run("tamper", func(t *testing.T) {
		for name := range fresh(t).Tamper {
			t.Run(name, func(t *testing.T) { tampered(t, fresh(t), name) })
		}
	})
}

// built makes what a log would commit, without its proofs being true.
type built struct {
	t      testing.TB
	signer ledger.Signer
	now    time.Time
	rows   []ledger.Row // all that were made
	tiles  int
}

func newBuilt(t testing.TB) *built {
	return &built{t: t, signer: NewSigner(t), now: time.Date(2026, 1, 11, 12, 0, 0, 0, time.UTC)}
}

// row makes the next entry, a millisecond after the one before.
func (b *built) row(e ledger.Entry) ledger.Row {
	b.t.Helper()
	b.now = b.now.Add(time.Millisecond)
	e.Schema, e.Time = ledger.Schema, b.now.Format("2006-01-02T15:04:05.000000000Z")
	body, err := e.Body()
	if err != nil {
		b.t.Fatal(err)
	}
	row := ledger.Row{Index: uint64(len(b.rows)), Body: body, Hash: tlog.RecordHash(body)}
	if row.Columns, row.Request, err = ledger.ScanBody(body); err != nil {
		b.t.Fatal(err)
	}
	b.rows = append(b.rows, row)
	return row
}

// checkpoint signs a head of a size.
func (b *built) checkpoint(size uint64, salt string) []byte {
	b.t.Helper()
	text := fmt.Sprintf("%s\n%d\n%s\n", Origin, size, tlog.RecordHash([]byte(salt)))
	signed, err := note.Sign(&note.Note{Text: text}, b.signer)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed
}

// commit makes a commit of entries.
func (b *built) commit(entries ...ledger.Entry) ledger.Commit {
	b.t.Helper()
	c := ledger.Commit{From: uint64(len(b.rows))}
	for _, e := range entries {
		c.Rows = append(c.Rows, b.row(e))
	}
	size := uint64(len(b.rows))
	for uint64(b.tiles+1)*ledger.TileWidth <= size {
		data := bytes.Repeat([]byte{byte(b.tiles), byte(b.tiles >> 8), 1, 2}, ledger.TileWidth*tlog.HashSize/4)
		c.Tiles = append(c.Tiles, ledger.Tile{Level: 0, Index: uint64(b.tiles), Data: data})
		b.tiles++
	}
	c.Checkpoint = b.checkpoint(size, "")
	return c
}

// add commits entries.
func (b *built) add(s ledger.Store, entries ...ledger.Entry) ledger.Commit {
	b.t.Helper()
	c := b.commit(entries...)
	if err := s.Commit(context.Background(), c); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// fill commits many different entries, some at a time.
func (b *built) fill(s ledger.Store, count int) {
	b.t.Helper()
	kinds := ledger.Kinds()
	for n, step := 0, 1; n < count; n, step = n+step, step%97+13 {
		var entries []ledger.Entry
		for i := n; i < min(n+step, count); i++ {
			e := Denial(i)
			switch {
			case i%10 == 3:
				e = ledger.Entry{Kind: kinds[i/10%len(kinds)]}
			case i%10 == 7:
				e.Severity, e.Outcome, e.Clause = "low", "denied", "default"
			}
			if i%4 == 0 {
				e.Principal, e.RequestID = fmt.Sprintf("token:%d", i%5), fmt.Sprintf("request-%d", i)
			}
			entries = append(entries, e)
		}
		b.add(s, entries...)
	}
}

func collect(t testing.TB, all iter.Seq2[ledger.Row, error]) (rows []ledger.Row) {
	t.Helper()
	for row, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// same compares rows, their bytes included.
func same(t testing.TB, what string, got, want []ledger.Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Index != w.Index || g.Hash != w.Hash || g.Columns != w.Columns || g.Request != w.Request || !bytes.Equal(g.Body, w.Body) {
			t.Errorf("%s: row %d is\n%+v\nwant\n%+v", what, i, g, w)
			return
		}
	}
}

func closed(t testing.TB, closers ...io.Closer) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func empty(t *testing.T, b Backend) {
	ctx := context.Background()
	s := b.Open(t, false)
	if size, signed, err := s.Head(ctx); size != 0 || signed != nil || err != nil {
		t.Errorf("head: %d, %q, %v", size, signed, err)
	}
	same(t, "rows", collect(t, s.Rows(ctx, 0, math.MaxUint64)), nil)
	same(t, "find", collect(t, s.Find(ctx, ledger.Filter{Node: "edge-1", Newest: true})), nil)
	_, err := s.Tile(ctx, 0, 0)
	is(t, "tile", err, ledger.ErrNotFound)
	_, err = s.Witnessed(ctx, 0)
	is(t, "witnessed", err, ledger.ErrNotFound)
	_, _, err = s.Request(ctx, "a", "b")
	is(t, "request", err, ledger.ErrNotFound)
	for range s.Checkpoints(ctx, 0) {
		t.Error("there is a checkpoint")
	}
	if first, err := s.Reconcile(ctx); first != 0 || err != nil {
		t.Errorf("reconcile: %d, %v", first, err)
	}
	if err := errors.Join(s.Probe(ctx), s.Prune(ctx, 0)); err != nil {
		t.Error(err)
	}
	closed(t, s)
}

func rowsAreKept(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 1500)
	check := func(s ledger.Store) {
		t.Helper()
		size, signed, err := s.Head(ctx)
		if err != nil || size != 1500 || !bytes.Equal(signed, build.checkpoint(1500, "")) {
			t.Errorf("head: %d, %q, %v", size, signed, err)
		}
		for _, r := range [][2]uint64{{0, math.MaxUint64}, {0, 1500}, {0, 1}, {1499, 1500}, {1499, 1600}, {700, 1201}, {256, 256}, {9, 3}, {1500, 1501}, {1 << 40, math.MaxUint64}} {
			want := build.rows[min(r[0], 1500):min(max(r[0], r[1]), 1500)]
			same(t, fmt.Sprint("rows ", r), collect(t, s.Rows(ctx, r[0], r[1])), want)
		}
		for range s.Rows(ctx, 0, 1500) {
			break // reading may end early
		}
		for i := range build.tiles {
			data, err := s.Tile(ctx, 0, uint64(i))
			if err != nil || len(data) != 8192 || data[0] != byte(i) {
				t.Errorf("tile %d: %d bytes, %v", i, len(data), err)
			}
		}
		for _, at := range [][2]int{{0, build.tiles}, {1, 0}, {63, 0}, {-1, 0}} {
			_, err := s.Tile(ctx, at[0], uint64(at[1]))
			is(t, fmt.Sprint("tile ", at), err, ledger.ErrNotFound)
		}
		if first, err := s.Reconcile(ctx); first != 1500 || err != nil {
			t.Errorf("reconcile: %d, %v", first, err)
		}
	}
	check(s)
	closed(t, s)
	s = b.Open(t, false)
	check(s)
	closed(t, s)
	s = b.Open(t, true)
	check(s)
	closed(t, s)
}

func outrun(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 300)
	before := len(build.rows)
	good := build.commit(Denial(1), Denial(2))
	for _, from := range []uint64{0, 299, 301, 1 << 40} {
		bad := good
		bad.From = from
		is(t, fmt.Sprint("commit from ", from), s.Commit(ctx, bad), ledger.ErrOutrun)
		is(t, fmt.Sprint("cosigned from ", from), s.Commit(ctx, ledger.Commit{From: from, Witnessed: build.checkpoint(10, "w")}), ledger.ErrOutrun)
	}
	is(t, "cosigned ahead", s.Commit(ctx, ledger.Commit{From: 300, Witnessed: build.checkpoint(301, "w")}), ledger.ErrOutrun)
	same(t, "rows", collect(t, s.Rows(ctx, 0, 1000)), build.rows[:before])
	_, err := s.Witnessed(ctx, 0)
	is(t, "witnessed", err, ledger.ErrNotFound)
	if err := s.Commit(ctx, good); err != nil {
		t.Error(err)
	}
	same(t, "rows", collect(t, s.Rows(ctx, 0, 1000)), build.rows)
	closed(t, s)
}

func finds(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	build.fill(s, 1200)
	for round := range 2 {
		for i, f := range filters(build) {
			same(t, fmt.Sprintf("round %d, filter %d %+v", round, i, f), collect(t, s.Find(ctx, f)), build.find(f))
		}
		for range s.Find(ctx, ledger.Filter{Node: "edge-1"}) {
			break
		}
		closed(t, s) // what was not in an index is now
		s = b.Open(t, round == 0)
	}
	closed(t, s)
}

// find is what Find should return.
func (b *built) find(f ledger.Filter) (found []ledger.Row) {
	rows := slices.Clone(b.rows)
	if f.Newest {
		slices.Reverse(rows)
	}
	for _, row := range rows {
		if row.Index >= f.From && (f.Before == 0 || row.Index < f.Before) && (f.Limit == 0 || len(found) < f.Limit) && f.Match(row.Columns, row.Body) {
			found = append(found, row)
		}
	}
	return found
}

func filters(b *built) (list []ledger.Filter) {
	at := func(i int) time.Time { return time.Unix(0, b.rows[i].Time).UTC() }
	single := []ledger.Filter{
		{},
		{Node: "edge-8"},
		{Node: "nowhere"},
		{Metric: "node_gps_fix_8"},
		{Clause: "default"},
		{Outcome: "denied"},
		{Severities: []string{"low"}},
		{Severities: []string{"low", "critical", "none"}},
		{Kinds: []ledger.Kind{ledger.Denial}},
		{Kinds: []ledger.Kind{ledger.Gap}},
		{Kinds: []ledger.Kind{ledger.Sealed, ledger.KeyRotation}},
		{Kinds: []ledger.Kind{ledger.Denial, ledger.Gap}},
		{Kinds: []ledger.Kind{"of-the-future"}},
		{Text: "NODE_GPS_FIX_1"},
		{Text: "\"default\"", Node: "edge-7"},
		{Node: "edge-8", Metric: "node_gps_fix_8"},
		{Node: "edge-8", Metric: "node_gps_fix_9"},
		{Since: at(0)},
		{Since: at(500)},
		{Since: at(500).Add(1)},
		{Until: at(500)},
		{Until: at(0)},
		{Since: at(1199)},
		{Since: at(1199).Add(1)},
		{Until: at(1199).Add(time.Hour)},
		{Since: at(0).Add(-time.Hour)},
		{Since: at(300), Until: at(900), Node: "edge-28"},
		{Since: at(900), Until: at(300)},
		{Since: at(10), Until: at(11)},
		{From: 700},
		{Before: 50},
		{From: 100, Before: 300, Node: "edge-28"},
		{From: 1200},
		{From: math.MaxUint64},
		{Before: math.MaxUint64},
		{From: 9, Before: 9},
	}
	for _, f := range single {
		for _, limit := range []int{0, 1, 2, 300} {
			for _, newest := range []bool{false, true} {
				f.Limit, f.Newest = limit, newest
				list = append(list, f)
			}
		}
	}
	return list
}

// hostileTexts are what callers may send, and what a database may choke on.
func hostileTexts(t *testing.T, b Backend) {
	ctx := context.Background()
	build := newBuilt(t)
	s := b.Open(t, false)
	texts := []string{
		"nul\x00byte", strings.Repeat("x", 5000), strings.Repeat("long and not the same ", 2900) + "1", strings.Repeat("long and not the same ", 2900) + "2",
		"quote'\"\\;--", "Ünïcödé \u2028 \U0001F512", " ", "%_*", "'); DROP TABLE entries; --", "\ufeff", "\\x00", "NULL",
	}
	for _, text := range texts {
		build.add(s, ledger.Entry{Kind: ledger.Denial, Metric: text}, ledger.Entry{Kind: ledger.Violation, Node: text}, ledger.Entry{Kind: ledger.Kind(text)})
		if len(text) < 10_000 {
			build.add(s, ledger.Entry{Kind: ledger.Violation, Clause: text, Outcome: text, Severity: text, Principal: text, RequestID: text})
		}
	}
	largest := ledger.Entry{Kind: ledger.Denial, Node: "large"}
	body := build.row(largest).Body
	build.rows = build.rows[:len(build.rows)-1]
	largest.Role = strings.Repeat("r", ledger.MaxBody-len(body)-len(`,"role":""`))
	for range 70 { // more than one batch of reading
		build.add(s, largest)
	}
	for _, text := range texts {
		for _, f := range []ledger.Filter{{Metric: text}, {Node: text}, {Kinds: []ledger.Kind{ledger.Kind(text)}}, {Clause: text}, {Outcome: text}, {Severities: []string{text}}} {
			same(t, fmt.Sprintf("%.20q", text), collect(t, s.Find(ctx, f)), build.find(f))
		}
	}
	same(t, "large", collect(t, s.Find(ctx, ledger.Filter{Node: "large", Newest: true})), build.find(ledger.Filter{Node: "large", Newest: true}))
	for _, row := range build.rows {
		if row.Request != [32]byte{} {
			if hash, index, err := s.Request(ctx, row.Principal, row.RequestID); hash != row.Request || index != row.Index || err != nil {
				t.Errorf("request %.20q: %d, %v", row.RequestID, index, err)
			}
		}
	}
	same(t, "rows", collect(t, s.Rows(ctx, 0, 1000)), build.rows)
	if first, err := s.Reconcile(ctx); first != uint64(len(build.rows)) || err != nil {
		t.Errorf("reconcile: %d, %v", first, err)
	}
	closed(t, s)
}
