package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/mirror"
	"github.com/westworld-charter/charter/internal/witness"
)

// near is a server without a network between: everything crosses it as JSON.
type near struct {
	t    testing.TB
	m    *mirror.Mirrors
	node string
	lose bool // the next answer
	sent int
}

func (n *near) Held(context.Context) (uint64, error) {
	st, _ := n.m.Status(n.node)
	return st.Size, nil
}

func (n *near) Extend(ctx context.Context, u mirror.Upload) (mirror.Status, error) {
	wire, err := json.Marshal(u)
	if err != nil {
		n.t.Fatal(err)
	}
	back, err := mirror.ParseUpload(wire)
	if err != nil {
		n.t.Fatal(err)
	}
	n.sent++
	st, err := n.m.Extend(ctx, n.node, back)
	if err == nil && n.lose {
		n.lose = false
		return st, errors.New("connection reset")
	}
	return st, err
}

func (n *near) Cosigned(ctx context.Context, c mirror.Cosignature) error {
	_, err := n.m.Cosigned(ctx, n.node, c)
	return err
}

type world struct {
	dir    string
	events []mirror.Event
	own    *ledger.Log
	ownKey ledger.Signer
}

func newWorld(t *testing.T) *world {
	w := &world{dir: t.TempDir(), ownKey: ledgertest.NewSigner(t)}
	w.own = ledgertest.NewLog(t, nil, w.ownKey, nil)
	ledgertest.Append(t, w.own, 3)
	return w
}

