package enforcement

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/committee/committeetest"
	"github.com/westworld-charter/charter/internal/ledger"
)

// errCrash is what a book gives that takes no more entries.
var errCrash = errors.New("the power is gone")

// book is a ledger in memory: entries have their canonical form, times never go back,
// and requests are there once.
type book struct {
	now func() time.Time

	mu       sync.Mutex
	rows     []ledger.Row
	requests map[[2]string]uint64
	last     time.Time
	room     int // how many entries it takes until the power is gone; negative: any number
}

func newBook(now func() time.Time) *book {
	return &book{now: now, requests: map[[2]string]uint64{}, room: -1}
}

func (b *book) AppendAll(_ context.Context, entries []ledger.Entry, _ ledger.Level) ([]ledger.Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	positions := make([]ledger.Position, len(entries))
	var failed []error
	for i, e := range entries {
		p, err := b.append(e)
		positions[i], failed = p, append(failed, err)
	}
	return positions, errors.Join(failed...)
}

func (b *book) append(e ledger.Entry) (ledger.Position, error) {
	if b.room == 0 {
		return ledger.Position{}, errCrash
	}
	if now := b.now(); now.After(b.last) {
		b.last = now
	}
	size := uint64(len(b.rows) + 1)
	e.Schema, e.Time = ledger.Schema, b.last.UTC().Format("2006-01-02T15:04:05.000000000Z")
	body, err := e.Body()
	if err != nil {
		return ledger.Position{}, err
	}
	columns, request, err := ledger.ScanBody(body)
	if err != nil {
		return ledger.Position{}, err
	}
	key := [2]string{e.Principal, e.RequestID}
	if at, known := b.requests[key]; known && request != [32]byte{} {
		if b.rows[at].Request != request {
			return ledger.Position{}, ledger.ErrConflict
		}
		return ledger.Position{Index: at, Size: size - 1, Duplicate: true}, nil
	}
	b.room--
	b.requests[key] = size - 1
	b.rows = append(b.rows, ledger.Row{Index: size - 1, Body: body, Hash: sha256.Sum256(body), Columns: columns, Request: request})
	return ledger.Position{Index: size - 1, Size: size}, nil
}

// takes sets how many entries it takes from now on; negative is any number.
func (b *book) takes(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room = n
}

func (b *book) Head(context.Context) (uint64, []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.rows)), nil, nil
}

