package ledgerapi

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// checkpoint is the latest head (C2SP tlog-tiles).
func (a *api) checkpoint(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	signed, err := a.Reader.Checkpoint(r.Context())
	if err != nil {
		return err
	}
	wire.Send(w, http.StatusOK, wire.TypeText, wire.NoCache, signed)
	return nil
}

// pathOf reads the path of a tile. A path that was written with escapes can reach
// the route of tiles and name a bundle: each handler makes sure for itself.
func pathOf(r *http.Request, bundle bool) (ledger.TilePath, error) {
	p, err := ledger.ParseTilePath(strings.TrimPrefix(r.URL.Path, ledgerPath+"/"))
	if err != nil || p.Entries != bundle {
		return p, wire.Missing("no tile has this path")
	}
	return p, nil
}

// tile is a tile of hashes (C2SP tlog-tiles).
func (a *api) tile(w http.ResponseWriter, r *http.Request) error {
	p, err := pathOf(r, false)
	if err != nil {
		return err
	}
	data, err := a.Reader.Tile(r.Context(), p.Level, p.Index, p.Width)
	if err != nil {
		return err
	}
	wire.Send(w, http.StatusOK, wire.TypeBytes, cacheForever, data)
	return nil
}

// bundle is a bundle of entries (C2SP tlog-tiles).
func (a *api) bundle(w http.ResponseWriter, r *http.Request) error {
	p, err := pathOf(r, true)
	if err != nil {
		return err
	}
	data, err := a.Reader.Entries(r.Context(), p.Index, p.Width)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept-Encoding")
	if gzipped(r.Header.Values("Accept-Encoding")) {
		if data, err = compress(data); err != nil {
			return err
		}
		w.Header().Set("Content-Encoding", "gzip")
	}
	wire.Send(w, http.StatusOK, wire.TypeBytes, cachePrivate, data)
	return nil
}

// gzipped reports whether a client takes gzip (RFC 9110, 12.5.3).
func gzipped(accept []string) bool {
	for coding := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, weight, weighted := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		if !weighted {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(weight)), "q="), 64)
		return err == nil && q > 0
	}
	return false
}

func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// inclusion proves an entry to be in the tree of a size, the latest one unless
// the request names another.
func (a *api) inclusion(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "index", "size")
	if err != nil {
		return err
	}
	size, err := a.size(r, q.Get("size"))
	if err != nil {
		return err
	}
	if q.Get("index") == "" {
		return wire.Wrong(wire.CodeInvalidValue, "index", "index is required")
	}
	index, err := wire.Number("index", q.Get("index"), 0)
	if err != nil {
		return err
	}
	if index >= size {
		return wire.Missing("entry %d is not in the tree of size %d", index, size)
	}
	proof, err := a.Reader.Inclusion(r.Context(), index, size)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, struct {
		Index  uint64           `json:"index"`
		Size   uint64           `json:"size"`
		Hashes tlog.RecordProof `json:"hashes"` // from the leaf's sibling up
	}{index, size, orNone(proof)})
}

// consistency proves that the tree of a size continues that of an older size.
func (a *api) consistency(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "old", "size")
	if err != nil {
		return err
	}
	size, err := a.size(r, q.Get("size"))
	if err != nil {
		return err
	}
	if q.Get("old") == "" {
		return wire.Wrong(wire.CodeInvalidValue, "old", "old is required")
	}
	old, err := wire.Number("old", q.Get("old"), 0)
	if err != nil {
		return err
	}
	if old > size {
		return wire.Wrong(wire.CodeInvalidValue, "old", "old is larger than size: %d and %d", old, size)
	}
	proof, err := a.Reader.Consistency(r.Context(), old, size)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, struct {
		Old    uint64         `json:"old"`
		Size   uint64         `json:"size"`
		Hashes tlog.TreeProof `json:"hashes"`
	}{old, size, orNone(proof)})
}

// orNone makes an absent list an empty one, which JSON tells apart.
func orNone[T ~[]tlog.Hash](list T) T {
	if list == nil {
		return T{}
	}
	return list
}

// size reads the size of a tree; the latest one goes without saying.
func (a *api) size(r *http.Request, text string) (uint64, error) {
	have, err := a.Reader.Size(r.Context())
	if err != nil {
		return 0, err
	}
	size, err := wire.Number("size", text, have)
	if err == nil && size > have {
		return 0, wire.Missing("the ledger has %d entries, not %d", have, size)
	}
	return size, err
}
