package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

func receiptOf(t testing.TB, entries int, index uint64) ([]byte, ledger.Keys) {
	t.Helper()
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	ledgertest.Append(t, l, entries)
	receipt, err := l.Reader().Receipt(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	return receipt, ledgertest.Keys(t, signer)
}

// No byte of a receipt can be changed, left out or added.
func TestReceiptIsBrittle(t *testing.T) {
	receipt, keys := receiptOf(t, 300, 77)
	if _, err := ledger.VerifyReceipt(receipt, keys); err != nil {
		t.Fatal(err)
	}
	try := func(what string, at int, changed []byte) {
		if _, err := ledger.VerifyReceipt(changed, keys); err == nil {
			t.Errorf("byte %d %s: the receipt verifies", at, what)
		}
	}
	for at := range receipt {
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			changed := bytes.Clone(receipt)
			changed[at] ^= bit
			try("changed", at, changed)
		}
		try("left out", at, append(bytes.Clone(receipt[:at]), receipt[at+1:]...))
		try("doubled", at, append(bytes.Clone(receipt[:at+1]), receipt[at:]...))
	}
	if _, err := ledger.VerifyReceipt(receipt, ledgertest.Keys(t, ledgertest.NewSigner(t))); err == nil {
		t.Error("the receipt verifies with another key")
	}
}

// A receipt verifies without our code: by the text of C2SP tlog-proof, the
// library of signed notes, and RFC 9162, 2.1.3.2.
func TestReceiptByTheBook(t *testing.T) {
	for _, at := range []struct {
		entries int
		index   uint64
	}{{1, 0}, {2, 1}, {300, 0}, {300, 255}, {300, 299}, {700, 511}} {
		receipt, keys := receiptOf(t, at.entries, at.index)
		head, checkpoint, _ := strings.Cut(string(receipt), "\n\n")
		lines := strings.Split(head, "\n")
		if lines[0] != "c2sp.org/tlog-proof@v1" {
			t.Fatal(lines[0])
		}
		body, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open([]byte(checkpoint), note.VerifierList(keys.Log...))
		if err != nil {
			t.Fatal(err)
		}
		tree := strings.Split(n.Text, "\n")
		if tree[0] != ledgertest.Origin || tree[1] == "" {
			t.Fatal(n.Text)
		}
		hash := sha256.Sum256(append([]byte{0}, body...))
		fn, sn := at.index, uint64(at.entries-1)
		for _, line := range lines[3:] {
			sibling, err := base64.StdEncoding.DecodeString(line)
			if err != nil || sn == 0 {
				t.Fatal(line, err)
			}
			if fn&1 == 1 || fn == sn {
				hash = sha256.Sum256(append(append([]byte{1}, sibling...), hash[:]...))
				for fn&1 == 0 && fn != 0 {
					fn, sn = fn>>1, sn>>1
				}
			} else {
				hash = sha256.Sum256(append(append([]byte{1}, hash[:]...), sibling...))
			}
			fn, sn = fn>>1, sn>>1
		}
		if sn != 0 || tree[2] != base64.StdEncoding.EncodeToString(hash[:]) {
			t.Errorf("entry %d of %d: the proof does not lead to the signed root", at.index, at.entries)
		}
		if log2 := 10; len(lines[3:]) > log2 {
			t.Errorf("%d hashes for %d entries", len(lines[3:]), at.entries)
		}
	}
}

// x/mod's own client of tiles, which trusts nothing it is served, reads ours.
func TestTileClientOfOthers(t *testing.T) {
	signer := ledgertest.NewSigner(t)
	l := ledgertest.NewLog(t, nil, signer, nil)
	var group sync.WaitGroup
	for range 70 {
		group.Go(func() { ledgertest.Append(t, l, 1000) })
	}
	group.Wait()
	signed, err := l.Reader().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, size, root, err := ledger.ParseCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root}, tileReader{t, l.Reader()})
	for _, index := range []int64{0, 255, 256, 65_535, 65_536, 69_999} {
		proof, err := tlog.ProveRecord(int64(size), index, reader)
		if err != nil {
			t.Fatal(err)
		}
		row, err := l.Reader().Entry(t.Context(), uint64(index))
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, int64(size), root, index, tlog.RecordHash(row.Body)); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
	}
}

type tileReader struct {
	t *testing.T
	r *ledger.Reader
}

func (r tileReader) Height() int { return 8 }

func (r tileReader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		// By way of the path, as over HTTP.
		text := ledger.TilePath{Level: tile.L, Index: uint64(tile.N), Width: tile.W}.String()
		p, err := ledger.ParseTilePath(text)
		if err != nil {
			return nil, err
		}
		d, err := r.r.Tile(r.t.Context(), p.Level, p.Index, p.Width)
		if err != nil {
			return nil, err
		}
		data = append(data, d)
	}
	return data, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func TestTilePath(t *testing.T) {
	for text, want := range map[string]ledger.TilePath{
		"tile/0/000":                {Width: 256},
		"tile/1/x001/x234/067.p/7":  {Level: 1, Index: 1234067, Width: 7},
		"tile/entries/x123/456":     {Entries: true, Index: 123456, Width: 256},
		"tile/entries/000.p/255":    {Entries: true, Width: 255},
		"tile/7/x001/x000/x000/000": {Level: 7, Index: 1_000_000_000, Width: 256},
	} {
		got, err := ledger.ParseTilePath(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/1000", "tile/00/000", "tile/8/000", "tile/-1/000", "tile/data/000",
		"tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/x000/000", "tile/0/001/000", "tile/0/x001", "/tile/0/000",
		"tile/0/000/", "tile/0/+01", "tile/8/0/000", "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
	} {
		if got, err := ledger.ParseTilePath(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzParseTilePath(f *testing.F) {
	f.Add("tile/1/x001/x234/067.p/7")
	f.Add("tile/entries/000")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ledger.ParseTilePath(text); err == nil && p.String() != text {
			t.Errorf("%q was read as %+v, which is %q", text, p, p.String())
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte("\x00\x02{}\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bodies, err := ledger.ParseBundle(data)
		if err != nil {
			return
		}
		var again []byte
		for _, body := range bodies {
			again = append(append(again, byte(len(body)>>8), byte(len(body))), body...)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("%x was read as %x", data, bodies)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	signer := ledgertest.NewSigner(f)
	p := ledgertest.Append(f, ledgertest.NewLog(f, nil, signer, nil), 3)
	keys := ledgertest.Keys(f, signer)
	f.Add(p.Checkpoint)
	f.Add([]byte("o\n1\nAAAA\n\n\u2014 o AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := keys.OpenCheckpoint(data); err == nil && !bytes.HasPrefix(data, p.Checkpoint[:bytes.Index(p.Checkpoint, []byte("\n\n"))]) {
			t.Errorf("nobody signed %q", data)
		}
	})
}

func FuzzVerifyReceipt(f *testing.F) {
	signer := ledgertest.NewSigner(f)
	l := ledgertest.NewLog(f, nil, signer, nil)
	ledgertest.Append(f, l, 20)
	receipt, err := l.Reader().Receipt(f.Context(), 7)
	if err != nil {
		f.Fatal(err)
	}
	keys := ledgertest.Keys(f, signer)
	f.Add(receipt)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ledger.VerifyReceipt(data, keys); err == nil && !bytes.Equal(data, receipt) {
			t.Errorf("another receipt verifies: %q", data)
		}
		if p, err := ledger.ParseProof(data); err == nil && !bytes.Equal(p.Marshal(), data) {
			t.Errorf("%q is not what it was read as", data)
		}
	})
}
