package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
)

func add(t *testing.T, s *Server, body []byte) []byte {
	t.Helper()
	lines, err := s.Add(t.Context(), body)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func wantSize(t *testing.T, err error, size uint64) {
	t.Helper()
	if e, ok := errors.AsType[*SizeError](err); !ok || e.Size != size {
		t.Errorf("%v, want a refusal with size %d", err, size)
	}
}

// What is cosigned is what was shown, now, and it is what the next request has to
// start from.
func TestGrowth(t *testing.T) {
	l := newHistory(t).to(300, "a")
	s := newServer(t, "w.example/1", l)
	held := int64(0)
	for _, size := range []int64{0, 1, 2, 3, 7, 8, 255, 256, 257, 300, 300} {
		body := l.request(held, size)
		lines := add(t, s, body)
		sigs := cosignatures(t, l.sign(size), lines, s.Signer.Verifier())
		if at, err := Time(sigs[0]); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("size %d: time %v, %v", size, at, err)
		}
		if held != size {
			_, err := s.Add(t.Context(), body)
			wantSize(t, err, uint64(size))
		}
		held = size
		signed, err := s.Checkpoint(hashOrigin(origin))
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(signed, note.VerifierList(l.verifier(), s.Signer.Verifier()))
		if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
			t.Errorf("size %d: %v: %s", size, err, signed)
		}
	}
}

