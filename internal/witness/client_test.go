package witness

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// policyOf is a policy of witnesses w0, w1, ... at URLs, of which need are enough.
func policyOf(t *testing.T, need int, urls map[*Signer]string, order ...*Signer) *Policy {
	t.Helper()
	var b strings.Builder
	var names []string
	for i, s := range order {
		names = append(names, fmt.Sprintf("w%d", i))
		fmt.Fprintf(&b, "witness w%d %s %s\n", i, s.VerifierKey(), urls[s])
	}
	fmt.Fprintf(&b, "group all-of-them %d %s\nquorum all-of-them\n", need, strings.Join(names, " "))
	p, err := ParsePolicy([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ring is a log with some witnesses.
type ring struct {
	servers []*Server
	signers []*Signer
	urls    map[*Signer]string
}

func newRing(t *testing.T, l *history, n int) *ring {
	t.Helper()
	r := &ring{urls: map[*Signer]string{}}
	for i := range n {
		s := newServer(t, fmt.Sprintf("w.example/%d", i), l)
		r.servers = append(r.servers, s)
		r.signers = append(r.signers, s.Signer)
		r.urls[s.Signer] = serve(t, s.Handler())
	}
	return r
}

func (r *ring) client(t *testing.T, l *history, need int, change func(*ClientOptions)) *Client {
	t.Helper()
	o := ClientOptions{
		Policy: policyOf(t, need, r.urls, r.signers...), Origin: origin, Keys: []note.Verifier{l.verifier()},
		Timeout: 10 * time.Second, Grace: 10 * time.Second, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cosign asks for size, believing that witnesses know old.
func cosign(t *testing.T, c *Client, l *history, old, size int64) ([]byte, error) {
	t.Helper()
	return c.Cosign(t.Context(), uint64(old), func(from uint64) (tlog.TreeProof, error) { return l.proof(int64(from), size), nil }, l.sign(size))
}

func (r *ring) verifiers() (list []note.Verifier) {
	for _, s := range r.signers {
		list = append(list, s.Verifier())
	}
	return list
}

func TestCosign(t *testing.T) {
	l := newHistory(t).to(100, "a")
	r := newRing(t, l, 3)
	c := r.client(t, l, 2, nil)
	for i, size := range []int64{5, 5, 17, 100} {
		// Whatever is believed, witnesses say what they hold.
		signed, err := cosign(t, c, l, []int64{0, 3, 17, 99}[i], size)
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(signed, note.VerifierList(append(r.verifiers(), l.verifier())...))
		if err != nil || len(n.Sigs) != 4 || len(n.UnverifiedSigs) != 0 {
			t.Fatalf("%v: %s", err, signed)
		}
		keys := ledger.Keys{Origin: origin, Log: []note.Verifier{l.verifier()}, Witnesses: r.verifiers()}
		if cp, err := keys.OpenCheckpoint(signed); err != nil || len(cp.Witnesses) != 3 || cp.Size != uint64(size) {
			t.Errorf("%+v, %v", cp, err)
		}
	}
	for _, s := range c.Status() {
		if s.Size != 100 || s.Problem != "" || s.Cosigned.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	// A client that knows nothing, as after a restart.
	if _, err := cosign(t, r.client(t, l, 3, nil), l, 0, 100); err != nil {
		t.Error(err)
	}
}

// A witness that is down or says nonsense costs its own cosignature alone.
func TestBadWitnesses(t *testing.T) {
	l := newHistory(t).to(40, "a")
	stranger := newServer(t, "w.example/1", l) // the name of another, and not its key
	answer := func(status int, media, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, h := range map[string]http.Handler{
		"error":            answer(500, "text/plain", "boom"),
		"redirect":         http.RedirectHandler("https://example.org/", http.StatusTemporaryRedirect),
		"nothing":          answer(200, "text/plain", ""),
		"garbage":          answer(200, "text/plain", "— w.example/1 AAAAAAAA\n"),
		"another text":     answer(200, "text/plain", "more\n\n— w.example/1 AAAAAAAA\n"),
		"another's":        stranger.Handler(),
		"huge":             answer(200, "text/plain", strings.Repeat("x", maxAnswer+1)),
		"liar ahead":       answer(409, sizeType, "1000000\n"),
		"liar, enormous":   answer(409, sizeType, "9223372036854775807\n"),
		"same size":        answer(409, sizeType, "0\n"),
		"no size":          answer(409, sizeType, "many\n"),
		"no newline":       answer(409, sizeType, "10"),
		"not a size":       answer(409, "text/plain", "10\n"),
		"unprocessable":    answer(422, "text/plain", "no"),
		"never the same":   counting(),
		"unknown log":      answer(404, "text/plain", ""),
		"not even a reply": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRing(t, l, 2)
			r.urls[r.signers[1]] = serve(t, h)
			signed, err := cosign(t, r.client(t, l, 1, func(o *ClientOptions) { o.HTTP = nil }), l, 0, 40)
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open(signed, note.VerifierList(append(r.verifiers(), l.verifier())...))
			if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
				t.Errorf("%v: %s", err, signed)
			}
			c := r.client(t, l, 2, func(o *ClientOptions) { o.HTTP = nil })
			signed, err = cosign(t, c, l, 0, 40)
			if _, fork := errors.AsType[*ForkError](err); !errors.Is(err, ledger.ErrNoQuorum) || fork || errors.Is(err, ledger.ErrBehind) {
				t.Errorf("%v", err)
			}
			if n, err := note.Open(signed, note.VerifierList(r.verifiers()...)); err != nil || len(n.Sigs) != 1 {
				t.Errorf("the cosignatures that there are get lost: %v", err)
			}
			if s := c.Status(); s[0].Problem != "" || s[1].Problem == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A witness that signs another text, of which ours is the beginning, has not
// cosigned ours.
func TestAnswerWithText(t *testing.T) {
	l := newHistory(t).to(4, "a")
	r := newRing(t, l, 1)
	text, _, _ := strings.Cut(string(l.sign(4)), "\n\n")
	more := text + "\n\nextension\n"
	at := uint64(time.Now().Unix())
	sig := append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, r.signers[0].id), at),
		ed25519.Sign(r.signers[0].key, cosigned([]byte(more), at))...)
	r.urls[r.signers[0]] = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "extension\n\n— w.example/0 %s\n", base64.StdEncoding.EncodeToString(sig))
	}))
	if signed, err := cosign(t, r.client(t, l, 1, nil), l, 0, 4); !errors.Is(err, ledger.ErrNoQuorum) || !strings.Contains(err.Error(), "more than signature lines") {
		t.Errorf("%v: %s", err, signed)
	}
}

// counting is a witness that claims another size every time.
func counting() http.Handler {
	sizes := make(chan int, 100)
	for i := range 100 {
		sizes <- i + 1
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", <-sizes)
	})
}

