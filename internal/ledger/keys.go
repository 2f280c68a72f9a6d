package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Signer signs checkpoints. A log's keys are Ed25519 and bear the name of the log.
type Signer interface {
	note.Signer
	// VerifierKey is the public key in the form of C2SP signed-note, as
	// [note.NewVerifier] reads it.
	VerifierKey() string
}

type signer struct {
	note.Signer
	public string
}

func (s signer) VerifierKey() string { return s.public }

// ErrKey marks a key that cannot be used.
var ErrKey = errors.New("bad key")

// NewSigner reads a private key as [GenerateSigner] and [note.GenerateKey] write
// them. The error wraps [ErrKey] and does not quote the key.
func NewSigner(key string) (Signer, error) {
	s, err := note.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%w: not a private key for signed notes", ErrKey)
	}
	// NewSigner has accepted it: PRIVATE+KEY+<name>+<hash>+<base64 of one byte that
	// names the algorithm, and the seed>. Base64 has + among its characters.
	fields := strings.SplitN(key, "+", 5)
	seed, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	verifier, err := note.NewEd25519VerifierKey(s.Name(), public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return signer{s, verifier}, nil
}

// GenerateSigner makes a key for the log of an origin. The text is the private
// key, for [NewSigner].
func GenerateSigner(random io.Reader, origin string) (Signer, string, error) {
	text, _, err := note.GenerateKey(random, origin)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	s, err := NewSigner(text)
	return s, text, err
}

// VerifierOf returns what verifies the signatures of a signer.
func VerifierOf(s Signer) (note.Verifier, error) {
	v, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return v, nil
}

// Keys are the public keys that a reader of a log trusts. How they came to be
// trusted is what a proof is worth.
type Keys struct {
	Origin string          // first line of checkpoints
	Log    []note.Verifier // keys of the log, in the order of rotation; see [KeyRange]
	// Witnesses are keys of witnesses (cosignature/v1), of which Quorum must have
	// signed; 0 asks for none.
	Witnesses []note.Verifier
	Quorum    int
	// Enough, unless nil, tells instead of Quorum whether the cosignatures of
	// witnesses, by the names of their keys, are enough. A policy with groups needs it.
	Enough func(witnesses []string) bool
	// IgnoreUnknown accepts signatures of keys that are not listed, and then says
	// nothing about them.
	IgnoreUnknown bool
}

// KeyRange limits a key of a log to checkpoints of sizes from inclusive to
// exclusive; to 0 is no end. A key that was retired cannot sign later sizes.
func KeyRange(v note.Verifier, from, to uint64) note.Verifier { return rangedKey{v, from, to} }

type rangedKey struct {
	note.Verifier
	from, to uint64
}

func covers(v note.Verifier, size uint64) bool {
	r, ok := v.(rangedKey)
	return !ok || size >= r.from && (r.to == 0 || size < r.to)
}

// Checkpoint is the signed head of a log.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	// Keys are the keys of the log that signed; Witnesses the names of the
	// witnesses that did.
	Keys      []note.Verifier
	Witnesses []string
	Unknown   int // signatures of keys that are not known
}

var (
	// ErrSignature marks a checkpoint that no known key of the log has signed.
	ErrSignature = errors.New("signature does not verify")
	// ErrCheckpoint marks text that is no checkpoint of this log.
	ErrCheckpoint = errors.New("malformed checkpoint")
)

// maxCheckpoint is the size in bytes of the longest checkpoint that is read.
const maxCheckpoint = 64 << 10

// checkpointText is what is signed (C2SP tlog-checkpoint).
func checkpointText(origin string, size uint64, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
}

