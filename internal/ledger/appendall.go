package ledger

import (
	"context"
	"errors"
	"fmt"
)

// AppendAll appends entries in their order, in as few commits as there is room
// for, and returns when all have reached the level. It is [Log.Append] of each:
// the errors are joined, and a position is valid where its entry has no error.
func (l *Log) AppendAll(ctx context.Context, entries []Entry, level Level) ([]Position, error) {
	positions := make([]Position, len(entries))
	failed := make([]error, len(entries))
	items := make([]*item, len(entries)) // those that the committer was given
	for i, e := range entries {
		it, err := newItem(e)
		if err != nil {
			failed[i] = err
			continue
		}
		settled, p, err := l.reserve(ctx, it)
		if positions[i], failed[i] = p, err; settled {
			continue
		}
		if failed[i] = l.put(ctx, it); failed[i] == nil {
			items[i] = it
		}
	}
	for i, it := range items {
		if it != nil {
			positions[i], failed[i] = l.wait(ctx, it)
		}
	}
	for i, err := range failed {
		if err != nil {
			failed[i] = fmt.Errorf("append entry %d of %d: %w", i+1, len(entries), err)
		}
	}
	if level == Witnessed {
		failed = append(failed, l.witnessed(ctx, positions, failed))
	}
	return positions, errors.Join(failed...)
}

// witnessed waits for cosignatures over the last of the entries, which cover the
// others.
func (l *Log) witnessed(ctx context.Context, positions []Position, failed []error) error {
	last := -1
	for i := range positions {
		if failed[i] == nil && (last < 0 || positions[i].Index > positions[last].Index) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	var err error
	positions[last], err = l.awaitWitnesses(ctx, positions[last])
	return err
}
