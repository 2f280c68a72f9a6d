package ledgerapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/wire"
)

// tileClient is a reader of x/mod over our HTTP API. It does nothing of its own
// but write the paths of C2SP tlog-tiles.
type tileClient struct{ *site }

func (c tileClient) Height() int { return 8 }

func (c tileClient) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		index := fmt.Sprintf("%03d", t.N%1000)
		for n := t.N / 1000; n > 0; n /= 1000 {
			index = fmt.Sprintf("x%03d/%s", n%1000, index)
		}
		path := fmt.Sprintf("/v1/ledger/tile/%d/%s", t.L, index)
		if t.W < 256 {
			path += fmt.Sprintf(".p/%d", t.W)
		}
		a := c.do(http.MethodGet, path, "", "")
		if a.StatusCode != http.StatusOK || len(a.body) != t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s: %s", path, a)
		}
		all = append(all, a.body)
	}
	return all, nil
}

func (c tileClient) SaveTiles([]tlog.Tile, [][]byte) {}

// head verifies the checkpoint with x/mod alone.
func (c tileClient) head() tlog.Tree {
	c.t.Helper()
	a := c.do(http.MethodGet, checkpointPath, "", "").want(c.t, 200)
	n, err := note.Open(a.body, note.VerifierList(c.keys.Log...))
	if err != nil {
		c.t.Fatal(err)
	}
	var tree tlog.Tree
	var root string
	if _, err := fmt.Sscanf(n.Text, ledgertest.Origin+"\n%d\n%s\n", &tree.N, &root); err != nil {
		c.t.Fatal(err)
	}
	if tree.Hash, err = tlog.ParseHash(root); err != nil {
		c.t.Fatal(err)
	}
	return tree
}

// Somebody else's client verifies the whole ledger, from the checkpoint down to
// every entry, and later that it only grew.
func TestThirdPartyReadsTiles(t *testing.T) {
	s := newSite(t, 600)
	c := tileClient{s}
	tree := c.head()
	hashes := tlog.TileHashReader(tree, c)
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil || root != tree.Hash || tree.N != 600 {
		t.Fatalf("%v, %v of %v", err, root, tree)
	}
	for n := range tree.N {
		if n%256 != 0 {
			continue
		}
		width := min(256, tree.N-n)
		path := fmt.Sprintf("/v1/ledger/tile/entries/%03d", n/256)
		if width < 256 {
			path += fmt.Sprintf(".p/%d", width)
		}
		bodies, err := ledger.ParseBundle(s.get(path).want(t, 200).body)
		if err != nil || int64(len(bodies)) != width {
			t.Fatalf("%d, %v", len(bodies), err)
		}
		for i, body := range bodies {
			index := n + int64(i)
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(body)); err != nil {
				t.Fatalf("entry %d: %v", index, err)
			}
		}
	}
	ledgertest.Append(t, s.log, 30)
	later := c.head()
	proof, err := tlog.ProveTree(later.N, tree.N, tlog.TileHashReader(later, c))
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(proof, later.N, later.Hash, tree.N, tree.Hash); err != nil || later.N != 630 {
		t.Error(err)
	}
	// The proofs that the API makes are the same.
	var got struct{ Hashes tlog.TreeProof }
	a := s.do(http.MethodGet, "/v1/ledger/proof/consistency?old=600&size=630", "", "").want(t, 200)
	if err := json.Unmarshal(a.body, &got); err != nil || fmt.Sprint(got.Hashes) != fmt.Sprint(proof) {
		t.Errorf("%v: %s, want %v", err, a.body, proof)
	}
}

