package rollout

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/westworld-charter/charter/internal/decision"
)

// Bucket is a number from 0 to 99 for a node under a candidate: the candidate
// answers the nodes whose bucket is less than the percentage. It depends on
// nothing else, so it is the same after a restart and on every machine, and a
// higher percentage only adds nodes. Digest is that of the candidate's charter,
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

// answers reports whether the candidate answers a node. A question without a
// node is the active policy's at any percentage.
func (t *trial) answers(node string) bool {
	percent := int(t.percent.Load())
	return percent > 0 && node != "" && (percent == 100 || Bucket(t.digest, node) < percent)
}

// sampled reports whether a question is compared in shadow. The same question
// always is, or never.
func (r *Rollout) sampled(in *decision.Input) bool {
	return r.options.Skip <= 0 || sampleBucket(in) >= r.options.Skip
}

// sampleBucket is a number from 0 to 99 for a question: FNV-1a, which is cheap
// and needs to resist nobody.
func sampleBucket(in *decision.Input) int {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{in.Metric, in.Node, in.Role, in.Operation} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // which is in no UTF-8
	}
	return int((h ^ h>>32) % 100)
}