func (w *world) open(t *testing.T) *mirror.Mirrors {
	t.Helper()
	m, err := mirror.Open(mirror.Options{
		Dir: w.dir, Own: w.own.Reader(), OwnKeys: func() ledger.Keys { return ledgertest.Keys(t, w.ownKey) },
		Record: func(_ context.Context, e mirror.Event) { w.events = append(w.events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func pusher(l *ledger.Log, s ledger.Signer, to mirror.Server) *mirror.Pusher {
	return &mirror.Pusher{Ledger: l.Reader, Key: s.VerifierKey, Server: to}
}

func push(t *testing.T, p *mirror.Pusher) uint64 {
	t.Helper()
	n, err := p.Push(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func code(t *testing.T, err error) string {
	t.Helper()
	e, ok := errors.AsType[*mirror.Error](err)
	if !ok {
		t.Fatalf("%v is not an Error", err)
	}
	return e.Code
}

// What a node did can be proved after the node is gone: the copy is read with the tools
// for any ledger, also after lost answers and a restart of the server.
func TestCopyOutlivesTheNode(t *testing.T) {
	w := newWorld(t)
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	m := w.open(t)
	s := &near{t: t, m: m, node: "edge/../1"}
	p := pusher(l, signer, s)
	if n := push(t, p); n != 0 || s.sent != 0 {
		t.Errorf("of an empty ledger %d entries were sent", n)
	}
	ledgertest.Append(t, l, 300)
	s.lose = true
	if _, err := p.Push(t.Context()); err == nil {
		t.Error("a lost answer is no success")
	}
	if n := push(t, p); n != 300 {
		t.Errorf("the server holds %d entries, want 300", n)
	}
	sent := s.sent
	if push(t, p); s.sent != sent+1 && s.sent != sent {
		t.Errorf("%d uploads with nothing new", s.sent-sent)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = w.open(t)
	s.m = m
	if st, _ := m.Status(s.node); st.Size != 300 || st.Origin != ledgertest.Origin {
		t.Errorf("after a restart: %+v", st)
	}
	ledgertest.Append(t, l, 20)
	if n := push(t, pusher(l, signer, s)); n != 320 {
		t.Errorf("the server holds %d entries, want 320", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	dirs, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d.IsDir() {
			audit(t, filepath.Join(w.dir, d.Name()), 320)
		}
	}
	if len(w.events) != 1 || w.events[0].Action != mirror.Began {
		t.Errorf("events %+v, want one that it began", w.events)
	}
}

// audit reads a copy as charter-admin does.
func audit(t *testing.T, dir string, size uint64) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(string(key[:len(key)-1]))
	if err != nil {
		t.Fatal(err)
	}
	store, err := ledgerdb.OpenSQLite(t.Context(), filepath.Join(dir, "ledger"), ledgerdb.SQLiteOptions{ReadOnly: true, MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	report, err := ledger.Verify(t.Context(), store, ledger.VerifyOptions{Keys: ledger.Keys{Origin: v.Name(), Log: []note.Verifier{v}}})
	if err != nil || report.Size != size {
		t.Fatalf("the copy has %d entries (%v), want %d", report.Size, err, size)
	}
}

// Whoever puts back the disk of a node to hide a denial is found out, and the proof of
// two histories is kept.
func TestRollbackAndForkAreFoundOut(t *testing.T) {
	w := newWorld(t)
	signer := ledgertest.NewSigner(t)
	m := w.open(t)
	defer m.Close()
	s := &near{t: t, m: m, node: "edge-1"}
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 5)
	push(t, pusher(l, signer, s))

	restored := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, restored, 4)
	_, err := pusher(restored, signer, s).Push(t.Context())
	if got := code(t, err); got != mirror.CodeForked { // its times differ: another history
		t.Errorf("code %s", got)
	}
	st, _ := m.Status("edge-1")
	if st.Fault == nil || st.Fault.Held == "" || st.Fault.Shown == "" || st.Size != 5 {
		t.Fatalf("no proof is kept: %+v", st)
	}
	// Not even the old history goes on by itself: a person has to look.
	ledgertest.Append(t, l, 1)
	_, err = pusher(l, signer, s).Push(t.Context())
	if got := code(t, err); got != mirror.CodeForked {
		t.Errorf("code %s", got)
	}
	if len(w.events) != 2 || w.events[1].Action != mirror.Faulted || w.events[1].Status.Fault.Code != mirror.CodeForked {
		t.Errorf("events %+v", w.events)
	}
}

func TestDivergedRecovers(t *testing.T) {
	w := newWorld(t)
	signer := ledgertest.NewSigner(t)
	m := w.open(t)
	defer m.Close()
	s := &near{t: t, m: m, node: "edge-1"}
	l, other := ledgertest.NewLog(t, nil, signer, nil), ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 2)
	push(t, pusher(l, signer, s))
	ledgertest.Append(t, other, 5)
	for range 2 {
		_, err := pusher(other, signer, s).Push(t.Context())
		if got := code(t, err); got != mirror.CodeDiverged {
			t.Errorf("code %s", got)
		}
	}
	ledgertest.Append(t, l, 1)
	push(t, pusher(l, signer, s))
	if st, _ := m.Status("edge-1"); st.Fault != nil || len(w.events) != 3 || w.events[2].Action != mirror.Recovered {
		t.Errorf("status %+v, events %+v", st, w.events)
	}
}

func TestKeysArePinned(t *testing.T) {
	w := newWorld(t)
	signer, thief := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	m := w.open(t)
	defer m.Close()
	s := &near{t: t, m: m, node: "edge-1"}
	l, forged := ledgertest.NewLog(t, nil, signer, nil), ledgertest.NewLog(t, nil, thief, nil)
	ledgertest.Append(t, l, 2)
	ledgertest.Append(t, forged, 4)
	push(t, pusher(l, signer, s))
	_, err := pusher(forged, thief, s).Push(t.Context())
	if got := code(t, err); got != mirror.CodeKeyMismatch {
		t.Errorf("another key: %s", got)
	}
	// The node hands over by an entry that both keys sign.
	next := ledgertest.NewSigner(t)
	if _, err := l.Rotate(t.Context(), next, "tester"); err != nil {
		t.Fatal(err)
	}
	ledgertest.Append(t, l, 2)
	if n := push(t, pusher(l, signer, s)); n != l.Stats().Size {
		t.Errorf("%d entries", n)
	}
	if _, err := pusher(l, next, s).Push(t.Context()); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

// A server that shows nodes another ledger than auditors is found out by the nodes.
func TestNodesWatchTheServer(t *testing.T) {
	w := newWorld(t)
	signer := ledgertest.NewSigner(t)
	m := w.open(t)
	defer m.Close()
	s := &near{t: t, m: m, node: "edge-1"}
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 1)

	secret, public, err := witness.GenerateKey("edge-1/witness")
	if err != nil {
		t.Fatal(err)
	}
	key, err := witness.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ledger.VerifierOf(w.ownKey)
	if err != nil {
		t.Fatal(err)
	}
	wit, err := witness.Open(witness.Options{Dir: t.TempDir(), Signer: key, Logs: []note.Verifier{own}})
	if err != nil {
		t.Fatal(err)
	}
	defer wit.Close()
	watcher := &mirror.Watcher{Ledger: w.own.Reader(), Witness: wit, Key: public, Server: s}
	if _, err := watcher.Watch(t.Context()); code(t, err) != mirror.CodeKeyMismatch {
		t.Errorf("a node without a copy: %v", err)
	}
	push(t, pusher(l, signer, s))
	for range 2 {
		if n, err := watcher.Watch(t.Context()); n != 3 || err != nil {
			t.Fatalf("cosigned %d: %v", n, err)
		}
		if st, _ := m.Status("edge-1"); st.Cosigned != 3 || st.Witness != public {
			t.Errorf("status %+v", st)
		}
	}
	ledgertest.Append(t, w.own, 4)
	if n, err := watcher.Watch(t.Context()); n != 7 || err != nil {
		t.Fatalf("cosigned %d: %v", n, err)
	}
	fork := ledgertest.NewLog(t, nil, w.ownKey, nil)
	ledgertest.Append(t, fork, 9)
	liar := &mirror.Watcher{Ledger: fork.Reader(), Witness: wit, Key: public, Server: s}
	if _, err := liar.Watch(t.Context()); !errors.Is(err, witness.ErrInconsistent) {
		t.Errorf("another history: %v", err)
	}
	// And the server finds out that its key signs another ledger elsewhere.
	checkpoint, err := fork.Reader().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := witness.Open(witness.Options{Dir: t.TempDir(), Signer: key, Logs: []note.Verifier{own}})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	cosigned, err := stranger.Cosign(t.Context(), 0, checkpoint, nothing)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Cosigned(t.Context(), "edge-1", mirror.Cosignature{Key: public, Checkpoint: string(cosigned)})
	if got := code(t, err); got != mirror.CodeForked {
		t.Errorf("code %s", got)
	}
}

func nothing() (tlog.TreeProof, error) { return nil, nil }

func FuzzParseUpload(f *testing.F) {
	f.Add([]byte(`{"key":"x+1+AA==","extension":{"from":0,"entries":[{"kind":"denial"}],"checkpoint":"x\n1\nAAAA\n\n"}}`))
	f.Add([]byte(`{"key":"x+1+AA==","extension":{"from":0,"entries":[{}],"checkpoint":""},"more":[{"from":1,"entries":[{}],"checkpoint":""}]}`))
	m, err := mirror.Open(mirror.Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := mirror.ParseUpload(data)
		if err != nil {
			return
		}
		if _, err := m.Extend(t.Context(), "edge-1", u); err == nil {
			t.Error("nobody signed that")
		}
	})
}

func FuzzParseCosignature(f *testing.F) {
	f.Add([]byte(`{"key":"x+1+AA==","checkpoint":"x\n1\nAAAA\n\n"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := mirror.ParseCosignature(data)
		if err != nil {
			return
		}
		wire, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := mirror.ParseCosignature(wire); err != nil || back != c {
			t.Errorf("%+v came back as %+v: %v", c, back, err)
		}
	})
}

// What was never taken pins nothing: after an upload that was refused, the first that is
// in order is the node's, whatever key the refused one named.
func TestARefusedStrangerPinsNothing(t *testing.T) {
	w := newWorld(t)
	m := w.open(t)
	defer m.Close() //nolint:errcheck // only read
	signer, stranger := ledgertest.NewSigner(t), ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, 2)
	x, err := l.Reader().Since(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Extend(t.Context(), "edge-1", mirror.Upload{Key: stranger.VerifierKey(), Extension: x}); code(t, err) != mirror.CodeKeyMismatch {
		t.Errorf("signed by another key than it names: %v", err)
	}
	if _, err := m.Extend(t.Context(), "edge-1", mirror.Upload{Key: signer.VerifierKey(), Extension: x}); err != nil {
		t.Errorf("the node's own: %v", err)
	}
}
