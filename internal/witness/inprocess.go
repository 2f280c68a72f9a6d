package witness

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Cosign does in process what [Server.Add] does for a request: it returns the
// checkpoint with the cosignature of this witness. Old is the size that the witness
// holds, from which prove proves that the checkpoint continues it. It refuses as
// [Server.Add] does.
func (s *Server) Cosign(ctx context.Context, old uint64, signed []byte, prove func() (tlog.TreeProof, error)) ([]byte, error) {
	proof, err := prove()
	if err != nil {
		return nil, fmt.Errorf("prove consistency from size %d: %w", old, err)
	}
	r := request{old: int64(old), proof: proof, note: signed} //nolint:gosec // a size
	lines, err := s.Add(ctx, r.body())
	if err != nil {
		return nil, err
	}
	return append(append([]byte(nil), signed...), lines...), nil
}
