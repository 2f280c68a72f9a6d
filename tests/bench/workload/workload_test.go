package workload_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/bench/workload"
)

// Two runs that ask different questions cannot be compared.
func TestSameEveryTime(t *testing.T) {
	a, b := workload.New(1000), workload.New(1000)
	if !bytes.Equal(a.YAML(), b.YAML()) {
		t.Error("the charter differs from one time to the next")
	}
	if !reflect.DeepEqual(a.Uniform(500), b.Uniform(500)) || !reflect.DeepEqual(a.Scrape(), b.Scrape()) {
		t.Error("the questions differ from one time to the next")
	}
}

func TestSizes(t *testing.T) {
	for _, n := range []int{10, 1000, 100_000} {
		s := workload.New(n)
		exact, globs := names(s.Exact), names(s.Globs)
		if len(exact) != n || len(globs) != min(n, 1000) {
			t.Errorf("%d metrics: %d different names and %d different globs", n, len(exact), len(globs))
		}
	}
}

func names(clauses []workload.Clause) map[string]bool {
	all := map[string]bool{}
	for _, c := range clauses {
		for _, name := range c.Match {
			all[name] = true
		}
	}
	return all
}

// Every block holds the mixture, so that few questions are as good as many.
func TestMixture(t *testing.T) {
	s := workload.New(1000)
	exact, fleet := names(s.Exact), map[string]bool{}
	for _, n := range s.Nodes {
		fleet[n] = true
	}
	for _, n := range s.Quarantined {
		delete(fleet, n)
	}
	questions := s.Uniform(2000)
	const block = 20
	for at := 0; at < len(questions); at += block {
		count := map[string]int{}
		for _, in := range questions[at : at+block] {
			switch {
			case !fleet[in.Node]:
				count["bad node"]++
			case exact[in.Metric]:
				count["exact"]++
			case strings.HasPrefix(in.Metric, "app"):
				count["glob"]++
			default:
				count["unchartered"]++
			}
		}
		want := map[string]int{"exact": 12, "glob": 4, "unchartered": 3, "bad node": 1}
		if !reflect.DeepEqual(count, want) {
			t.Fatalf("block at %d: %v, want %v", at, count, want)
		}
	}
}

func TestScrapeIsOneNode(t *testing.T) {
	nodes := map[string]int{}
	for _, in := range workload.New(1000).Scrape() {
		nodes[in.Node]++
	}
	most := 0
	for _, n := range nodes {
		most = max(most, n)
	}
	if share := float64(most) / workload.Series; share < 0.9 {
		t.Errorf("%.2f of the series come from one node", share)
	}
}