func TestTileHeaders(t *testing.T) {
	s := newSite(t, 300)
	for _, c := range []struct{ path, media, cache string }{
		{"/v1/ledger/checkpoint", "text/plain; charset=utf-8", "no-cache"},
		{"/v1/ledger/tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable"},
		{"/v1/ledger/tile/0/001.p/44", "application/octet-stream", "public, max-age=31536000, immutable"},
		{"/v1/ledger/tile/1/000.p/1", "application/octet-stream", "public, max-age=31536000, immutable"},
		{"/v1/ledger/tile/entries/000", "application/octet-stream", "private, max-age=31536000, immutable"},
		{"/v1/ledger/tile/entries/001.p/44", "application/octet-stream", "private, max-age=31536000, immutable"},
		{"/v1/ledger/receipt/3", "text/plain; charset=utf-8", "no-store"},
		{"/v1/ledger/entries", "application/json", "no-store"},
	} {
		a := s.get(c.path).want(t, 200)
		if a.Header.Get("Content-Type") != c.media || a.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %v", c.path, a.Header)
		}
		head := s.do(http.MethodHead, c.path, auditor, "").want(t, 200)
		if head.ContentLength != int64(len(a.body)) || len(head.body) != 0 {
			t.Errorf("HEAD %s: %d of %d", c.path, head.ContentLength, len(a.body))
		}
	}
	// A partial tile keeps its bytes while the tile grows, and so does every one
	// that is narrower.
	part, full := s.get("/v1/ledger/tile/0/000.p/7").want(t, 200).body, s.get("/v1/ledger/tile/0/000").want(t, 200).body
	if !bytes.HasPrefix(full, part) || len(part) != 7*32 || len(full) != 8192 {
		t.Errorf("%d of %d", len(part), len(full))
	}
}

func TestBundleCompressed(t *testing.T) {
	s := newSite(t, 256)
	plain := s.get("/v1/ledger/tile/entries/000", "Accept-Encoding", "identity").want(t, 200)
	for accept, want := range map[string]bool{
		"gzip": true, "br, GZIP": true, "gzip;q=0.5, identity": true, "gzip;q=0": false, "identity": false, "x-gzip": false,
		"deflate": false, "gzip;q=": false,
	} {
		a := s.get("/v1/ledger/tile/entries/000", "Accept-Encoding", accept).want(t, 200)
		if got := a.Header.Get("Content-Encoding") == "gzip"; got != want || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v", accept, a.Header)
			continue
		}
		if !want {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(z); err != nil || !bytes.Equal(body, plain.body) || len(a.body) > len(plain.body)/2 {
			t.Errorf("%s: %d of %d bytes, %v", accept, len(a.body), len(plain.body), err)
		}
	}
}

