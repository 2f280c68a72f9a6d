package app

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
)

// finishKeys completes a change of keys that was cut off and publishes the keys,
// once there are entries: an empty ledger beside public keys is one that was lost.
func (p *ledgerOpener) finishKeys(ctx context.Context, l *ledger.Log) error {
	if l.Stats().Size == 0 {
		return nil
	}
	c, err := p.keys.Finish(ctx, l)
	if err != nil {
		return err
	}
	if c.Changed {
		p.changed("a change of the keys of the ledger was interrupted and is completed", c)
	} else if c.Previous != "" {
		p.log.Info("the previous key of the ledger signs along", "key", c.Key, "previous", c.Previous, "hint", "charter-admin audit key retire, when everybody has the current one")
	}
	return nil
}

// changed has witnesses believed that answer with the current key, and logs it.
func (p *ledgerOpener) changed(what string, c keyring.Change) {
	if v, err := note.NewVerifier(c.Key); err == nil && p.cosigner != nil {
		p.cosigner.Trust(v)
	}
	attrs := []any{"key", c.Key}
	if c.Previous != "" {
		attrs = append(attrs, "previous", c.Previous)
	}
	if c.Entry != nil {
		attrs = append(attrs, "entry", *c.Entry)
	}
	p.log.Info(what, attrs...)
}

// ledgerKeys are the keys of the ledger for the API.
type ledgerKeys struct {
	keeper *keeper
	opener *ledgerOpener
}

// Public implements [ledgerapi.Keys].
func (k *ledgerKeys) Public() []byte { return k.opener.keys.Public() }

// Rotate implements [ledgerapi.Keys].
func (k *ledgerKeys) Rotate(ctx context.Context, principal string) (keyring.Change, error) {
	return k.change(ctx, "another key signs the ledger", principal, k.opener.keys.Rotate)
}

// Retire implements [ledgerapi.Keys].
func (k *ledgerKeys) Retire(ctx context.Context, principal string) (keyring.Change, error) {
	return k.change(ctx, "the previous key of the ledger signs no more", principal, k.opener.keys.Retire)
}

// change changes keys. A client that leaves must not stop half-way what it has
// begun.
func (k *ledgerKeys) change(ctx context.Context, what, principal string,
	do func(context.Context, keyring.Log, string) (keyring.Change, error),
) (keyring.Change, error) {
	o := k.keeper.current.Load()
	if o == nil {
		return keyring.Change{}, k.keeper.cause()
	}
	c, err := do(context.WithoutCancel(ctx), o.log, principal)
	if err != nil {
		k.opener.log.Error("the keys of the ledger could not be changed", "error", err)
		if !errors.Is(err, keyring.ErrFile) {
			k.keeper.look()
		}
		return c, err
	}
	if c.Changed {
		k.opener.changed(what, c)
	}
	return c, nil
}
