package fleet

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/releases"
)

// scale is the size of the test.
type scale struct {
	nodes, cut int
	interval   time.Duration // between polls
	kills      int
}

func size() scale {
	if os.Getenv("CHARTER_LONG") == "1" {
		return scale{nodes: 50, cut: 10, interval: 10 * time.Second, kills: 60}
	}
	return scale{nodes: 6, cut: 2, interval: 2 * time.Second, kills: 6}
}

// fleet is the nodes, and what each of them was seen to run.
type fleet struct {
	nodes []*node
	known map[string]int64 // sequence by revision

	mu   sync.Mutex
	runs map[string]int64 // the sequence that a node was seen to run last; guarded by mu
	bad  []string         // guarded by mu
}

// look asks a node what it runs. A sequence that is lower than one it ran before is what
// no node may ever show.
func (f *fleet) look(t *testing.T, n *node) int64 {
	a, err := n.ask(t.Context(), "latency_p50")
	if err != nil || a.Revision == "" {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sequence, ok := f.known[a.Revision]
	if !ok {
		f.bad = append(f.bad, fmt.Sprintf("%s runs %s, which nobody released", n.name, a.Revision))
	}
	if sequence < f.runs[n.name] {
		f.bad = append(f.bad, fmt.Sprintf("%s runs sequence %d after %d", n.name, sequence, f.runs[n.name]))
	}
	f.runs[n.name] = sequence
	return sequence
}

// await waits until nodes run a sequence, and returns how long that took since begin. All
// nodes are looked at meanwhile.
func (f *fleet) await(t *testing.T, want int64, nodes []*node, begin time.Time, patience time.Duration) time.Duration {
	t.Helper()
	for {
		behind := 0
		var group sync.WaitGroup
		var mu sync.Mutex
		for _, n := range nodes {
			group.Go(func() {
				if f.look(t, n) != want {
					mu.Lock()
					defer mu.Unlock()
					behind++
				}
			})
		}
		group.Wait()
		took := time.Since(begin)
		if behind == 0 {
			return took
		}
		if took > patience {
			t.Fatalf("%d of %d nodes do not run sequence %d after %v", behind, len(nodes), want, took)
		}
		pause := time.NewTimer(100 * time.Millisecond)
		<-pause.C
	}
}

func (f *fleet) check(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bad) > 0 {
		t.Errorf("%d times a node ran what it must not, such as: %s", len(f.bad), f.bad[0])
	}
}

// A release reaches every node within two polls, with one download each; nodes that were
// cut off come to the newest release, and none ever goes back.
func TestReleaseReachesAllNodes(t *testing.T) {
	s := size()
	r := startRegistry(t)
	f := &fleet{known: map[string]int64{}, runs: map[string]int64{}}
	var all []*releases.Made
	for _, sequence := range []int64{1, 3, 5, 7} {
		rel := made(t, sequence)
		all = append(all, rel)
		f.known[rel.Revision] = sequence
	}
	r.publish(t.Context(), t, all[0])
	for i := range s.nodes {
		n := newNode(t, i, r, s.interval)
		f.nodes = append(f.nodes, n)
		n.start(t)
	}
	const patience = 3 * time.Minute
	t.Logf("%d nodes run the first release after %v", s.nodes, f.await(t, 1, f.nodes, time.Now(), patience))

	quiet := r.sent(f.nodes[0].host)
	begin := time.Now()
	r.publish(t.Context(), t, all[1])
	took := f.await(t, 3, f.nodes, begin, patience)
	t.Logf("a release reached %d nodes after %v, %.2f of the poll interval of %v", s.nodes, took, took.Seconds()/s.interval.Seconds(), s.interval)
	if took > 2*s.interval {
		t.Errorf("a release took %v to reach all nodes, want at most two poll intervals of %v", took, s.interval)
	}
	for _, n := range f.nodes {
		for i, rel := range all[:2] {
			if got := r.downloads(n.host, rel.Manifest.Layer.Digest); got != 1 {
				t.Errorf("%s downloaded the archive of sequence %d %d times, want once", n.name, 2*i+1, got)
			}
		}
	}
	t.Logf("bytes sent to a node for a release: %d, archive %d", r.sent(f.nodes[0].host)-quiet, len(all[1].Archive))

	cut := f.nodes[:s.cut]
	hosts := make([]string, len(cut))
	for i, n := range cut {
		hosts[i] = n.host
	}
	r.partition(true, hosts...)
	r.publish(t.Context(), t, all[2])
	f.await(t, 5, f.nodes[s.cut:], time.Now(), patience)
	r.publish(t.Context(), t, all[3])
	f.await(t, 7, f.nodes[s.cut:], time.Now(), patience)
	for _, n := range cut {
		if got := f.look(t, n); got != 3 {
			t.Errorf("%s, which is cut off, runs sequence %d, want 3", n.name, got)
		}
	}
	r.partition(false, hosts...)
	t.Logf("after the partition has healed all nodes run the newest release after %v", f.await(t, 7, f.nodes, time.Now(), patience))
	for _, n := range cut {
		if got := r.downloads(n.host, all[2].Manifest.Layer.Digest); got != 0 {
			t.Errorf("%s downloaded a release that was not the newest any more", n.name)
		}
	}
	// Somebody puts an old release back under the tag: nobody follows.
	r.publish(t.Context(), t, all[1])
	wait := time.NewTimer(2 * s.interval)
	<-wait.C
	f.await(t, 7, f.nodes, time.Now(), patience)
	f.check(t)
}

// Power fails at any moment of an activation: the node comes back with the release
// before or the new one, and gets to the new one.
func TestKilledWhileActivating(t *testing.T) {
	s := size()
	r := startRegistry(t)
	f := &fleet{known: map[string]int64{}, runs: map[string]int64{}}
	n := newNode(t, 0, r, 200*time.Millisecond)
	const patience = time.Minute
	first := made(t, 1)
	f.known[first.Revision] = 1
	r.publish(t.Context(), t, first)
	n.start(t)
	f.await(t, 1, []*node{n}, time.Now(), patience)
	outcomes := map[string]int{}
	for i := range s.kills {
		old, next := int64(1+2*i), int64(3+2*i)
		rel := made(t, next)
		f.known[rel.Revision] = next
		r.publish(t.Context(), t, rel)
		moment := time.NewTimer(time.Duration(rand.IntN(700)) * time.Millisecond) //nolint:gosec // any moment will do
		<-moment.C
		n.kill()
		r.partition(true, n.host) // what it has on disk is all there is
		n.start(t)
		deadline := time.Now().Add(patience)
		var got int64
		for got == 0 && time.Now().Before(deadline) {
			got = f.look(t, n)
		}
		switch got {
		case old:
			outcomes["old"]++
		case next:
			outcomes["new"]++
		default:
			t.Fatalf("killed while sequence %d replaced %d, it came back with %d", next, old, got)
		}
		r.partition(false, n.host)
		f.await(t, next, []*node{n}, time.Now(), patience)
	}
	t.Logf("killed %d times: %v", s.kills, outcomes)
	f.check(t)
	if a, err := n.ask(t.Context(), fmt.Sprintf("only_in_%d", 1+2*s.kills)); err != nil || !a.Allow || f.known[a.Revision] != int64(1+2*s.kills) {
		t.Errorf("the newest release does not decide: %+v %v", a, err)
	}
}