// Who hangs is waited for no longer than the grace once there are enough others,
// and no longer than the deadline when there are not.
func TestSlowWitness(t *testing.T) {
	l := newHistory(t).to(40, "a")
	r := newRing(t, l, 2)
	released := make(chan struct{})
	r.urls[r.signers[1]] = serve(t, http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
		released <- struct{}{}
	}))
	c := r.client(t, l, 1, func(o *ClientOptions) { o.Timeout, o.Grace = time.Minute, time.Millisecond })
	start := time.Now()
	if _, err := cosign(t, c, l, 0, 40); err != nil || time.Since(start) > 30*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	<-released // the request was given up, not left behind
	c = r.client(t, l, 2, func(o *ClientOptions) { o.Timeout = 50 * time.Millisecond })
	if _, err := cosign(t, c, l, 0, 40); !errors.Is(err, ledger.ErrNoQuorum) {
		t.Error(err)
	}
	<-released
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Cosign(ctx, 0, nil, l.sign(40)); !errors.Is(err, ledger.ErrNoQuorum) {
		t.Error(err)
	}
}

// Two branches of a log go to two witnesses; each branch is refused by the other
// witness, which keeps both checkpoints. The log is told that it has forked.
func TestTwoBranches(t *testing.T) {
	l := newHistory(t).to(20, "a")
	r := newRing(t, l, 2)
	if _, err := cosign(t, r.client(t, l, 2, nil), l, 0, 20); err != nil {
		t.Fatal(err)
	}
	branch := l.fork().to(30, "b")
	l.to(30, "a")
	only := func(i int) *Client {
		one := &ring{signers: r.signers[i : i+1], urls: r.urls}
		return one.client(t, l, 1, nil)
	}
	if _, err := cosign(t, only(0), l, 20, 30); err != nil {
		t.Fatal(err)
	}
	if _, err := cosign(t, only(1), branch, 20, 30); err != nil {
		t.Fatal(err)
	}
	for i, side := range []*history{branch, l} {
		_, err := cosign(t, only(i), side, 20, 30)
		fork, ok := errors.AsType[*ForkError](err)
		if !ok || !errors.Is(err, ledger.ErrNoQuorum) || !errors.Is(err, ledger.ErrBehind) || fork.Size != 30 {
			t.Fatalf("witness %d: %v", i, err)
		}
		list, err := ListEvidence(r.servers[i].Dir)
		if err != nil || len(list) != 1 || list[0].Kind != SplitView || list[0].Check(l.verifier()) != nil {
			t.Errorf("witness %d: %v %+v", i, err, list)
		}
	}
	// The fork goes on, with the proofs that it can make: still refused, and known
	// for what it is. A quorum of the other does not make up for it.
	branch.to(50, "b")
	_, err := cosign(t, r.client(t, l, 1, nil), branch, 30, 50)
	if _, ok := errors.AsType[*ForkError](err); !ok {
		t.Errorf("%v", err)
	}
}

