package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errIndex says that the index of queries does not agree with itself.
var errIndex = errors.New("the index is broken")

// checkIndex begins to check the index of queries, if that can be done beside
// reading the log. The function it returns ends it.
func (v *verifier) checkIndex(ctx context.Context) (stop func()) {
	v.index, _ = v.store.(RowChecker)
	if v.index == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	v.checked = make(chan error, 1)
	var group sync.WaitGroup
	group.Go(func() {
		sound, err := v.index.CheckIndex(ctx)
		if err == nil && !sound {
			err = errIndex
		}
		v.checked <- err
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// reconcile tells what is wrong with the index of queries.
func (v *verifier) reconcile(ctx context.Context) error {
	if v.index == nil {
		first, err := v.store.Reconcile(ctx)
		if err != nil {
			return fmt.Errorf("compare the index of queries: %w", err)
		}
		if first < v.size {
			v.misfiled = &first
		}
	} else if err := <-v.checked; errors.Is(err, errIndex) {
		if v.misfiled == nil {
			v.misfiled = new(uint64)
		}
	} else if err != nil {
		return fmt.Errorf("compare the index of queries: %w", err)
	}
	if v.misfiled != nil {
		return v.fault(*v.misfiled, "the index of queries does not show it as it is")
	}
	return nil
}
