package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"path"
	"slices"
)

// jwtFile is an entry of the claim "files" (OPA, v1/bundle.FileInfo).
type jwtFile struct {
	Name      string `json:"name"`
	Hash      string `json:"hash"`
	Algorithm string `json:"algorithm"`
}

// SignJWT returns the .signatures.json that stock OPA verifies a bundle with: one JWT
// (ES256) that lists every file with its hash. keyID names the key in OPA's
// configuration. A key from [LoadKey] signs with a nonce made of key and content, so
// that the same files give the same bytes; one from [OpenKMS] signs as its keeper does.
func SignJWT(ctx context.Context, k Key, keyID string, files map[string][]byte) ([]byte, error) {
	if k.signer == nil || keyID == "" {
		return nil, errors.New("sign JWT: a key and its name are needed")
	}
	claims := struct {
		Files []jwtFile `json:"files"`
	}{Files: []jwtFile{}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum, err := opaHash(name, files[name])
		if err != nil {
			return nil, fmt.Errorf("sign JWT: %s: %w", name, err)
		}
		claims.Files = append(claims.Files, jwtFile{name, hex.EncodeToString(sum[:]), "SHA-256"})
	}
	header := struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{"ES256", keyID, "JWT"}
	input, err := jwtInput(header, claims)
	if err != nil {
		return nil, fmt.Errorf("sign JWT: %w", err)
	}
	sig, err := k.signES256(ctx, []byte(input))
	if err != nil {
		return nil, fmt.Errorf("sign JWT: %w", err)
	}
	token := input + "." + base64.RawURLEncoding.EncodeToString(sig)
	return json.Marshal(map[string][]string{"signatures": {token}})
}

// jwtInput encodes the parts that are signed.
func jwtInput(header, claims any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c), nil
}

// opaHash hashes a file as OPA does (v1/bundle, VerifyBundleFile): documents as their
// JSON with sorted members and no spaces, everything else as it is.
func opaHash(name string, data []byte) ([sha256.Size]byte, error) {
	switch path.Base(name) {
	case ".manifest", "data.json":
	case "data.yaml", "data.yml", ".signatures.json":
		return [sha256.Size]byte{}, errors.New("no file of a charter bundle")
	default:
		return sha256.Sum256(data), nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return [sha256.Size]byte{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return [sha256.Size]byte{}, errors.New("more than one JSON value")
	}
	var canonical bytes.Buffer
	enc := json.NewEncoder(&canonical)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(bytes.TrimSuffix(canonical.Bytes(), []byte("\n"))), nil
}

// signES256 returns the two numbers of a signature of SHA-256 of the message (RFC 7518,
// section 3.4).
func (k Key) signES256(ctx context.Context, message []byte) ([]byte, error) {
	var der []byte
	var err error
	if k.private != nil {
		sum := sha256.Sum256(message)
		der, err = k.private.Sign(nil, sum[:], crypto.SHA256) // nil: the nonce is deterministic (RFC 6979)
	} else {
		der, err = k.Sign(ctx, message)
	}
	if err != nil {
		return nil, err
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 {
		return nil, errors.New("the signature is not ASN.1")
	}
	const size = 32 // bytes of a number of P-256
	if sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size || sig.R.Sign() < 0 || sig.S.Sign() < 0 {
		return nil, errors.New("the signature is not of P-256")
	}
	out := make([]byte, 2*size)
	sig.R.FillBytes(out[:size])
	sig.S.FillBytes(out[size:])
	return out, nil
}
