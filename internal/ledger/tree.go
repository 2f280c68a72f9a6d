package ledger

import (
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is log2 of [TileWidth].
const tileHeight = 8

// frontier is the right edge of a tree: what appending to it needs.
type frontier struct {
	size uint64
	// peaks are the roots of the perfect subtrees that the tree is made of, the
	// largest first.
	peaks []tlog.Hash
	// edge holds, per level of tiles, the hashes of the tile that is not full.
	edge [][]tlog.Hash
}

// add appends a leaf and returns the tiles that it fills.
func (f *frontier) add(leaf tlog.Hash) []Tile {
	var full []Tile
	node := leaf
	full = f.place(full, 0, f.size, node)
	for level := uint(0); f.size>>level&1 == 1; level++ {
		last := len(f.peaks) - 1
		node = tlog.NodeHash(f.peaks[last], node)
		f.peaks = f.peaks[:last]
		if (level+1)%tileHeight == 0 {
			full = f.place(full, int(level+1)/tileHeight, f.size>>(level+1), node)
		}
	}
	f.peaks = append(f.peaks, node)
	f.size++
	return full
}

// place puts the n-th hash of a tile level where it belongs.
func (f *frontier) place(full []Tile, level int, n uint64, h tlog.Hash) []Tile {
	if level == len(f.edge) {
		f.edge = append(f.edge, make([]tlog.Hash, 0, TileWidth))
	}
	f.edge[level] = append(f.edge[level], h)
	if len(f.edge[level]) < TileWidth {
		return full
	}
	full = append(full, Tile{Level: level, Index: n / TileWidth, Data: joinHashes(f.edge[level])})
	f.edge[level] = f.edge[level][:0]
	return full
}

// root is the hash of the tree (RFC 6962).
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // of nothing: cannot fail
		return h
	}
	h := f.peaks[len(f.peaks)-1]
	for i := len(f.peaks) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.peaks[i], h)
	}
	return h
}

// clone returns a copy that shares nothing and is not added to: it has no room.
func (f *frontier) clone() *frontier {
	c := &frontier{size: f.size, peaks: append([]tlog.Hash(nil), f.peaks...)}
	for _, hashes := range f.edge {
		c.edge = append(c.edge, append([]tlog.Hash(nil), hashes...))
	}
	return c
}

func joinHashes(hashes []tlog.Hash) []byte {
	data := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	return data
}

func splitHashes(data []byte) []tlog.Hash {
	hashes := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes
}

// subtree is the root of a perfect subtree over hashes, a power of two of them.
func subtree(hashes []tlog.Hash) tlog.Hash {
	level := append([]tlog.Hash(nil), hashes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}
