package rival_test

import (
	"testing"

	"github.com/westworld-charter/charter/tests/bench/rival"
	"github.com/westworld-charter/charter/tests/bench/workload"
)

// A rival that answers another question costs something else: what it costs
// would say nothing.
func TestRivalsAgree(t *testing.T) {
	s := workload.New(10)
	ours, err := rival.NewCharter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if ours.StandIn {
		t.Error("a small charter was replaced")
	}
	questions := append(s.Uniform(300), s.Scrape()[:100]...)
	if err := rival.Both(t.Context(), questions, ours.Cold); err != nil {
		t.Fatal(err)
	}
	rivals := map[string]func() (rival.Decider, error){
		"naive":            func() (rival.Decider, error) { return rival.Naive(t.Context(), s) },
		"raw":              func() (rival.Decider, error) { return rival.Raw(t.Context(), ours.Bundle) },
		"cedar_per_metric": func() (rival.Decider, error) { return rival.CedarPerMetric(s) },
		"cedar_like":       func() (rival.Decider, error) { return rival.CedarLike(s) },
		"cedar_resolved":   func() (rival.Decider, error) { return rival.CedarResolved(s) },
		"casbin":           func() (rival.Decider, error) { return rival.Casbin(s) },
	}
	for name, make := range rivals {
		t.Run(name, func(t *testing.T) {
			d, err := make()
			if err != nil {
				t.Fatal(err)
			}
			if err := rival.Agree(t.Context(), questions, ours.Cold, d); err != nil {
				t.Error(err)
			}
		})
	}
}