func (b *book) Rows(_ context.Context, from, to uint64) iter.Seq2[ledger.Row, error] {
	b.mu.Lock()
	rows := b.rows[from:min(to, uint64(len(b.rows)))]
	b.mu.Unlock()
	return func(yield func(ledger.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (b *book) Find(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for row, err := range b.Rows(ctx, f.From, f.Before) {
			if f.Match(row.Columns, row.Body) && !yield(row, err) {
				return
			}
		}
	}
}

// kinds counts the entries of a kind.
func (b *book) kinds(kind ledger.Kind) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for i := range b.rows {
		if b.rows[i].Kind == kind {
			n++
		}
	}
	return n
}

// people are the members of a committee with their keys.
type people []*committee.Key

func newPeople(t testing.TB, n int) people {
	t.Helper()
	return committeetest.Keys(t, n)
}

// sign has the first n of them sign a request. What is missing in it is filled in.
func (all people) sign(t testing.TB, n int, now time.Time, r committee.Request) committee.Signed {
	t.Helper()
	if r.Charter == "" {
		r.Charter = "example"
	}
	return committeetest.Sign(t, now, r, all[:n]...)
}

// charterOf is a charter with a committee of people; escalation as production has it.
func charterOf(t testing.TB, all people, edit func(*charter.Charter)) *charter.Charter {
	t.Helper()
	text := `
apiVersion: charter/v1
kind: Charter
metadata: {name: example, version: 1.0.0}
access_levels: [public]
purposes: [operations, billing]
roles: [{name: node_operator, collects: ["*"], reads: ["*"]}]
metrics:
  network:
    - {id: net.latency, match: [latency], access: public, purposes: [operations], retention: 30d}
    - {id: net.core, match: [core], access: public, retention: 30d, protected: true}
forbidden:
  - {id: privacy.location, match: ["*location*"], severity: critical, violation: silent_collection, penalty: suspension, reason: r, protected: true}
  - {id: privacy.identity, match: ["*identity*"], severity: high, violation: data_extraction, reason: r}
escalation:
  - {level: 1, at: 1, within: 30d, action: warn, notify: [committee]}
  - {level: 2, at: 2, within: 30d, action: suspend, for: 24h, notify: [committee]}
  - {level: 3, at: 3, within: 30d, action: quarantine, restore: vote, notify: [committee]}
  - {level: 4, at: 5, within: 30d, action: refer, notify: [committee]}
emergency: {max: 4h, renew: 2h, quorum: 0.66, may: [retention, purposes]}
revocation: {export_window: 30d}
reports: {anonymous: true}
notify: [{name: committee, email: {to: [a@example.org]}}]
committee:
  quorum: {power: 0.66, heads: 2}
  members:
`
	for i, key := range all {
		text += fmt.Sprintf("    - {id: m%d, address: %q, power: 1}\n", i, key.Address().String())
	}
	c, findings := charter.Parse("charter.yaml", []byte(text))
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// world is an Enforcer with what is around it.
type world struct {
	t       testing.TB
	book    *book
	people  people
	charter *charter.Charter
	jump    time.Duration // of the wall clock
	e       *Enforcer
	mark    string

	mu      sync.Mutex
	doc     map[string]any
	notices []Notice
}

func newWorld(t testing.TB, edit func(*charter.Charter)) *world {
	w := &world{t: t, people: newPeople(t, 3)}
	w.charter = charterOf(t, w.people, edit)
	w.book = newBook(w.now)
	w.start()
	return w
}

func (w *world) now() time.Time { return time.Now().Add(w.jump).Round(0) }

// start begins anew with what is in the book.
func (w *world) start() {
	w.t.Helper()
	w.e = w.fresh()
	if err := w.e.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) fresh() *Enforcer {
	w.t.Helper()
	e, err := New(Options{
		Log: w.book, History: w.book, Now: w.now, Mark: w.mark,
		Charter: func() *charter.Charter { return w.charter },
		Publish: func(_ context.Context, state map[string]any) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.doc = state
			return nil
		},
		Announce: func(n Notice) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, n)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// run runs the Enforcer until the returned function is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.e.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// attemptOf is a denial that counts.
func attemptOf(node, clause string) ledger.Entry {
	return ledger.Entry{
		Kind: ledger.Denial, Metric: "gps_location", Node: node, Role: "node_operator", Operation: "collect", Outcome: "forbidden",
		Clause: clause, Severity: "critical", Mode: "enforce", Principal: "cert:" + node,
	}
}

const location = "privacy.location"

// deny records denials and has their consequences in force.
func (w *world) deny(entries ...ledger.Entry) {
	positions, err := w.book.AppendAll(w.t.Context(), entries, ledger.Durable)
	if err == nil {
		w.e.Denied(w.t.Context(), entries, positions)
	}
}

// attempts has nodes try to collect a location.
func (w *world) attempts(nodes ...string) {
	for _, node := range nodes {
		w.deny(attemptOf(node, location))
	}
}

// published is the standing of a node in the document that is in force.
func (w *world) published(node string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	rows, _ := w.doc["standing"].(map[string]any)
	row, _ := rows[node].(map[string]any)
	state, _ := row["state"].(string)
	if state == "" {
		return Good
	}
	return state
}

// expect compares the standing of a node, as known and as in force.
func (w *world) expect(node, want string) {
	w.t.Helper()
	if got := w.e.Node(node).Standing; got != want {
		w.t.Errorf("%s is %s, want %s", node, got, want)
	}
	if got := w.published(node); got != want {
		w.t.Errorf("%s is %s in the document in force, want %s", node, got, want)
	}
}

// memory is evidence in memory.
type memory struct{ kept map[string][]byte }

func (m memory) Put(_ context.Context, content []byte, mediaType string) (ledger.EvidenceRef, error) {
	hash := digest(rand.Text())
	m.kept[hash] = slices.Clone(content)
	return ledger.EvidenceRef{Hash: hash, Size: int64(len(content)), MediaType: mediaType}, nil
}

func (m memory) Get(_ context.Context, hash string) ([]byte, string, error) {
	return m.kept[hash], "text/plain", nil
}

func (m memory) Erase(_ context.Context, hash string) error {
	delete(m.kept, hash)
	return nil
}

// same tells what differs between two states, what is not folded aside.
func same(a, b *state) string {
	for _, x := range []struct {
		what string
		a, b any
	}{
		{"nodes", a.nodes, b.nodes},
		{"violations", a.violations, b.violations},
		{"cases", a.cases, b.cases},
		{"threads", a.threads, b.threads},
		{"overrides", a.overrides, b.overrides},
		{"waiting", a.waiting, b.waiting},
		{"owing", a.owing, b.owing},
		{"due", len(a.due), len(b.due)},
		{"listed", a.listed, b.listed},
		{"opened", a.opened, b.opened},
		{"declared", a.declared, b.declared},
		{"nonces", a.nonces, b.nonces},
		{"committee", a.committee, b.committee},
		{"ends", a.ends, b.ends},
		{"version", a.version, b.version},
		{"document", a.document(true), b.document(true)},
		{"lifts", a.lifts, b.lifts},
	} {
		if !reflect.DeepEqual(x.a, x.b) {
			return x.what
		}
	}
	return ""
}

// rebuilt is the state that follows from the book alone.
func (w *world) rebuilt() *state {
	w.t.Helper()
	s := newState()
	for _, row := range w.book.rows {
		if !matters(&row.Columns) {
			continue
		}
		ev, err := read(&row)
		if err != nil {
			w.t.Fatal(err)
		}
		s.apply(&ev)
	}
	return s
}

func (w *world) expectRebuilt() {
	w.t.Helper()
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	if diff := same(w.e.state, w.rebuilt()); diff != "" {
		w.t.Errorf("live and rebuilt differ: %s", diff)
	}
}

// pass lets time go by, in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }
