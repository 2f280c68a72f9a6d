package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// answering is what witnesses answer.
type answering func(ctx context.Context) error

func (a answering) Cosign(ctx context.Context, _ uint64, _ func(uint64) (tlog.TreeProof, error), checkpoint []byte) ([]byte, error) {
	return checkpoint, a(ctx)
}

// Whoever waits for witnesses is told at once that there is nothing to wait for:
// the log has stopped, so no cosignature can be kept.
func TestWaitingForWitnessesOfALogThatStops(t *testing.T) {
	behind := fmt.Errorf("%w: size 7 was signed", ledger.ErrBehind)
	away := fmt.Errorf("%w: nobody there", ledger.ErrNoQuorum)
	for name, test := range map[string]struct {
		answer error
		stop   func(t *testing.T, l *ledger.Log, store *ledgertest.Memory)
		want   error
	}{
		"a witness knows a longer log": {behind, func(*testing.T, *ledger.Log, *ledgertest.Memory) {}, ledger.ErrBehind},
		"a commit fails": {away, func(t *testing.T, l *ledger.Log, store *ledgertest.Memory) {
			store.OnCommit = func(ledger.Commit) error { return errDisk }
			if _, err := l.Append(t.Context(), ledgertest.Denial(9), ledger.Durable); !errors.Is(err, errDisk) {
				t.Error(err)
			}
		}, errDisk},
		"it is closed": {away, func(t *testing.T, l *ledger.Log, _ *ledgertest.Memory) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}, ledger.ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const pause = 3 * time.Second
				asked := 0
				store := ledgertest.NewMemory()
				l := ledgertest.NewLog(t, store, ledgertest.NewSigner(t), func(o *ledger.Options) {
					o.Cosign = answering(func(context.Context) error {
						if asked++; asked == 1 {
							<-time.After(pause) // everybody waits by now
						}
						return test.answer
					})
				})
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var waiting sync.WaitGroup
				for n := range 4 {
					waiting.Go(func() {
						p, err := l.Append(ctx, ledgertest.Denial(n), ledger.Witnessed)
						if !errors.Is(err, ledger.ErrNoQuorum) || !errors.Is(err, ledger.ErrStopped) || !errors.Is(err, test.want) || p.Size == 0 {
							t.Errorf("%+v, %v", p, err)
						}
					})
				}
				synctest.Wait()
				<-time.After(pause + time.Millisecond)
				synctest.Wait()
				test.stop(t, l, store)
				waiting.Wait()
				if took := time.Since(begin); took > 2*pause {
					t.Errorf("waited %s for a log that had stopped", took)
				}
				times := asked
				<-time.After(time.Hour)
				if asked != times {
					t.Errorf("witnesses were asked %d more times by a log that has stopped", asked-times)
				}
			})
		})
	}
}

var errDisk = errors.New("the disk is gone")