// The refusals of an adversary who holds the key of the log.
func TestRefusals(t *testing.T) {
	l := newHistory(t).to(20, "a")
	branch := l.fork()
	l.to(40, "a")
	branch.to(60, "b")
	stranger := newHistory(t).to(40, "a")
	s := newServer(t, "w.example/1", l)
	add(t, s, l.request(0, 30))

	extended := fmt.Sprintf("%s\n30\n%s\n", origin, l.root(30))
	for _, c := range []struct {
		name string
		body []byte
		want error // nil is a SizeError
	}{
		{"rollback", l.request(10, 20), nil},
		{"rollback to nothing", l.request(0, 0), nil},
		{"replay", l.request(0, 30), nil},
		{"an unknown start", l.request(25, 35), nil},
		{"from ahead", request{old: 35, note: l.sign(40)}.body(), nil},
		{"old above new", request{old: 30, note: l.sign(20)}.body(), ErrMalformed},
		{"fork of the same size", request{old: 30, note: branch.sign(30)}.body(), ErrInconsistent},
		{"fork with its own proof", branch.request(30, 50), ErrInconsistent},
		{"fork with the proof of the log", request{old: 30, proof: l.proof(30, 40), note: branch.sign(40)}.body(), ErrInconsistent},
		{"no proof", request{old: 30, note: l.sign(40)}.body(), ErrInconsistent},
		{"a proof too many", request{old: 30, proof: l.proof(30, 40), note: l.sign(30)}.body(), ErrInconsistent},
		{"another key", stranger.request(30, 40), ErrBadSignature},
		{"another log", []byte("old 0\n\nexample.org/other\n1\n" + strings.Repeat("A", 43) + "=\n\n— x AAAAAAA=\n"), ErrUnknownLog},
		{"a changed signature", bytes.Replace(l.request(30, 40), []byte("\n40\n"), []byte("\n41\n"), 1), ErrBadSignature},
		{"no root", request{old: 30, note: l.signText(origin + "\n40\n")}.body(), ErrMalformed},
		{"size not in its only form", request{old: 30, note: l.signText(strings.Replace(extended, "\n30\n", "\n030\n", 1))}.body(), ErrMalformed},
		{"size out of range", request{old: 30, note: l.signText(strings.Replace(extended, "\n30\n", "\n4611686018427387905\n", 1))}.body(), ErrMalformed},
		{"an enormous size", request{old: 30, proof: l.proof(30, 40), note: l.signText(strings.Replace(extended, "\n30\n", "\n4611686018427387904\n", 1))}.body(), ErrInconsistent},
		{"an empty extension", request{old: 30, note: l.signText(extended + "\nx\n")}.body(), ErrMalformed},
	} {
		_, err := s.Add(t.Context(), c.body)
		if c.want == nil {
			t.Run(c.name, func(t *testing.T) { wantSize(t, err, 30) })
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// After all that the honest log goes on, extension lines and all.
	add(t, s, request{old: 30, note: l.signText(extended + "extension\n")}.body())
	add(t, s, l.request(30, 40))
}

func TestEmptyLog(t *testing.T) {
	l := newHistory(t).to(3, "a")
	s := newServer(t, "w.example/1", l)
	wrong := request{note: l.signText(fmt.Sprintf("%s\n0\n%s\n", origin, l.root(1)))}.body()
	if _, err := s.Add(t.Context(), wrong); !errors.Is(err, ErrInconsistent) {
		t.Errorf("an empty log with another root: %v", err)
	}
	if _, err := s.Add(t.Context(), request{proof: l.proof(1, 3), note: l.sign(3)}.body()); !errors.Is(err, ErrInconsistent) {
		t.Errorf("a proof from nothing: %v", err)
	}
	if _, err := s.Checkpoint(hashOrigin(origin)); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("a checkpoint of a log that was never cosigned: %v", err)
	}
	add(t, s, l.request(0, 0))
	add(t, s, l.request(0, 0))
	add(t, s, l.request(0, 3))
}

// Whoever shows two histories leaves the proof behind.
func TestEvidence(t *testing.T) {
	l := newHistory(t).to(20, "a")
	branch := l.fork().to(60, "b")
	l.to(40, "a")
	s := newServer(t, "w.example/1", l)
	add(t, s, l.request(0, 30))
	for range 3 { // repeating it adds nothing
		for _, body := range [][]byte{
			request{old: 30, note: branch.sign(30)}.body(),
			branch.request(10, 30), // refused for its size, and proof all the same
			branch.request(30, 50),
			l.request(0, 20), // a replay of what is true
		} {
			if _, err := s.Add(t.Context(), body); err == nil {
				t.Fatal("cosigned")
			}
		}
	}
	list, err := ListEvidence(s.Dir)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d, %v: %+v", len(list), err, list)
	}
	if e := list[0]; e.Kind != SplitView || e.Origin != origin || e.Check(l.verifier()) != nil {
		t.Errorf("%+v: %v", e, e.Check(l.verifier()))
	}
	if e := list[1]; e.Kind != NoProof || len(e.Proof) == 0 || e.Check(l.verifier()) == nil {
		t.Errorf("%+v", e)
	}
	if err := list[0].Check(newHistory(t).verifier()); err == nil {
		t.Error("evidence holds against a stranger")
	}
	// Suspicions are bounded, and do not crowd out proofs.
	l.to(200, "a")
	for size := int64(51); size < 50+3*maxEvidence; size++ {
		if _, err := s.Add(t.Context(), request{old: 30, note: l.sign(size)}.body()); !errors.Is(err, ErrInconsistent) {
			t.Fatal(err)
		}
	}
	third := newHistory(t)
	third.key, third.vkey = l.key, l.vkey
	_, _ = s.Add(t.Context(), request{old: 30, note: third.to(30, "c").sign(30)}.body())
	list, err = ListEvidence(s.Dir)
	if err != nil || len(list) != 2+maxEvidence { // two split views, and no more suspicions than allowed
		t.Fatalf("%d, %v", len(list), err)
	}
}

