package engine

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

// Every question is answered, by few workers, and none of them is left behind.
func TestWorkersComeAndGo(t *testing.T) {
	p := compiled(t, nil)
	synctest.Test(t, func(t *testing.T) {
		var w workers
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() {
				in := question("latency_p50")
				if d, err := w.decide(t.Context(), p, &in); err != nil || !d.Allow {
					t.Errorf("%+v, %v", d, err)
				}
				if n := int(w.running.Load()); n > 2*runtime.GOMAXPROCS(0)+50 {
					t.Errorf("%d workers", n)
				}
			})
		}
		asking.Wait()
		if w.running.Load() == 0 {
			t.Error("nobody waits for the next question")
		}
		<-time.After(2 * idleWorker)
		synctest.Wait()
		if n := w.running.Load(); n != 0 {
			t.Errorf("%d workers wait for good", n)
		}
	})
}

// A question that nobody has time for is denied, and says why.
func TestWorkersAreBusy(t *testing.T) {
	p := compiled(t, nil)
	var w workers
	w.running.Store(1 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := question("latency_p50")
	d, err := w.decide(ctx, p, &in)
	if !errors.Is(err, context.Canceled) || d.Allow || d.Reasons[0].Code != decision.CodeUndetermined {
		t.Errorf("%+v, %v", d, err)
	}
}

// A defect ends the request that met it, not the program.
func TestWorkersPassPanicsOn(t *testing.T) {
	var w workers
	in := question("latency_p50")
	defer func() {
		if cause, ok := recover().(string); !ok || !strings.Contains(cause, "nil pointer") {
			t.Errorf("%v", cause)
		}
	}()
	_, _ = w.decide(t.Context(), nil, &in) // no policy
	t.Error("no panic")
}
