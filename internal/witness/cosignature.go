package witness

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Signature types of C2SP signed-note.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04 // Ed25519 over a timestamped checkpoint
)

// A cosignature is the time in seconds, big-endian, and an Ed25519 signature.
const cosignatureSize = 8 + ed25519.SignatureSize

// cosigned is what a cosignature of a checkpoint signs (C2SP tlog-cosignature).
func cosigned(text []byte, at uint64) []byte {
	head := "cosignature/v1\ntime " + strconv.FormatUint(at, 10) + "\n"
	return append([]byte(head), text...)
}

// keyID is the id of a key in signature lines and verifier keys.
func keyID(name string, kind byte, public []byte) uint32 {
	sum := sha256.Sum256(append(append([]byte(name), '\n', kind), public...))
	return binary.BigEndian.Uint32(sum[:])
}

// validName reports whether a key may be called so (C2SP signed-note).
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r < ' ' }) < 0
}

// Signer cosigns checkpoints at the present time. It implements [note.Signer].
type Signer struct {
	name string
	id   uint32
	key  ed25519.PrivateKey
	now  func() time.Time
}

// NewSigner returns a cosigner. A key must serve one name only, since the
// signature does not cover the name.
func NewSigner(name string, key ed25519.PrivateKey) (*Signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if len(key) != ed25519.PrivateKeySize || !ok || !validName(name) {
		return nil, errors.New("witness: a name without spaces and plus signs and an Ed25519 key are required")
	}
	return &Signer{name: name, id: keyID(name, typeCosignature, public), key: key, now: time.Now}, nil
}

const keyPrefix = "PRIVATE+KEY+"

// GenerateKey makes the key of a witness. Texts are those of [ParseSigner] and
// [ParseVerifier].
func GenerateKey(name string) (skey, vkey string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generate witness key: %w", err)
	}
	s, err := NewSigner(name, key)
	if err != nil {
		return "", "", err
	}
	return keyPrefix + encodeKey(name, s.id, key.Seed()), s.VerifierKey(), nil
}

// ParseSigner reads a key in the form of note.GenerateKey, with the signature
// type of cosignatures: PRIVATE+KEY+NAME+ID+BASE64(0x04, seed).
func ParseSigner(skey string) (*Signer, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(skey), keyPrefix)
	if !ok {
		return nil, errors.New("parse witness key: it does not begin with " + keyPrefix)
	}
	name, id, seed, err := decodeKey(text)
	if err != nil { // which never repeats the key
		return nil, fmt.Errorf("parse witness key: %w", err)
	}
	s, err := NewSigner(name, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, err
	}
	if s.id != id {
		return nil, errors.New("parse witness key: its id is not that of the key")
	}
	return s, nil
}

// Name returns the name of the witness.
func (s *Signer) Name() string { return s.name }

// KeyHash returns the id of the key.
func (s *Signer) KeyHash() uint32 { return s.id }

// VerifierKey returns the public key as others configure it (vkey of C2SP
// signed-note, type 0x04).
func (s *Signer) VerifierKey() string {
	public, _ := s.key.Public().(ed25519.PublicKey) // NewSigner checked it
	return encodeKey(s.name, s.id, public)
}

// Verifier returns what verifies the cosignatures of s.
func (s *Signer) Verifier() *Verifier {
	public, _ := s.key.Public().(ed25519.PublicKey)
	return &Verifier{name: s.name, id: s.id, key: public}
}

// Sign returns the cosignature of the text of a checkpoint. A text that is none
// is refused.
func (s *Signer) Sign(text []byte) ([]byte, error) {
	if _, err := parseCheckpoint(string(text)); err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	now := s.now().Unix()
	if now <= 0 {
		return nil, errors.New("cosign: the clock is before 1970")
	}
	at := uint64(now)
	return append(binary.BigEndian.AppendUint64(nil, at), ed25519.Sign(s.key, cosigned(text, at))...), nil
}

// Verifier verifies the cosignatures of one witness. It implements
// [note.Verifier]: the message is the text of a checkpoint.
type Verifier struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

var _ note.Verifier = (*Verifier)(nil)

// ParseVerifier reads the vkey of a witness, NAME+ID+BASE64(0x04, public key).
func ParseVerifier(vkey string) (*Verifier, error) {
	name, id, public, err := decodeKey(vkey)
	if err == nil && keyID(name, typeCosignature, public) != id {
		err = errors.New("its id is not that of the key")
	}
	if err != nil {
		return nil, fmt.Errorf("parse verifier key of a witness: %w", err)
	}
	return &Verifier{name: name, id: id, key: public}, nil
}

// Name returns the name of the witness.
func (v *Verifier) Name() string { return v.name }

// KeyHash returns the id of the key.
func (v *Verifier) KeyHash() uint32 { return v.id }

// Verify reports whether sig is a cosignature of the text of a checkpoint. One
// without a time is none: a witness says when it saw the log.
func (v *Verifier) Verify(text, sig []byte) bool {
	if len(sig) != cosignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return at > 0 && at <= math.MaxInt64 && ed25519.Verify(v.key, cosigned(text, at), sig[8:])
}

// Time returns when a cosignature was made. It does not verify anything.
func Time(sig note.Signature) (time.Time, error) {
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(raw) != 4+cosignatureSize {
		return time.Time{}, errors.New("not an Ed25519 cosignature")
	}
	at := binary.BigEndian.Uint64(raw[4:])
	if at > math.MaxInt64 {
		return time.Time{}, errors.New("a cosignature of no time")
	}
	return time.Unix(int64(at), 0).UTC(), nil
}

// encodeKey is the common form of public and private keys.
func encodeKey(name string, id uint32, key []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(append([]byte{typeCosignature}, key...)))
}

func decodeKey(text string) (name string, id uint32, key []byte, err error) {
	name, text, _ = strings.Cut(text, "+")
	hexID, encoded, _ := strings.Cut(text, "+")
	number, err := strconv.ParseUint(hexID, 16, 32)
	raw, err64 := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !validName(name) || err != nil || len(hexID) != 8 || hexID != strings.ToLower(hexID) || err64 != nil || strings.ContainsAny(encoded, "\r\n"):
		return "", 0, nil, errors.New("it does not have the form NAME+ID+BASE64")
	case len(raw) > 0 && raw[0] == typeEd25519:
		return "", 0, nil, errors.New("it is a key of type 0x01, for signatures of a log; a witness has one of type 0x04, for cosignatures")
	case len(raw) != 1+ed25519.PublicKeySize || raw[0] != typeCosignature:
		return "", 0, nil, errors.New("it is not a key for Ed25519 cosignatures (type 0x04)")
	}
	return name, uint32(number), raw[1:], nil
}
