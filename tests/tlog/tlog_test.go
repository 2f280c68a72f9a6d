package tlog

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	ledgerapi "github.com/westworld-charter/charter/internal/httpapi/ledger"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/internal/witness"
)

// serve serves the routes of the API, to auditors what is for them.
func serve(t *testing.T, o ledgerapi.Options) *url.URL {
	t.Helper()
	routes, err := ledgerapi.Routes(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	path := strings.NewReplacer("/*", "/", ":index", "{index}", ":origin", "{origin}")
	for _, r := range routes {
		mux.HandleFunc(r.Method+" "+path.Replace(r.Path), func(w http.ResponseWriter, q *http.Request) {
			if r.Scope != wire.Public && q.Header.Get("Authorization") != "Bearer auditor" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			r.Handler.ServeHTTP(w, q)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Tessera's fsck rebuilds the tree of a ledger from its entries, over HTTP, and
// finds every tile and the head to be right; it finds one changed entry.
func TestTesseraChecksTheLedger(t *testing.T) {
	key, store := ledgertest.NewSigner(t), ledgertest.NewMemory()
	l := ledgertest.NewLog(t, store, key, nil)
	ledgertest.Append(t, l, 1500)
	verifier, err := note.NewVerifier(key.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	base := serve(t, ledgerapi.Options{Reader: l.Reader()}).JoinPath("/v1/ledger/")
	check := func() error {
		f, err := client.NewHTTPFetcher(base, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.SetAuthorizationHeader("Bearer auditor")
		return fsck.New(ledgertest.Origin, verifier, f, leaves, fsck.Opts{N: 2}).Check(t.Context())
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	store.Lock()
	store.Entries[777].Body = bytes.Replace(store.Entries[777].Body, []byte("edge-77"), []byte("edge-78"), 1)
	store.Unlock()
	if err := check(); err == nil {
		t.Error("a changed entry was not found: the check is worth nothing")
	}
}

// leaves are the hashes of the entries of a bundle, read by Tessera.
func leaves(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, e := range b.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return hashes, nil
}

// A log of Tessera publishes no head without the cosignature of our witness, by
// the same policy file that our own ledger reads.
func TestTesseraIsWitnessed(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "tessera.example/log")
	if err != nil {
		t.Fatal(err)
	}
	logSigner, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	logVerifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	signer := newWitnessKey(t)
	w, err := witness.Open(witness.Options{Dir: t.TempDir(), Signer: signer, Logs: []note.Verifier{logVerifier}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	base := serve(t, ledgerapi.Options{Witness: w}).JoinPath("/v1/witness")
	policy := fmt.Appendf(nil, "log %s\nwitness ours %s %s\ngroup g any ours\nquorum g\n", vkey, signer.VerifierKey(), base)
	if _, err := witness.ParsePolicy(policy); err != nil {
		t.Fatal(err)
	}
	group, err := tessera.NewWitnessGroupFromPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := posix.New(t.Context(), posix.Config{Path: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(t.Context(), driver, tessera.NewAppendOptions().
		WithCheckpointSigner(logSigner).WithCheckpointInterval(200*time.Millisecond).WithBatching(10, 20*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{FailOpen: false}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	for round := range 4 { // so that it proves consistency as well
		var last tessera.IndexFuture
		for i := range 7 {
			last = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%d %d", round, i)))
		}
		if _, _, err := awaiter.Await(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := fnote.NewVerifierForCosignatureV1(signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []note.Verifier{theirs, signer.Verifier()} {
		n, err := note.Open(signed, note.VerifierList(logVerifier, v))
		if err != nil || len(n.Sigs) != 2 {
			t.Errorf("%v: %s", err, signed)
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func newWitnessKey(t *testing.T) *witness.Signer {
	t.Helper()
	skey, _, err := witness.GenerateKey("w.example/1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := witness.ParseSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What transparency-dev cosigns, we verify.
func TestForeignCosignature(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "w.example/theirs")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := fnote.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	// Their public key in the form of a cosigner, type 0x04, as we want it.
	typed, err := fnote.VKeyToCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := witness.ParseVerifier(typed)
	if err != nil {
		t.Fatal(err)
	}
	l := ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil)
	ledgertest.Append(t, l, 3)
	signed, err := l.Reader().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(signed), "\n\n")
	full, err := note.Sign(&note.Note{Text: text + "\n"}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(full, note.VerifierList(ours)); err != nil {
		t.Errorf("%v: %s", err, full)
	}
	keys := ledger.Keys{Origin: ledgertest.Origin, Witnesses: []note.Verifier{ours}}
	if _, err := keys.OpenCheckpoint(full); err == nil {
		t.Error("a witness alone makes a checkpoint of a ledger")
	}
}
