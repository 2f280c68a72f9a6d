package witness

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "example.org/ledger"

// history is a log in memory, with a key. Copies of it can go different ways.
type history struct {
	t      testing.TB
	key    note.Signer
	vkey   string
	n      int64
	hashes []tlog.Hash
}

func newHistory(t testing.TB) *history {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &history{t: t, key: key, vkey: vkey}
}

func (l *history) ReadHashes(indices []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indices))
	for i, at := range indices {
		if at >= int64(len(l.hashes)) {
			return nil, errors.New("beyond the log")
		}
		list[i] = l.hashes[at]
	}
	return list, nil
}

// to grows the log to a size with entries of a branch.
func (l *history) to(size int64, branch string) *history {
	l.t.Helper()
	for ; l.n < size; l.n++ {
		add, err := tlog.StoredHashes(l.n, fmt.Appendf(nil, "%s %d", branch, l.n), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, add...)
	}
	return l
}

func (l *history) fork() *history {
	other := *l
	other.hashes = slices.Clone(l.hashes)
	return &other
}

func (l *history) verifier() note.Verifier {
	l.t.Helper()
	v, err := note.NewVerifier(l.vkey)
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

func (l *history) root(size int64) tlog.Hash {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return root
}

// sign is a signed checkpoint of a size.
func (l *history) sign(size int64) []byte {
	l.t.Helper()
	return l.signText(fmt.Sprintf("%s\n%d\n%s\n", origin, size, l.root(size)))
}

func (l *history) signText(text string) []byte {
	l.t.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *history) proof(old, size int64) tlog.TreeProof {
	l.t.Helper()
	if old == 0 || old == size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// request is the honest request to go from one size to another.
func (l *history) request(old, size int64) []byte {
	l.t.Helper()
	return request{old: old, proof: l.proof(old, size), note: l.sign(size)}.body()
}

func newSigner(t testing.TB, name string) *Signer {
	t.Helper()
	skey, _, err := GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newServer is a witness of one log, in a directory of its own.
func newServer(t testing.TB, name string, l *history) *Server {
	t.Helper()
	return open(t, Options{Dir: t.TempDir(), Signer: newSigner(t, name), Logs: []note.Verifier{l.verifier()}})
}

// serve answers as s does and returns the URL of the witness.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// cosignatures verifies that lines are cosignatures of v on the text of a note.
func cosignatures(t testing.TB, signed, lines []byte, v *Verifier) []note.Signature {
	t.Helper()
	text, _, _ := strings.Cut(string(signed), "\n\n")
	n, err := note.Open([]byte(text+"\n\n"+string(lines)), note.VerifierList(v))
	if err != nil {
		t.Fatalf("%v: %s", err, lines)
	}
	return n.Sigs
}
