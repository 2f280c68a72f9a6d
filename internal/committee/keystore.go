package committee

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/crypto/scrypt"
)

// ErrPassword says that a key file does not open with the password.
var ErrPassword = errors.New("the password is wrong, or the file was changed")

// maxKeyFile is the size up to which a file can be one with a key, in bytes.
const maxKeyFile = 64 << 10

// Costs of scrypt: 128 MiB and about half a second. Files of others may ask for up to
// 1 GiB.
const (
	scryptN, scryptR, scryptP = 1 << 17, 8, 1
	maxScryptN                = 1 << 20
	maxScryptCost             = maxScryptN * 8
)

// keystore is version 3 of the Web3 Secret Storage Definition, which wallets and geth
// read and write too.
type keystore struct {
	Address string `json:"address"`
	Crypto  struct {
		Cipher       string `json:"cipher"`
		CipherText   string `json:"ciphertext"`
		CipherParams struct {
			IV string `json:"iv"`
		} `json:"cipherparams"`
		KDF       string         `json:"kdf"`
		KDFParams jsontext.Value `json:"kdfparams"`
		MAC       string         `json:"mac"`
	} `json:"crypto"`
	ID      string `json:"id"`
	Version int    `json:"version"`
}

type scryptParams struct {
	Len  int    `json:"dklen"`
	N    int    `json:"n"`
	P    int    `json:"p"`
	R    int    `json:"r"`
	Salt string `json:"salt"`
}

// Encrypted is the key as an Ethereum keystore (version 3, scrypt) that opens with the
// password. random must be a cryptographic source.
func (k *Key) Encrypted(random io.Reader, password string) ([]byte, error) {
	return k.encrypted(random, password, scryptN)
}

func (k *Key) encrypted(random io.Reader, password string, n int) ([]byte, error) {
	if password == "" {
		return nil, errors.New("the password is empty")
	}
	var salt [32]byte
	var iv, id [16]byte
	for _, b := range [][]byte{salt[:], iv[:], id[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, err
		}
	}
	derived, err := scrypt.Key([]byte(password), salt[:], n, scryptR, scryptP, 32)
	if err != nil {
		return nil, err
	}
	text, err := xor(derived, iv[:], k.private.Serialize())
	if err != nil {
		return nil, err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a random UUID
	address, mac := k.Address(), keccak(derived[16:], text)
	s := keystore{
		Address: hex.EncodeToString(address[:]), Version: 3,
		ID: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
	}
	s.Crypto.Cipher, s.Crypto.CipherText, s.Crypto.CipherParams.IV = "aes-128-ctr", hex.EncodeToString(text), hex.EncodeToString(iv[:])
	s.Crypto.KDF, s.Crypto.MAC = "scrypt", hex.EncodeToString(mac[:])
	if s.Crypto.KDFParams, err = json.Marshal(scryptParams{32, n, scryptP, scryptR, hex.EncodeToString(salt[:])}); err != nil {
		return nil, err
	}
	data, err := json.Marshal(s, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// xor is AES-128-CTR, which is its own inverse.
func xor(derived, iv, text []byte) ([]byte, error) {
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCTR(block, iv).XORKeyStream(out, text)
	return out, nil
}

// ParseKey reads a file with a key: [Key.Plain] or an Ethereum keystore. For the
// latter it asks for the password; [ErrPassword] says that it does not open.
func ParseKey(file []byte, password func() (string, error)) (*Key, error) {
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxKeyFile)
	}
	file = bytes.TrimSpace(file)
	if !bytes.HasPrefix(file, []byte("{")) {
		return parsePlain(string(file))
	}
	var s keystore
	if err := json.Unmarshal(file, &s); err != nil {
		return nil, fmt.Errorf("decode keystore: %.300s", err.Error())
	}
	open, err := s.opener()
	if err != nil {
		return nil, err
	}
	word, err := password()
	if err != nil {
		return nil, err
	}
	key, err := open(word)
	if err != nil {
		return nil, err
	}
	if s.Address != "" {
		if address, err := looseAddress("0x" + trim0x(s.Address)); err != nil || address != key.Address() {
			return nil, errors.New("the keystore names another address than that of its key")
		}
	}
	return key, nil
}

func trim0x(s string) string {
	if len(s) > 1 && s[:2] == "0x" {
		return s[2:]
	}
	return s
}

// opener checks everything that needs no password.
func (s *keystore) opener() (func(password string) (*Key, error), error) {
	if s.Version != 3 || s.Crypto.Cipher != "aes-128-ctr" || s.Crypto.KDF != "scrypt" {
		return nil, errors.New("the keystore is not of version 3 with aes-128-ctr and scrypt; export the key again with these")
	}
	var p scryptParams
	if err := json.Unmarshal(s.Crypto.KDFParams, &p); err != nil {
		return nil, fmt.Errorf("decode keystore: kdfparams: %.300s", err.Error())
	}
	if p.Len != 32 || p.N < 2 || p.N > maxScryptN || p.N&(p.N-1) != 0 || p.R < 1 || p.R > 64 || p.P < 1 || p.P > 16 || p.N*p.R > maxScryptCost {
		return nil, fmt.Errorf("the keystore asks for scrypt with n=%d r=%d p=%d dklen=%d, which is not within reason", p.N, p.R, p.P, p.Len)
	}
	var raw [4][]byte
	for i, part := range []struct {
		name, text string
		size       int // 0 for any
	}{{"salt", p.Salt, 0}, {"iv", s.Crypto.CipherParams.IV, aes.BlockSize}, {"ciphertext", s.Crypto.CipherText, 32}, {"mac", s.Crypto.MAC, 32}} {
		b, err := hex.DecodeString(part.text)
		if err != nil || part.size > 0 && len(b) != part.size {
			return nil, fmt.Errorf("the keystore has no good %s", part.name)
		}
		raw[i] = b
	}
	salt, iv, text, mac := raw[0], raw[1], raw[2], raw[3]
	return func(password string) (*Key, error) {
		derived, err := scrypt.Key([]byte(password), salt, p.N, p.R, p.P, 32)
		if err != nil {
			return nil, err
		}
		if sum := keccak(derived[16:], text); subtle.ConstantTimeCompare(sum[:], mac) != 1 {
			return nil, ErrPassword
		}
		secret, err := xor(derived, iv, text)
		if err != nil {
			return nil, err
		}
		return newKey(secret)
	}, nil
}
