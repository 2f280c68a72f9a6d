package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// proofHeader is the first line of a proof (C2SP tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1\n"

// maxReceipt is the size in bytes of the longest receipt that is read.
const maxReceipt = 256 << 10

// Proof is a parsed receipt. Nothing in it is verified.
type Proof struct {
	Index      uint64
	Hashes     tlog.RecordProof // from the leaf's sibling up
	Extra      []byte           // in a receipt, the body
	Checkpoint []byte
}

// ErrReceipt marks a receipt that proves nothing.
var ErrReceipt = errors.New("the receipt does not prove its entry")

// Receipt proves an entry to whoever has the public keys, without the log: text
// in the form of C2SP tlog-proof whose extra data is the body. Its checkpoint is
// the first one with cosignatures over the entry, or the latest one.
// [ErrNotFound] for an entry that is not there or was pruned.
func (r *Reader) Receipt(ctx context.Context, index uint64) ([]byte, error) {
	row, err := r.Entry(ctx, index)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if row.Body == nil {
		return nil, fmt.Errorf("receipt: %w: entry %d was pruned", ErrNotFound, index)
	}
	signed, err := r.store.Witnessed(ctx, index+1)
	if errors.Is(err, ErrNotFound) {
		_, signed, err = r.head(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	_, size, root, err := ParseCheckpoint(signed)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	hashes, err := r.Inclusion(ctx, index, size)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if err := tlog.CheckRecord(hashes, int64(size), root, int64(index), tlog.RecordHash(row.Body)); err != nil {
		return nil, fmt.Errorf("receipt: %w: entry %d is not below the checkpoint of size %d", ErrDamaged, index, size)
	}
	p := Proof{Index: index, Hashes: hashes, Extra: row.Body, Checkpoint: signed}
	return p.Marshal(), nil
}

// Marshal writes the proof as C2SP tlog-proof.
func (p *Proof) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(proofHeader)
	if len(p.Extra) > 0 {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	b.WriteString("index " + strconv.FormatUint(p.Index, 10) + "\n")
	for _, h := range p.Hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads a proof and verifies nothing. It accepts only what
// [Proof.Marshal] writes; the error wraps [ErrReceipt].
func ParseProof(text []byte) (Proof, error) {
	fail := func(why string) (Proof, error) { return Proof{}, fmt.Errorf("%w: %s", ErrReceipt, why) }
	if len(text) > maxReceipt {
		return fail("too long")
	}
	rest, ok := bytes.CutPrefix(text, []byte(proofHeader))
	if !ok {
		return fail("not a tlog-proof of version 1")
	}
	head, checkpoint, ok := strings.Cut(string(rest), "\n\n")
	if !ok {
		return fail("no checkpoint")
	}
	p := Proof{Checkpoint: []byte(checkpoint)}
	lines := strings.Split(head, "\n")
	if encoded, ok := strings.CutPrefix(lines[0], "extra "); ok {
		var err error
		if p.Extra, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return fail("bad extra data")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") || len(lines) > 64 {
		return fail("no index, or too many hashes")
	}
	var err error
	if p.Index, err = parseDecimal(lines[0][len("index "):]); err != nil {
		return fail("bad index")
	}
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return fail("bad hash")
		}
		p.Hashes = append(p.Hashes, h)
	}
	if !bytes.Equal(p.Marshal(), text) { // base64 has more than one form
		return fail("not in canonical form")
	}
	return p, nil
}

// Proven is what a receipt has proved.
type Proven struct {
	Index      uint64
	Body       []byte
	Entry      Entry
	CID        string
	Checkpoint Checkpoint
}

// VerifyReceipt verifies a receipt with nothing but public keys: the body is the
// entry at its index in a tree whose head a key of the log has signed, and so
// have enough witnesses. Every byte of a receipt counts: none can be changed
// without an error, which wraps [ErrReceipt], [ErrSignature], [ErrCheckpoint],
// [ErrNoQuorum] or [ErrMalformed].
func VerifyReceipt(receipt []byte, keys Keys) (Proven, error) {
	p, err := ParseProof(receipt)
	if err != nil {
		return Proven{}, err
	}
	c, err := keys.OpenCheckpoint(p.Checkpoint)
	if err != nil {
		return Proven{}, err
	}
	if c.Unknown > 0 && !keys.IgnoreUnknown {
		return Proven{}, fmt.Errorf("%w: %d keys that were not given have signed the checkpoint, too", ErrSignature, c.Unknown)
	}
	if enough, _ := keys.Witnessed(c); !enough {
		return Proven{}, fmt.Errorf("%w: %d of %d known witnesses", ErrNoQuorum, len(c.Witnesses), len(keys.Witnesses))
	}
	if p.Index >= c.Size {
		return Proven{}, fmt.Errorf("%w: entry %d is not below size %d", ErrReceipt, p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, int64(c.Size), c.Root, int64(p.Index), tlog.RecordHash(p.Extra)); err != nil {
		return Proven{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	e, err := ParseEntry(p.Extra)
	if err != nil {
		return Proven{}, err
	}
	return Proven{Index: p.Index, Body: p.Extra, Entry: e, CID: CID(p.Extra), Checkpoint: c}, nil
}
