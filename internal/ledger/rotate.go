package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Rotate makes another key the one that signs. From the entry that says so, on
// which the new key has signed the old one's name, both sign every checkpoint;
// after the overlap, open the log with the new key alone and the old one among
// the retired. Errors are those of [Log.Append] and [ErrKey].
func (l *Log) Rotate(ctx context.Context, next Signer) error {
	if next.Name() != l.opts.Origin {
		return fmt.Errorf("rotate key: %w: its name is %q, and that of the log is %q", ErrKey, next.Name(), l.opts.Origin)
	}
	verifier, err := VerifierOf(next)
	if err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	l.mu.Lock()
	current := l.signers[0]
	known := find(l.keys.Log, note.Signature{Name: verifier.Name(), Hash: verifier.KeyHash()})
	if known == nil {
		// Whoever holds the old list goes on with it.
		l.keys.Log = append(l.keys.Log[:len(l.keys.Log):len(l.keys.Log)], verifier)
	}
	l.mu.Unlock()
	if known != nil {
		return fmt.Errorf("rotate key: %w: it has signed this log before", ErrKey)
	}
	r := Rotation{Old: current.VerifierKey(), New: next.VerifierKey()}
	signature, err := next.Sign(r.statement())
	if err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	r.Signature = base64.StdEncoding.EncodeToString(signature)
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	it, err := newItem(Entry{Kind: KeyRotation, Data: data})
	if err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	it.rotate = next
	if _, err := l.enqueue(ctx, it); err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	return nil
}

// statement is what the new key signs.
func (r *Rotation) statement() []byte {
	return []byte("charter ledger: key rotation\n" + r.Old + "\n" + r.New + "\n")
}

// Verify checks that the new key has agreed, and returns both. The old key agrees
// by signing the checkpoint over the entry. The error wraps [ErrSignature].
func (r *Rotation) Verify() (old, next note.Verifier, err error) {
	if old, err = note.NewVerifier(r.Old); err != nil {
		return nil, nil, fmt.Errorf("key rotation: %w: old key: %w", ErrSignature, err)
	}
	if next, err = note.NewVerifier(r.New); err != nil {
		return nil, nil, fmt.Errorf("key rotation: %w: new key: %w", ErrSignature, err)
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(r.Signature)
	if err != nil || !next.Verify(r.statement(), signature) {
		return nil, nil, fmt.Errorf("key rotation: %w: the new key has not signed it", ErrSignature)
	}
	return old, next, nil
}
