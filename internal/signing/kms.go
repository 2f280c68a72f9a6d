package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// OpenKMS opens a key that never leaves where it is kept: a PKCS #11 token, or the
// key management of a cloud. The reference is NAME://REST; a program
// sigstore-kms-NAME on the PATH, a plugin of Sigstore, talks to the keeper. The
// plugins are those of cosign. The key must be ECDSA P-256.
func OpenKMS(ctx context.Context, ref string) (Key, error) {
	keeper, err := kms.Get(ctx, ref, crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("open key %s: %w", ref, err)
	}
	public, err := keeper.PublicKey(options.WithContext(ctx))
	if err != nil {
		return Key{}, fmt.Errorf("open key %s: %w", ref, err)
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return Key{}, fmt.Errorf("open key %s: not an ECDSA P-256 key", ref)
	}
	return Key{signer: keeper, public: key, where: "key " + ref}, nil
}
