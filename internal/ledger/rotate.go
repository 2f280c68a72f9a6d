package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Rotate makes another key the one that signs, in the name of a principal. From
// the entry that says so, on which the new key has signed the old one's name, both
// sign every checkpoint, until [Log.Retire]. Once the entry waits to be written,
// Rotate waits for what becomes of it, whatever happens to ctx: trying again
// without knowing could replace a key twice. Errors are those of [Log.Append] and
// [ErrKey].
func (l *Log) Rotate(ctx context.Context, next Signer, principal string) (Position, error) {
	l.rotating.Lock()
	defer l.rotating.Unlock()
	p, err := l.rotate(ctx, next, principal)
	if err != nil {
		return p, fmt.Errorf("rotate key: %w", err)
	}
	return p, nil
}

func (l *Log) rotate(ctx context.Context, next Signer, principal string) (Position, error) {
	if next.Name() != l.opts.Origin {
		return Position{}, fmt.Errorf("%w: its name is %q, and that of the log is %q", ErrKey, next.Name(), l.opts.Origin)
	}
	verifier, err := VerifierOf(next)
	if err != nil {
		return Position{}, err
	}
	l.mu.Lock()
	current, known := l.signers[0], find(l.keys.Log, note.Signature{Name: verifier.Name(), Hash: verifier.KeyHash()})
	l.mu.Unlock()
	if known != nil {
		return Position{}, fmt.Errorf("%w: it has signed this log before", ErrKey)
	}
	r := Rotation{Old: current.VerifierKey(), New: next.VerifierKey()}
	signature, err := next.Sign(r.statement())
	if err != nil {
		return Position{}, err
	}
	r.Signature = base64.StdEncoding.EncodeToString(signature)
	p, err := l.changeSigners(ctx, Entry{Kind: KeyRotation, Principal: principal}, r, func(signers []Signer) []Signer {
		return append([]Signer{next}, signers...)
	})
	if err != nil {
		return p, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Whoever holds the old list goes on with it.
	l.keys.Log = append(l.keys.Log[:len(l.keys.Log):len(l.keys.Log)], verifier)
	return p, nil
}

// Retire ends the overlap after [Log.Rotate]: from the entry that says so the
// current key signs alone. ok is false, and nothing is appended, when it does
// already. Errors are those of [Log.Append].
func (l *Log) Retire(ctx context.Context, principal string) (p Position, ok bool, err error) {
	l.rotating.Lock()
	defer l.rotating.Unlock()
	l.mu.Lock()
	signers := l.signers
	l.mu.Unlock()
	if len(signers) < 2 {
		return Position{}, false, nil
	}
	r := Retirement{Key: signers[0].VerifierKey()}
	for _, s := range signers[1:] {
		r.Retired = append(r.Retired, s.VerifierKey())
	}
	p, err = l.changeSigners(ctx, Entry{Kind: KeyRetirement, Principal: principal}, r, func(signers []Signer) []Signer {
		return signers[:1:1]
	})
	if err != nil {
		return p, false, fmt.Errorf("retire key: %w", err)
	}
	return p, true, nil
}

// changeSigners appends an entry from whose checkpoint on other keys sign.
func (l *Log) changeSigners(ctx context.Context, e Entry, about any, change func([]Signer) []Signer) (Position, error) {
	data, err := json.Marshal(about)
	if err != nil {
		return Position{}, err
	}
	e.Data = data
	it, err := newItem(e)
	if err != nil {
		return Position{}, err
	}
	it.resign = change
	if err := l.put(ctx, it); err != nil {
		return Position{}, err
	}
	return l.wait(context.WithoutCancel(ctx), it)
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