// ParseCheckpoint reads the text of a checkpoint and verifies nothing. Extension
// lines are refused: this package writes none. Errors wrap [ErrCheckpoint].
func ParseCheckpoint(signed []byte) (origin string, size uint64, root tlog.Hash, err error) {
	fail := func(why string) (string, uint64, tlog.Hash, error) {
		return "", 0, tlog.Hash{}, fmt.Errorf("%w: %s", ErrCheckpoint, why)
	}
	if len(signed) > maxCheckpoint {
		return fail("too long")
	}
	end := bytes.Index(signed, []byte("\n\n"))
	if end < 0 {
		return fail("no signatures")
	}
	text := string(signed[:end+1])
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" {
		return fail("not an origin, a size and a hash")
	}
	size, err = parseDecimal(lines[1])
	if err != nil {
		return fail("bad size")
	}
	root, err = tlog.ParseHash(lines[2])
	if err != nil || checkpointText(lines[0], size, root) != text {
		return fail("bad hash")
	}
	return lines[0], size, root, nil
}

// OpenCheckpoint verifies a checkpoint: a key of the log has signed it, and so has
// every listed witness whose signature it bears. It asks for no quorum. Errors
// wrap [ErrCheckpoint] or [ErrSignature].
func (k Keys) OpenCheckpoint(signed []byte) (Checkpoint, error) {
	origin, size, root, err := ParseCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	if origin != k.Origin {
		return Checkpoint{}, fmt.Errorf("%w: of log %q, expected %q", ErrCheckpoint, origin, k.Origin)
	}
	verified, err := note.Open(signed, note.VerifierList(k.all()...))
	var unsigned *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unsigned):
		return Checkpoint{}, fmt.Errorf("checkpoint of size %d: %w: no signature of a known key", size, ErrSignature)
	case err != nil:
		return Checkpoint{}, fmt.Errorf("checkpoint of size %d: %w: %w", size, ErrSignature, err)
	}
	if !canonicalSignatures(signed) {
		return Checkpoint{}, fmt.Errorf("checkpoint of size %d: %w: its signatures are not in canonical form", size, ErrCheckpoint)
	}
	c := Checkpoint{Origin: origin, Size: size, Root: root, Unknown: len(verified.UnverifiedSigs)}
	for _, sig := range verified.Sigs {
		if v := find(k.Log, sig); v != nil {
			if covers(v, size) {
				c.Keys = append(c.Keys, v)
			}
		} else if find(k.Witnesses, sig) != nil {
			c.Witnesses = append(c.Witnesses, sig.Name)
		}
	}
	if len(c.Keys) == 0 {
		return Checkpoint{}, fmt.Errorf("checkpoint of size %d: %w: no key of the log for this size has signed it", size, ErrSignature)
	}
	return c, nil
}

// canonicalSignatures tells whether the signature lines are in their only form:
// each is one that was counted, and its base64 has no stray bits.
func canonicalSignatures(signed []byte) bool {
	end := bytes.Index(signed, []byte("\n\n"))
	if end < 0 {
		return false
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(signed[end+2:])) {
		name, encoded, ok := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
		if !ok {
			return false
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(raw) < 4 || base64.StdEncoding.EncodeToString(raw) != encoded {
			return false
		}
		key := fmt.Sprintf("%s+%08x", name, binary.BigEndian.Uint32(raw))
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

// Witnessed tells whether enough witnesses have signed; asked, whether any must.
func (k Keys) Witnessed(c Checkpoint) (enough, asked bool) {
	if k.Enough != nil {
		return k.Enough(c.Witnesses), true
	}
	return len(c.Witnesses) >= k.Quorum, k.Quorum > 0
}

func (k Keys) all() []note.Verifier {
	return append(append([]note.Verifier(nil), k.Log...), k.Witnesses...)
}

func find(list []note.Verifier, sig note.Signature) note.Verifier {
	for _, v := range list {
		if v.Name() == sig.Name && v.KeyHash() == sig.Hash {
			return v
		}
	}
	return nil
}

// parseDecimal reads digits without leading zeros, below 2^63.
func parseDecimal(s string) (uint64, error) {
	if s == "" || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, errors.New("bad number")
	}
	var n uint64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, errors.New("bad number")
		}
		n = n*10 + uint64(c-'0')
	}
	if n>>63 != 0 {
		return 0, errors.New("bad number")
	}
	return n, nil
}
