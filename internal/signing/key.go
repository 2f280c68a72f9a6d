package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// MaxKeyFile bounds the file of a key in bytes.
const MaxKeyFile = 16 << 10

// Key is an ECDSA P-256 key that signs. Make one with [LoadKey] or [OpenKMS].
type Key struct {
	signer  signature.Signer
	private *ecdsa.PrivateKey // nil when it is kept elsewhere
	public  *ecdsa.PublicKey
	where   string // for people
}

// GenerateKey returns a new P-256 key: the private half encrypted with the password
// (PEM "ENCRYPTED SIGSTORE PRIVATE KEY": PKCS #8 under scrypt and secretbox, as
// cosign reads and writes it), the public half as PKIX PEM. The password must not
// be empty.
func GenerateKey(password []byte) (private, public []byte, err error) {
	if len(password) == 0 {
		return nil, nil, errors.New("generate key: the password is empty")
	}
	private, public, err = cryptoutils.GeneratePEMEncodedECDSAKeyPair(elliptic.P256(), cryptoutils.StaticPasswordFunc(password))
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	return private, public, nil
}

// LoadKey opens a private key that [GenerateKey] or `cosign generate-key-pair` made.
// It fails when the password is wrong, and when the key is not encrypted or not P-256.
func LoadKey(private, password []byte) (Key, error) {
	block, _ := pem.Decode(private)
	switch {
	case len(private) > MaxKeyFile:
		return Key{}, fmt.Errorf("load key: more than %d bytes", MaxKeyFile)
	case block == nil:
		return Key{}, errors.New("load key: not a PEM file")
	case block.Type == "PUBLIC KEY":
		return Key{}, errors.New("load key: this is the public half; name the file that ends in .key")
	case block.Type != string(cryptoutils.EncryptedSigstorePrivateKeyPEMType) && block.Type != "ENCRYPTED COSIGN PRIVATE KEY":
		return Key{}, fmt.Errorf("load key: a PEM block of type %q, want %q", block.Type, cryptoutils.EncryptedSigstorePrivateKeyPEMType)
	case len(password) == 0:
		return Key{}, errors.New("load key: the key is encrypted and the password is empty")
	}
	parsed, err := cryptoutils.UnmarshalPEMToPrivateKey(private, cryptoutils.StaticPasswordFunc(password))
	if err != nil {
		return Key{}, fmt.Errorf("load key: wrong password, or a damaged file: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return Key{}, errors.New("load key: not an ECDSA P-256 key")
	}
	return newKey(key)
}

func newKey(key *ecdsa.PrivateKey) (Key, error) {
	signer, err := signature.LoadECDSASigner(key, crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	return Key{signer: signer, private: key, public: &key.PublicKey, where: "key"}, nil
}

// Public returns the public half as PKIX PEM.
func (k Key) Public() []byte {
	der, _ := x509.MarshalPKIXPublicKey(k.public) // P-256 always encodes
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Hint names the key in a Sigstore bundle: base64 of the SHA-256 of its PKIX DER.
func (k Key) Hint() string { return hintOf(k.public) }

func hintOf(public *ecdsa.PublicKey) string {
	der, _ := x509.MarshalPKIXPublicKey(public) // P-256 always encodes
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// PublicKey returns the public half.
func (k Key) PublicKey() *ecdsa.PublicKey { return k.public }

// String says for people which key it is.
func (k Key) String() string { return k.where + " " + k.Hint() }

// Sign returns a random ASN.1 signature of SHA-256 of the message. A deterministic
// one would make a transparency log answer "exists already" when a statement is
// signed twice. What the keeper of a key returns is verified.
func (k Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := k.signer.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.where, err)
	}
	if sum := sha256.Sum256(message); !ecdsa.VerifyASN1(k.public, sum[:], sig) {
		return nil, fmt.Errorf("%s: the keeper of the key signed something else", k.where)
	}
	return sig, nil
}

// parsePublic reads a PKIX PEM public key.
func parsePublic(data []byte) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("not a PEM public key")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("a PEM block of type %q, want \"PUBLIC KEY\"", block.Type)
	case len(bytes.TrimSpace(rest)) != 0:
		return nil, errors.New("something follows the key; a file holds one key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return key, nil
}
