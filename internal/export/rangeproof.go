package export

import (
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// The inclusion proofs of the first and the last entry of a range hold between
// them the hashes of everything left and right of it. So, with the leaves of the
// range, they give the root of the tree: who trusts the root knows every entry of
// the range, and that none is missing.

// siblings splits an inclusion proof into what lies left of the path from the
// root to the leaf and what lies right of it, both from the root down.
func siblings(size, index uint64, proof tlog.RecordProof) (left, right []tlog.Hash, err error) {
	next := len(proof) - 1
	for low, high := uint64(0), size; high-low > 1; next-- {
		if next < 0 {
			return nil, nil, fmt.Errorf("%w: a proof is too short", ErrContent)
		}
		if middle := low + split(high-low); index < middle {
			right, high = append(right, proof[next]), middle
		} else {
			left, low = append(left, proof[next]), middle
		}
	}
	if next != -1 {
		return nil, nil, fmt.Errorf("%w: a proof is too long", ErrContent)
	}
	return left, right, nil
}

// split is the size of the left part of a tree of n > 1 leaves (RFC 6962): the
// largest power of two below n.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// rangeTree computes the root of a tree from the leaves from to to.
type rangeTree struct {
	from, to    uint64
	left, right []tlog.Hash // what is outside, from the root down
	leaf        func() (tlog.Hash, error)
}

// newRangeTree expects the proofs of the entries from and to-1.
func newRangeTree(size, from, to uint64, first, last tlog.RecordProof, leaf func() (tlog.Hash, error)) (*rangeTree, error) {
	if from >= to || to > size {
		return nil, fmt.Errorf("%w: entries %d to %d are not a range of a tree of size %d", ErrContent, from, to, size)
	}
	left, _, err := siblings(size, from, first)
	if err != nil {
		return nil, err
	}
	_, right, err := siblings(size, to-1, last)
	return &rangeTree{from: from, to: to, left: left, right: right, leaf: leaf}, err
}

// root is the hash of the subtree of the leaves low to high. It takes leaves in
// their order and asks for each once.
func (t *rangeTree) root(low, high uint64) (tlog.Hash, error) {
	switch {
	case high <= t.from && len(t.left) > 0:
		h := t.left[0]
		t.left = t.left[1:]
		return h, nil
	case low >= t.to && len(t.right) > 0: // the nearest to the range is the deepest
		h := t.right[len(t.right)-1]
		t.right = t.right[:len(t.right)-1]
		return h, nil
	case high <= t.from || low >= t.to:
		return tlog.Hash{}, fmt.Errorf("%w: a proof is too short", ErrContent)
	case high-low == 1:
		return t.leaf()
	}
	middle := low + split(high-low)
	l, err := t.root(low, middle)
	if err != nil {
		return l, err
	}
	r, err := t.root(middle, high)
	if err != nil {
		return r, err
	}
	return tlog.NodeHash(l, r), nil
}
