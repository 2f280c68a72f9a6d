package ledger

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// CID returns the content address of a body: CIDv1 of the raw bytes, sha2-256, in
// base32 (multiformats CID specification). It is what IPFS calls the same bytes.
func CID(body []byte) string {
	const (
		version = 0x01
		raw     = 0x55 // multicodec
		sha2256 = 0x12 // multihash
	)
	digest := sha256.Sum256(body)
	id := append([]byte{version, raw, sha2256, sha256.Size}, digest[:]...)
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id))
}
