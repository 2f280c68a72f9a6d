package committee

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// Key is the private key of a member, on the curve secp256k1.
type Key struct {
	private *secp256k1.PrivateKey
}

// GenerateKey makes a key from random, which must be a cryptographic source.
func GenerateKey(random io.Reader) (*Key, error) {
	private, err := secp256k1.GeneratePrivateKeyFromRand(random)
	if err != nil {
		return nil, err
	}
	return &Key{private}, nil
}

// newKey takes the 32 bytes of a key.
func newKey(secret []byte) (*Key, error) {
	var scalar secp256k1.ModNScalar
	if len(secret) != 32 || scalar.SetByteSlice(secret) || scalar.IsZero() {
		return nil, errors.New("it is not a private key of secp256k1")
	}
	return &Key{secp256k1.NewPrivateKey(&scalar)}, nil
}

// Address is what a charter calls the key.
func (k *Key) Address() Address { return addressOf(k.private.PubKey()) }

// String is the address: a key shows nothing of itself.
func (k *Key) String() string { return "key of " + k.Address().String() }

// GoString is [Key.String].
func (k *Key) GoString() string { return k.String() }

// Plain is the key as one line of hexadecimal digits, which wallets import.
func (k *Key) Plain() []byte {
	return append([]byte(hex.EncodeToString(k.private.Serialize())), '\n')
}

// parsePlain reads [Key.Plain], with or without 0x.
func parsePlain(text string) (*Key, error) {
	secret, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, errors.New("it is neither 64 hexadecimal digits nor an Ethereum keystore")
	}
	return newKey(secret)
}

func addressOf(public *secp256k1.PublicKey) (a Address) {
	sum := keccak(public.SerializeUncompressed()[1:])
	copy(a[:], sum[12:])
	return a
}

// Signature is that of one member: r, s and v, 65 bytes in hexadecimal after 0x, and
// the address that made it.
type Signature struct {
	Address   string `json:"address"`
	Signature string `json:"signature"`
}

// Sign signs the request. The same key and request give the same signature (RFC
// 6979), with a low s and v 27 or 28.
func (k *Key) Sign(r Request) (Signature, error) {
	digest, err := r.Digest()
	if err != nil {
		return Signature{}, err
	}
	compact := ecdsa.SignCompact(k.private, digest[:], false) // v, r, s
	return Signature{k.Address().String(), "0x" + hex.EncodeToString(compact[1:]) + hex.EncodeToString(compact[:1])}, nil
}

// Recover returns the address that made the signature of the digest. It takes 65
// bytes with v 27, 28, 0 or 1 and a low s, so that nobody can make another signature
// of one.
func Recover(digest [32]byte, signature string) (Address, error) {
	raw, err := parseSignature(signature)
	if err != nil {
		return Address{}, err
	}
	var s secp256k1.ModNScalar
	if s.SetByteSlice(raw[32:64]) || s.IsOverHalfOrder() {
		return Address{}, errors.New("its s is not in the lower half, so it could be a changed copy of another one (EIP-2)")
	}
	v := raw[64]
	switch v {
	case 0, 1:
		v += 27
	case 27, 28:
	default:
		return Address{}, fmt.Errorf("its last byte is %d, not 27, 28, 0 or 1", v)
	}
	public, _, err := ecdsa.RecoverCompact(append([]byte{v}, raw[:64]...), digest[:])
	if err != nil {
		return Address{}, fmt.Errorf("no key makes it: %w", err)
	}
	return addressOf(public), nil
}

func parseSignature(text string) ([]byte, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*65 {
		return nil, errors.New("it is not 0x and 130 hexadecimal digits (65 bytes)")
	}
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return nil, errors.New("it is not 0x and 130 hexadecimal digits (65 bytes)")
	}
	return raw, nil
}
