package ledgerclient

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Checkpoint returns the latest checkpoint; [ledger.ErrNotFound] for an empty log. It
// takes no permission.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	_, signed, err := c.Head(ctx)
	if err == nil && signed == nil {
		err = fmt.Errorf("checkpoint: %w", ledger.ErrNotFound)
	}
	return signed, err
}

// Consistency returns what the server says proves that its log of a size continues
// that of an older size. It takes no permission, and is not verified.
func (c *Client) Consistency(ctx context.Context, old, size uint64) (tlog.TreeProof, error) {
	body, err := c.get(ctx, fmt.Sprintf("/proof/consistency?old=%d&size=%d", old, size))
	if err != nil {
		return nil, err
	}
	var answer struct{ Hashes tlog.TreeProof }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("proof of consistency: %w", err)
	}
	return answer.Hashes, nil
}