// Of two updates at the same time one goes first, and the other is told so; no
// order lets the witness go back.
func TestRace(t *testing.T) {
	l := newHistory(t).to(100, "a")
	s := newServer(t, "w.example/1", l)
	s.Burst = 1000
	add(t, s, l.request(0, 1))
	for round := int64(1); round < 90; round += 9 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := map[int64]bool{}
		for size := round + 1; size <= round+9; size++ {
			body := l.request(round, size)
			wg.Go(func() {
				_, err := s.Add(t.Context(), body)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won[size] = true
				} else if _, refused := errors.AsType[*SizeError](err); !refused {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%v were cosigned from size %d", won, round)
		}
		for size := range won {
			if size < round+9 {
				add(t, s, l.request(size, round+9))
			}
		}
	}
}

// A crash after the state is on disk and before the answer is out: the log asks
// again and gets its cosignature; a fork does not.
func TestCrashBeforeAnswer(t *testing.T) {
	l := newHistory(t).to(20, "a")
	branch := l.fork().to(40, "b")
	l.to(40, "a")
	dir, signer := t.TempDir(), newSigner(t, "w.example/1")
	o := Options{Dir: dir, Signer: signer, Logs: []note.Verifier{l.verifier()}}
	s := open(t, o)
	add(t, s, l.request(0, 20))
	s.persist = func(path string, data []byte) error {
		return errors.Join(durable.WriteFile(path, data), errors.New("power failure"))
	}
	if lines, err := s.Add(t.Context(), l.request(20, 30)); err == nil {
		t.Fatalf("answered %s", lines)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, o)
	_, err := again.Add(t.Context(), l.request(20, 30))
	wantSize(t, err, 30)
	add(t, again, l.request(30, 30))
	if _, err := again.Add(t.Context(), branch.request(30, 40)); !errors.Is(err, ErrInconsistent) {
		t.Errorf("a fork after the crash: %v", err)
	}
}

// A crash or a full disk before the state is on disk: nothing was cosigned, and
// the witness still knows what it knew.
func TestStateNotWritten(t *testing.T) {
	l := newHistory(t).to(40, "a")
	s := newServer(t, "w.example/1", l)
	add(t, s, l.request(0, 20))
	s.persist = func(string, []byte) error { return errors.New("no space left on device") }
	for range 2 { // the second time, too: memory must not be ahead of the disk
		lines, err := s.Add(t.Context(), l.request(20, 30))
		if err == nil {
			t.Fatalf("cosigned %s", lines)
		}
	}
	if _, err := s.Add(t.Context(), l.request(30, 30)); err == nil {
		t.Fatal("cosigned what is not on disk")
	}
	s.persist = durable.WriteFile
	add(t, s, l.request(20, 30))
}

// A witness whose memory was tampered with does not start: starting from nothing
// would make it vouch for any history.
func TestDamagedState(t *testing.T) {
	l := newHistory(t).to(40, "a")
	dir := t.TempDir()
	o := Options{Dir: dir, Signer: newSigner(t, "w.example/1"), Logs: []note.Verifier{l.verifier()}}
	s := open(t, o)
	add(t, s, l.request(0, 30))
	if _, err := Open(o); err == nil {
		t.Error("a second process may use the directory")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(logDir(dir, origin), checkpointFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut off": string(good[:len(good)/2]), "another size": strings.Replace(string(good), "\n30\n", "\n29\n", 1),
		"unsigned": strings.SplitAfter(string(good), "\n\n")[0],
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(o); err == nil {
			t.Errorf("%s: the witness starts", name)
			_ = s.Close()
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	// With another key of its own, the log's signature vouches for the state.
	o.Signer = newSigner(t, "w.example/2")
	again := open(t, o)
	_, err = again.Add(t.Context(), l.request(0, 40))
	wantSize(t, err, 30)
}

// Keys of a log overlap while one replaces the other.
func TestLogKeys(t *testing.T) {
	l := newHistory(t).to(40, "a")
	next := newHistory(t)
	s := open(t, Options{Dir: t.TempDir(), Signer: newSigner(t, "w"), Logs: []note.Verifier{l.verifier(), next.verifier()}})
	add(t, s, l.request(0, 10))
	old := l.key
	l.key = next.key
	add(t, s, l.request(10, 20))
	both, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n30\n%s\n", origin, l.root(30))}, old, next.key)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, request{old: 20, proof: l.proof(20, 30), note: both}.body())
	// A good signature does not make up for a bad one by a key that is known.
	spoilt := strings.Split(string(both), " ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.Split(spoilt[len(spoilt)-1], "\n")[0]))
	if err != nil {
		t.Fatal(err)
	}
	raw[10] ^= 1
	spoilt[len(spoilt)-1] = base64.StdEncoding.EncodeToString(raw) + "\n"
	if _, err := s.Add(t.Context(), request{old: 30, note: []byte(strings.Join(spoilt, " "))}.body()); !errors.Is(err, ErrBadSignature) {
		t.Errorf("one of two signatures is wrong: %v", err)
	}
}

func TestRate(t *testing.T) {
	l := newHistory(t).to(40, "a")
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	s := open(t, Options{
		Dir: t.TempDir(), Signer: newSigner(t, "w"), Logs: []note.Verifier{l.verifier()},
		Rate: 1, Burst: 3, Now: func() time.Time { return now },
	})
	for size := range int64(3) {
		add(t, s, l.request(size, size+1))
	}
	if _, err := s.Add(t.Context(), l.request(3, 4)); !errors.Is(err, ErrTooMany) {
		t.Fatalf("%v", err)
	}
	add(t, s, l.request(3, 3)) // the same again costs nothing
	now = now.Add(time.Second)
	add(t, s, l.request(3, 4))
}

// The statuses and media types of C2SP tlog-witness.
func TestHTTP(t *testing.T) {
	l := newHistory(t).to(40, "a")
	branch := newHistory(t)
	branch.key, branch.vkey = l.key, l.vkey
	branch.to(40, "b")
	s := newServer(t, "w.example/1", l)
	url := serve(t, http.StripPrefix("/v1/witness", s.Handler())) + "/v1/witness"
	for _, c := range []struct {
		name, body string
		status     int
		answer     string // how it begins
	}{
		{"first", string(l.request(0, 20)), 200, "— w.example/1 "},
		{"again", string(l.request(20, 20)), 200, "— w.example/1 "},
		{"conflict", string(l.request(0, 20)), 409, "20\n"},
		{"fork", string(request{old: 20, note: branch.sign(20)}.body()), 422, `{"code":"inconsistent_checkpoint",`},
		{"no proof", string(request{old: 20, note: l.sign(30)}.body()), 422, `{"code":"inconsistent_checkpoint",`},
		{"old above new", string(request{old: 20, note: l.sign(10)}.body()), 400, `{"code":"invalid_request",`},
		{"signature", string(newHistory(t).to(40, "a").request(20, 30)), 403, `{"code":"bad_signature",`},
		{"origin", strings.Replace(string(l.request(20, 30)), origin, "example.org/other", 1), 404, `{"code":"unknown_log",`},
		{"empty", "", 400, `{"code":"invalid_request",`},
		{"base64", strings.Replace(string(l.request(20, 30)), "=\n", "*\n", 1), 400, `{"code":"invalid_request",`},
		{"too large", "old 0\n\n" + strings.Repeat("x", maxRequest), 413, `{"code":"body_too_large",`},
		{"advance", string(l.request(20, 40)), 200, "— w.example/1 "},
	} {
		res, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.HasPrefix(string(body), c.answer) {
			t.Errorf("%s: %d %s, %v", c.name, res.StatusCode, body, err)
		}
		media := "application/json"
		switch c.status {
		case 200:
			media = "text/plain; charset=utf-8"
		case 409:
			media = "text/x.tlog.size"
		}
		if got := res.Header.Get("Content-Type"); got != media {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	for path, status := range map[string]int{
		"/" + hashOrigin(origin) + "/checkpoint": 200, "/" + hashOrigin("x") + "/checkpoint": 404,
		"/checkpoint": 404, "/add-checkpoint": 405,
	} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}