// A copy of the log from yesterday goes on as if nothing had happened.
func TestRollback(t *testing.T) {
	l := newHistory(t).to(30, "a")
	yesterday := l.fork()
	l.to(60, "a")
	r := newRing(t, l, 1)
	if _, err := cosign(t, r.client(t, l, 1, nil), l, 0, 60); err != nil {
		t.Fatal(err)
	}
	yesterday.to(40, "restored")
	_, err := cosign(t, r.client(t, l, 1, nil), yesterday, 30, 40)
	if fork, ok := errors.AsType[*ForkError](err); !ok || fork.Size != 60 {
		t.Fatalf("%v", err)
	}
	// A log that is merely late, in the process that sent the later one, is no fork.
	c := r.client(t, l, 1, nil)
	if _, err := cosign(t, c, l, 0, 60); err != nil {
		t.Fatal(err)
	}
	_, err = cosign(t, c, l, 0, 50)
	if _, fork := errors.AsType[*ForkError](err); fork || !errors.Is(err, ledger.ErrNoQuorum) {
		t.Errorf("%v", err)
	}
}

func TestHeads(t *testing.T) {
	l := newHistory(t).to(60, "a")
	r := newRing(t, l, 4)
	add(t, r.servers[0], l.request(0, 30))
	add(t, r.servers[1], l.request(0, 50))
	r.urls[r.signers[3]] = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(newHistory(t).to(1000, "x").sign(1000)) // signed by another key
	}))
	heads := r.client(t, l, 1, nil).Heads(t.Context())
	if len(heads) != 4 {
		t.Fatal(len(heads))
	}
	for i, size := range []int64{30, 50} {
		signed, err := heads[i].Head(t.Context())
		if err != nil || !strings.HasPrefix(string(signed), fmt.Sprintf("%s\n%d\n", origin, size)) {
			t.Errorf("%v: %s", err, signed)
		}
	}
	if _, err := heads[2].Head(t.Context()); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a witness that knows nothing: %v", err)
	}
	if signed, err := heads[3].Head(t.Context()); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a liar: %s, %v", signed, err)
	}
}

func TestClientRefuses(t *testing.T) {
	l := newHistory(t).to(3, "a")
	r := newRing(t, l, 2)
	good := ClientOptions{Policy: policyOf(t, 2, r.urls, r.signers...), Origin: origin, Keys: []note.Verifier{l.verifier()}}
	for name, change := range map[string]func(*ClientOptions){
		"no policy": func(o *ClientOptions) { o.Policy = nil },
		"no origin": func(o *ClientOptions) { o.Origin = "" },
		"no keys":   func(o *ClientOptions) { o.Keys = nil },
		"no URL": func(o *ClientOptions) {
			o.Policy = policyOf(t, 2, map[*Signer]string{r.signers[0]: "http://x"}, r.signers...)
		},
	} {
		o := good
		change(&o)
		if _, err := NewClient(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := r.client(t, l, 2, nil)
	other := strings.Replace(string(l.sign(3)), origin, "example.org/other", 1)
	for _, signed := range []string{"", "x", other, origin + "\n3\n\n— x AAAAAAA=\n"} {
		if _, err := c.Cosign(t.Context(), 0, nil, []byte(signed)); err == nil || errors.Is(err, ledger.ErrNoQuorum) {
			t.Errorf("%q: %v", signed, err)
		}
	}
	if _, err := c.Cosign(t.Context(), 0, nil, l.sign(3)); err != nil { // the first needs no proof
		t.Error(err)
	}
	l.to(9, "a")
	_, err := c.Cosign(t.Context(), 3, func(uint64) (tlog.TreeProof, error) { return nil, errors.New("disk on fire") }, l.sign(9))
	if !errors.Is(err, ledger.ErrNoQuorum) || !strings.Contains(err.Error(), "disk on fire") {
		t.Error(err)
	}
}
