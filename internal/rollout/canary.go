package rollout

import "github.com/westworld-charter/charter/internal/decision"

// answers reports whether the candidate answers a node. A question without a
// node is the active policy's at any percentage.
func (t *trial) answers(node string) bool {
	percent := int(t.percent.Load())
	return percent > 0 && node != "" && (percent == 100 || decision.Bucket(t.digest, node) < percent)
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
