package keyring

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// place is a data directory with the ledger that belongs to it.
type place struct {
	dir   string
	store *ledgertest.Memory
}

func newPlace(t *testing.T, entries int) place {
	t.Helper()
	p := place{t.TempDir(), ledgertest.NewMemory()}
	r, err := New(p.dir, ledgertest.Origin)
	if err == nil {
		err = r.Save()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.open(t, func(_ *Ring, l *ledger.Log) { ledgertest.Append(t, l, entries) })
	return p
}

// open is a start and an end of the server.
func (p place) open(t *testing.T, use func(*Ring, *ledger.Log)) Change {
	t.Helper()
	r, err := Load(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	l := p.log(t, r)
	done, err := r.Finish(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if use != nil {
		use(r, l)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return done
}

func (p place) log(t *testing.T, r *Ring) *ledger.Log {
	t.Helper()
	signers, err := r.Signers(t.Context(), p.store)
	if err != nil {
		t.Fatal(err)
	}
	others, err := r.Others(signers...)
	if err != nil {
		t.Fatal(err)
	}
	return ledgertest.NewLog(t, p.store, signers[0], func(o *ledger.Options) { o.Signers, o.Retired = signers, others })
}

func (p place) files(t *testing.T) (names []string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(p.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, "keys/"+f.Name())
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	return names
}

// signedBy tells which keys have signed the head.
func (p place) signedBy(t *testing.T, keys ...string) (signed []bool) {
	t.Helper()
	_, head, err := p.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = note.Open(head, note.VerifierList(v))
		signed = append(signed, err == nil)
	}
	return signed
}

// verify verifies the whole log with the first key alone, with the published keys,
// and a receipt from before the rotation with these.
func (p place) verify(t *testing.T, first string, receipt []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParsePublic(text)
	if err != nil {
		t.Fatal(err)
	}
	old, err := note.NewVerifier(first)
	if err != nil {
		t.Fatal(err)
	}
	published := ledger.Keys{Origin: ledgertest.Origin}
	for _, key := range list {
		v, err := key.Verifier()
		if err != nil {
			t.Fatal(err)
		}
		published.Log = append(published.Log, v)
	}
	for _, keys := range []ledger.Keys{published, {Origin: ledgertest.Origin, Log: []note.Verifier{old}}} {
		if _, err := ledger.Verify(t.Context(), p.store, ledger.VerifyOptions{Keys: keys}); err != nil {
			t.Error(err)
		}
	}
	if _, err := ledger.VerifyReceipt(receipt, published); err != nil {
		t.Errorf("a receipt from before: %v", err)
	}
}

// A rotation that is cut off at any step is completed by the next start, once, and
// by asking again.
func TestInterruptedRotation(t *testing.T) {
	for step, upTo := range []string{"next key on disk", "in the ledger", "previous key on disk", "key replaced", "published"} {
		t.Run(upTo, func(t *testing.T) {
			p := newPlace(t, 300)
			var first, second string
			var receipt []byte
			p.open(t, func(r *Ring, l *ledger.Log) {
				var err error
				if receipt, err = l.Reader().Receipt(t.Context(), 42); err != nil {
					t.Fatal(err)
				}
				next, err := generate(ledgertest.Origin)
				if err != nil {
					t.Fatal(err)
				}
				first, second = r.Key(), next.VerifierKey()
				steps := []func() error{
					func() error { return r.write(NextFile, next) },
					func() error { _, err := l.Rotate(t.Context(), next, "token:ana"); return err },
					func() error { return r.write(PreviousFile, r.current) },
					func() error { return r.replace() },
					func() error {
						r.previous, r.current = r.current, next
						return r.publish(t.Context(), l.Reader())
					},
				}
				for _, do := range steps[:step+1] {
					if err := do(); err != nil {
						t.Fatal(err)
					}
				}
			})
			done := p.open(t, func(r *Ring, l *ledger.Log) {
				again, err := r.Rotate(t.Context(), l, "")
				if err != nil || again.Changed || again.Key != second || again.Previous != first || *again.Entry != 300 {
					t.Errorf("%+v, %v", again, err)
				}
				ledgertest.Append(t, l, 10)
			})
			if done.Changed != (step < 3) || done.Key != second || done.Previous != first {
				t.Errorf("%+v", done)
			}
			if got := p.files(t); !slices.Equal(got, []string{PreviousFile, CurrentFile}) {
				t.Errorf("files %v", got)
			}
			if got := p.signedBy(t, first, second); !slices.Equal(got, []bool{true, true}) {
				t.Errorf("signed by %v", got)
			}
			if size, _, err := p.store.Head(t.Context()); err != nil || size != 311 {
				t.Errorf("%d entries, %v", size, err)
			}
			p.verify(t, first, receipt)
		})
	}
}

// The end of the overlap survives a crash, too, and a key is removed only after
// the ledger says that it signs no more.
func TestInterruptedRetirement(t *testing.T) {
	p := newPlace(t, 10)
	var first, second string
	var receipt []byte
	p.open(t, func(r *Ring, l *ledger.Log) {
		first = r.Key()
		var err error
		if receipt, err = l.Reader().Receipt(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Rotate(t.Context(), l, ""); err != nil {
			t.Fatal(err)
		}
		second = r.Key()
		ledgertest.Append(t, l, 1)
		if _, _, err := l.Retire(t.Context(), "token:ana"); err != nil { // and no file is touched
			t.Fatal(err)
		}
	})
	if got := p.files(t); len(got) != 2 {
		t.Fatalf("files %v", got)
	}
	done := p.open(t, func(_ *Ring, l *ledger.Log) { ledgertest.Append(t, l, 1) })
	if !done.Changed || done.Previous != "" {
		t.Errorf("%+v", done)
	}
	if got := p.files(t); !slices.Equal(got, []string{CurrentFile}) {
		t.Errorf("files %v", got)
	}
	if got := p.signedBy(t, first, second); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("signed by %v", got)
	}
	p.verify(t, first, receipt)
	// And once more: three keys, with a range for each.
	p.open(t, func(r *Ring, l *ledger.Log) {
		if c, err := r.Rotate(t.Context(), l, ""); err != nil || !c.Changed || c.Previous != second {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := r.Retire(t.Context(), l, ""); err != nil || !c.Changed || c.Previous != "" {
			t.Errorf("%+v, %v", c, err)
		}
		want := r.Key() + " 15-\n" + second + " 11-15\n" + first + " 0-11\n"
		if got := string(r.Public()); got != want {
			t.Errorf("%s, want\n%s", got, want)
		}
	})
	p.verify(t, first, receipt)
}

// A ledger that cannot be written, or a disk that is full, leaves a rotation that
// is completed later.
func TestRotationIsTriedAgain(t *testing.T) {
	p := newPlace(t, 10)
	in := filepath.Join(p.dir, PreviousFile+".next")
	p.open(t, func(r *Ring, l *ledger.Log) {
		first := r.Key()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := os.Mkdir(in, 0o700); err != nil { // nobody can write there, root included
			t.Fatal(err)
		}
		if c, err := r.Rotate(ended, l, ""); !errors.Is(err, ErrFile) && !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := r.Rotate(t.Context(), l, ""); !errors.Is(err, ErrFile) {
			t.Errorf("%+v, %v", c, err)
		}
		if err := os.Remove(in); err != nil {
			t.Fatal(err)
		}
		if c, err := r.Retire(t.Context(), l, ""); err != nil || !c.Changed || c.Key == first || c.Previous != "" {
			t.Errorf("%+v, %v", c, err)
		}
	})
	if size, _, err := p.store.Head(t.Context()); err != nil || size != 12 {
		t.Errorf("%d entries, %v: the key was changed twice", size, err)
	}
}

// Whoever asks at the same time gets the same answer, and keys are changed once.
func TestConcurrentChanges(t *testing.T) {
	p := newPlace(t, 3)
	p.open(t, func(r *Ring, l *ledger.Log) {
		var asking sync.WaitGroup
		var changed atomic.Int32
		for range 8 {
			asking.Go(func() {
				c, err := r.Rotate(t.Context(), l, "")
				if err != nil || c.Previous == "" {
					t.Errorf("%+v, %v", c, err)
				}
				if c.Changed {
					changed.Add(1)
				}
				_, _ = r.Public(), r.Key()
			})
			asking.Go(func() {
				if _, err := l.Append(t.Context(), ledgertest.Denial(1), ledger.Durable); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		if changed.Load() != 1 {
			t.Errorf("changed %d times", changed.Load())
		}
		for range 8 {
			asking.Go(func() {
				if c, err := r.Retire(t.Context(), l, ""); err != nil || c.Previous != "" {
					t.Errorf("%+v, %v", c, err)
				}
			})
		}
		asking.Wait()
	})
	if size, _, err := p.store.Head(t.Context()); err != nil || size != 3+8+2 {
		t.Errorf("%d entries, %v", size, err)
	}
}

// Files that are not what a rotation leaves behind are not guessed about.
func TestLoadRefuses(t *testing.T) {
	other, secret, err := ledger.GenerateSigner(zeros{}, "example.org/other")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(t *testing.T, p place) error{
		"no key": func(_ *testing.T, p place) error { return os.Remove(filepath.Join(p.dir, CurrentFile)) },
		"the current key lost": func(t *testing.T, p place) error {
			return os.Rename(filepath.Join(p.dir, CurrentFile), filepath.Join(p.dir, NextFile))
		},
		"nonsense": func(_ *testing.T, p place) error {
			return os.WriteFile(filepath.Join(p.dir, NextFile), []byte("x"), 0o600)
		},
		"a key of another log": func(_ *testing.T, p place) error {
			return os.WriteFile(filepath.Join(p.dir, NextFile), []byte(secret), 0o600)
		},
		"a previous of another": func(_ *testing.T, p place) error {
			return os.WriteFile(filepath.Join(p.dir, PreviousFile), []byte(secret), 0o600)
		},
		"the same key": func(_ *testing.T, p place) error {
			text, err := os.ReadFile(filepath.Join(p.dir, CurrentFile))
			return errors.Join(err, os.WriteFile(filepath.Join(p.dir, NextFile), text, 0o600))
		},
		"public keys": func(_ *testing.T, p place) error {
			return os.WriteFile(filepath.Join(p.dir, PublicFile), []byte(other.VerifierKey()+" 3-2\n"), 0o600)
		},
	} {
		p := newPlace(t, 1)
		if err := spoil(t, p); err != nil {
			t.Fatal(err)
		}
		_, err := Load(p.dir)
		if want := map[bool]error{true: ErrNone, false: ErrFile}[name == "no key"]; !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNone) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A key that has signed before does not come back.
func TestRetiredKeyDoesNotReturn(t *testing.T) {
	p := newPlace(t, 3)
	p.open(t, func(r *Ring, l *ledger.Log) {
		old := r.current
		if _, err := r.Rotate(t.Context(), l, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Retire(t.Context(), l, ""); err != nil {
			t.Fatal(err)
		}
		r.next = old
		if _, err := r.Rotate(t.Context(), l, ""); !errors.Is(err, ledger.ErrKey) {
			t.Error(err)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	const key = "ledger.example/test+27d3e9a8+AXRN+s9XSP4qgLeogeixihn9BWOhw2gyKhkBqw3T/eBG"
	f.Add([]byte(key + " 8-\n# a comment\n\nledger.example/test+7ae4f99a+AUUM7FAC9OvaH9Q8IsrirPPDw9SaUznW28+6auEbD9iz 0-8\n"))
	f.Add([]byte(key))
	f.Add([]byte(key + " 9-8"))
	f.Add([]byte("PRIVATE+KEY+x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParsePublic(text)
		if err != nil {
			if !errors.Is(err, ErrPublic) || len(err.Error()) > 500 {
				t.Fatal(err)
			}
			return
		}
		again, err := ParsePublic(list(keys))
		if err != nil || !slices.Equal(again, keys) {
			t.Fatalf("%q, %v: %+v and %+v", text, err, keys, again)
		}
		for _, k := range keys {
			if _, err := k.Verifier(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
