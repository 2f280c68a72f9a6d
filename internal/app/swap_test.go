package app

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/rollout"
)

// Two charters disagree about latency_p50. While they are swapped under load,
// every answer must be that of the revision it names.
func TestSwapsUnderLoad(t *testing.T) {
	o := unrecorded()
	o.Charter, o.InsecureSelfAsserted = example1, true
	s, err := New(t.Context(), server(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	wide := s.engine.Current()
	narrow, err := engine.Prepare(t.Context(), bundled(t, "testdata/narrower.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.handler)
	defer web.Close()

	var load, swaps sync.WaitGroup
	stop := make(chan struct{})
	swaps.Go(func() {
		for {
			for _, p := range []*engine.Policy{narrow, wide} {
				s.engine.Swap(p)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 4 {
		load.Go(func() {
			for range 100 {
				status, body := ask(t, web.URL+"/v1/check", collect)
				d := decided(t, body)
				want := decision.UnknownMetric
				if d.Revision == wide.Revision() {
					want = decision.Allowed
				}
				if status != 200 || d.Outcome != want || !strings.HasPrefix(d.Revision, "example-") {
					t.Errorf("%d %s", status, body)
				}
			}
		})
	}
	load.Wait()
	close(stop)
	swaps.Wait()
}

func TestStatus(t *testing.T) {
	e := engine.New()
	s := &Server{engine: e, rollout: rollout.New(e, rollout.Options{})}
	if got := s.Status().Code; got != "no_policy" {
		t.Errorf("without a policy: %q", got)
	}
	p, err := engine.Prepare(t.Context(), bundled(t, example1), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Swap(p)
	if got := s.Status(); got.Code != "" || got.Charter != "example" || got.Revision != p.Revision() {
		t.Errorf("with one: %+v", got)
	}
	s.draining.Store(true)
	if got := s.Status().Code; got != "shutting_down" {
		t.Errorf("while stopping: %q", got)
	}
}