// Beyond the tree, and in any form but the one of the specification, there is
// nothing.
func TestNoSuchTile(t *testing.T) {
	s := newSite(t, 300)
	for _, path := range []string{
		"0/001", "0/001.p/45", "0/001.p/0", "0/001.p/256", "0/001.p/044", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "2/000",
		"0/1", "0/0001", "00/000", "0/x000/000", "0/x000", "-1/000", "8/000.p/1", "63/000.p/1", "64/000", "0/000.p", "0/000.p/", "0/",
		"0/x999/x999/x999/x999/x999/x999/999", "entries/001", "entries/001.p/45", "entries/002", "entries/", "0/000.p/7/8", "a/000", "0/%30%30%30%00",
		"0/+01",
	} {
		a := s.get("/v1/ledger/tile/"+path).want(t, 404)
		var f wire.Error
		if err := json.Unmarshal(a.body, &f); err != nil || f.Code != wire.CodeNotFound {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	empty := newSite(t, 0)
	for _, path := range []string{"/v1/ledger/checkpoint", "/v1/ledger/tile/0/000.p/1", "/v1/ledger/tile/entries/000.p/1", "/v1/ledger/receipt/0", "/v1/ledger/entries/0"} {
		empty.get(path).want(t, 404)
	}
}

// Entries are for auditors, however the path is written.
func TestAuthorisation(t *testing.T) {
	s := newSite(t, 300)
	restricted := []string{
		"/v1/ledger/tile/entries/000", "/v1/ledger/tile/entries/001.p/44", "/v1/ledger/entries", "/v1/ledger/entries/7",
		"/v1/ledger/receipt/7", "/v1/witness/evidence",
	}
	for _, path := range restricted {
		s.do(http.MethodGet, path, "", "").want(t, 401)
		s.do(http.MethodGet, path, "Bearer node", "").want(t, 403)
		s.do(http.MethodHead, path, "", "").want(t, 401)
		s.get(path).want(t, 200)
	}
	for _, path := range []string{
		"/v1/ledger/checkpoint", "/v1/ledger/tile/0/000", "/v1/ledger/proof/inclusion?index=3", "/v1/ledger/proof/consistency?old=3",
		"/v1/ledger/openapi.yaml",
	} {
		if a := s.do(http.MethodGet, path, "", "").want(t, 200); bytes.Contains(a.body, []byte("edge-")) {
			t.Errorf("%s tells what entries say", path)
		}
	}
	for _, path := range []string{
		"/v1/ledger/tile/%65ntries/000", "/v1/ledger/tile/entries%2f000", "/v1/ledger/%74ile/entries/000", "/v1/ledger/tile//entries/000",
		"/v1/ledger/tile/./entries/000", "/v1/ledger/tile/0/../entries/000", "/v1/ledger/tile/x/%2e%2e/entries/000", "/v1/ledger/%65ntries/7",
		"/v1/ledger/tile/../entries/7", "/v1/ledger/entries%2F7", "/v1/ledger/receipt%2F7", "/v1//ledger/entries", "/v1/ledger/entries/",
	} {
		a := s.do(http.MethodGet, path, "", "")
		if a.StatusCode == http.StatusOK || bytes.Contains(a.body, []byte("edge-")) {
			t.Errorf("%s: %s", path, a)
		}
	}
	if a := s.do(http.MethodGet, keysPath, "", "").want(t, 200); !strings.HasPrefix(string(a.body), s.key.VerifierKey()) {
		t.Error(a)
	}
	for _, path := range []string{rotatePath, retirePath} { // not for auditors, and not by accident
		s.do(http.MethodPost, path, "", "").want(t, 401)
		s.do(http.MethodPost, path, "Bearer node", "").want(t, 403)
		s.do(http.MethodPost, path, auditor, "").want(t, 403)
		s.do(http.MethodGet, path, operator, "").want(t, 405)
		s.do(http.MethodPost, path+"?now", operator, "").want(t, 400)
	}
	if key := s.ring.Key(); key != s.key.VerifierKey() {
		t.Errorf("the key was changed to %s", key)
	}
	for _, r := range s.routes { // what the names of entries could leak through is named here
		if (r.Scope == wire.Public) != (r.Scope != wire.ScopeAdmin && r.Path != entriesPath && r.Path != entriesPath+"/:index" && r.Path != bundlePath+"*" && r.Path != receiptPath+"/:index" && r.Path != evidencePath) {
			t.Errorf("%s: for %s", r.Path, r.Scope)
		}
	}
}

func TestProofs(t *testing.T) {
	s := newSite(t, 300)
	root, err := tlog.TreeHash(300, tlog.TileHashReader(tileClient{s}.head(), tileClient{s}))
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []int64{0, 255, 256, 299} {
		a := s.get(fmt.Sprintf("/v1/ledger/proof/inclusion?index=%d", index)).want(t, 200)
		var p struct {
			Index, Size int64
			Hashes      tlog.RecordProof
		}
		if err := json.Unmarshal(a.body, &p); err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p.Hashes, p.Size, root, p.Index, s.store.Entries[index].Hash); err != nil || p.Size != 300 {
			t.Errorf("%d: %v", index, err)
		}
	}
	for path, want := range map[string]string{
		"inclusion?index=0&size=1":     `{"index":0,"size":1,"hashes":[]}` + "\n",
		"consistency?old=0":            `{"old":0,"size":300,"hashes":[]}` + "\n",
		"consistency?old=300&size=300": `{"old":300,"size":300,"hashes":[]}` + "\n",
		"consistency?old=0&size=0":     `{"old":0,"size":0,"hashes":[]}` + "\n",
	} {
		if a := s.get("/v1/ledger/proof/"+path).want(t, 200); string(a.body) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for path, status := range map[string]int{
		"inclusion": 400, "inclusion?index=": 400, "inclusion?index=-1": 400, "inclusion?index=1&size=1": 404, "inclusion?index=300": 404,
		"inclusion?index=0&size=301": 404, "inclusion?index=0&size=0": 404, "inclusion?index=00": 400, "inclusion?index=1&index=2": 400,
		"inclusion?index=1&x=2": 400, "consistency": 400, "consistency?old=2&size=1": 400, "consistency?old=301": 400,
		"consistency?old=1&size=301": 404, "consistency?old=9223372036854775808": 400, "consistency?old=%zz": 400,
		"inclusion?index=9223372036854775807": 404, "inclusion?index=18446744073709551615": 400,
	} {
		s.get("/v1/ledger/proof/"+path).want(t, status)
	}
}

// A receipt holds without the server.
func TestReceipt(t *testing.T) {
	s := newSite(t, 300)
	for _, index := range []int{0, 299} {
		a := s.get(fmt.Sprintf("/v1/ledger/receipt/%d", index)).want(t, 200)
		p, err := ledger.VerifyReceipt(a.body, s.keys)
		if err != nil || p.Index != uint64(index) {
			t.Errorf("%d: %+v, %v", index, p, err)
		}
	}
	for path, status := range map[string]int{"/300": 404, "/": 404, "/x": 400, "/01": 400, "/3?x=1": 400} {
		s.get("/v1/ledger/receipt"+path).want(t, status)
	}
	if err := s.store.Prune(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/ledger/receipt/99", "/v1/ledger/entries/99"} {
		if a := s.get(path).want(t, http.StatusGone); !bytes.Contains(a.body, []byte(codePruned)) {
			t.Errorf("%s", a.body)
		}
	}
	s.get("/v1/ledger/tile/entries/000").want(t, 404)
	s.get("/v1/ledger/receipt/100").want(t, 200)
	s.get("/v1/ledger/tile/0/000").want(t, 200) // the tree stays
}

// The witness of this server witnesses, and shows what it saw.
func TestWitness(t *testing.T) {
	s := newSite(t, 5)
	signed := s.get(checkpointPath).want(t, 200).body
	a := s.do(http.MethodPost, "/v1/witness/add-checkpoint", "", "old 0\n\n"+string(signed)).want(t, 200)
	if !strings.HasPrefix(string(a.body), "— w.example/1 ") {
		t.Errorf("%s", a.body)
	}
	a = s.do(http.MethodPost, "/v1/witness/add-checkpoint", "", "old 3\n\n"+string(signed)).want(t, 409)
	if string(a.body) != "5\n" || a.Header.Get("Content-Type") != "text/x.tlog.size" {
		t.Errorf("%s", a)
	}
	other := ledgertest.NewLog(t, nil, s.key, nil) // the key signs another history
	ledgertest.Append(t, other, 5)
	fork, err := other.Reader().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.do(http.MethodPost, "/v1/witness/add-checkpoint", "", "old 5\n\n"+string(fork)).want(t, 422)
	a = s.get("/v1/witness/evidence").want(t, 200)
	if !strings.Contains(string(a.body), `"kind":"split-view"`) {
		t.Errorf("%s", a.body)
	}
	a = s.do(http.MethodGet, fmt.Sprintf("/v1/witness/%x/checkpoint", sha256.Sum256([]byte(ledgertest.Origin))), "", "").want(t, 200)
	if !strings.HasPrefix(string(a.body), strings.SplitAfter(string(signed), "\n\n")[0]) {
		t.Errorf("%s", a.body)
	}
}

func TestRoutesRefuse(t *testing.T) {
	if _, err := Routes(Options{}); err == nil {
		t.Error("nothing to serve")
	}
	if _, err := Routes(Options{Reader: ledger.NewReader(ledgertest.NewMemory(), "x"), Timeout: -1}); err == nil {
		t.Error("a negative timeout")
	}
	routes, err := Routes(Options{Reader: ledger.NewReader(ledgertest.NewMemory(), "x")})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if strings.HasPrefix(r.Path, witnessPath) {
			t.Errorf("%s without a witness", r.Path)
		}
	}
}

// Whatever the path of a tile is, the answer is bytes that fit it, or not found.
func FuzzTilePath(f *testing.F) {
	log := ledgertest.NewLog(f, nil, ledgertest.NewSigner(f), nil)
	ledgertest.Append(f, log, 300)
	a := &api{Options: Options{Reader: log.Reader()}}
	for _, seed := range []string{"tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/1/000.p/1", "tile/0/x001/234", "tile/63/000", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r := &http.Request{URL: &url.URL{Path: "/v1/ledger/" + path}}
		r = r.WithContext(t.Context())
		for _, bundle := range []bool{false, true} {
			w := &recorder{header: http.Header{}}
			serve := a.tile
			if bundle {
				serve = a.bundle
			}
			err := serve(w, r)
			fault, refused := errors.AsType[*wire.Error](err)
			switch {
			case err == nil:
				p, perr := ledger.ParseTilePath(path)
				if perr != nil || p.Entries != bundle || !bundle && len(w.body) != p.Width*32 {
					t.Fatalf("%q: %d bytes, %v", path, len(w.body), perr)
				}
			case !refused && !errors.Is(err, ledger.ErrNotFound), refused && fault.Status != 404:
				t.Fatalf("%q: %v", path, err)
			}
		}
	})
}

// recorder keeps what was written.
type recorder struct {
	header http.Header
	body   []byte
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(int)     {}
func (w *recorder) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}
