package decision

import (
	"crypto/sha256"
	"encoding/binary"
)

// Bucket is a number from 0 to 99 for a node under something that is rolled out: it
// reaches the nodes whose bucket is less than the percentage. It depends on nothing
// else, so it is the same after a restart and on every machine, and a higher percentage
// only adds nodes. Digest is that of what is rolled out, a charter or a release:
// "sha256:" and 64 hexadecimal digits.
//
// It is the first four bytes of the SHA-256 of digest, space, node, as a big-endian
// number, modulo 100. In a shell:
//
//	echo $(( 0x$(printf '%s %s' "$DIGEST" "$NODE" | sha256sum | cut -c1-8) % 100 ))
func Bucket(digest, node string) int {
	var room [640]byte // a digest and the longest node that is valid
	text := append(room[:0], digest...)
	text = append(text, ' ')
	text = append(text, node...)
	sum := sha256.Sum256(text)
	return int(binary.BigEndian.Uint32(sum[:4]) % 100)
}
