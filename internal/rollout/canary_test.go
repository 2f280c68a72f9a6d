package rollout

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/decision"
)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// The wanted numbers come from a shell, as an operator would compute them:
//
//	D=sha256:$(printf 'a%.0s' $(seq 64))
//	for N in edge-1 edge-2 edge-3 'rack 7/ü' ''; do echo $(( 0x$(printf '%s %s' "$D" "$N" | sha256sum | cut -c1-8) % 100 )); done
func TestBucketIsThatOfAShell(t *testing.T) {
	for node, want := range map[string]int{"edge-1": 8, "edge-2": 99, "edge-3": 45, "rack 7/ü": 97, "": 71} {
		if got := decision.Bucket(digestA, node); got != want {
			t.Errorf("%q: %d, want %d", node, got, want)
		}
	}
}

// Every percentage contains the smaller ones, and has about its share of nodes;
// another candidate begins with other nodes.
func TestPercentagesAreNested(t *testing.T) {
	const nodes = 20_000
	r, moved := trial{digest: digestA}, 0
	for _, percent := range []int{0, 1, 5, 50, 99, 100} {
		answered := 0
		for i := range nodes {
			node := fmt.Sprintf("edge-%d", i)
			r.percent.Store(int32(percent))
			now := r.answers(node)
			r.percent.Store(int32(min(percent+1, 100)))
			if now {
				answered++
				if !r.answers(node) {
					t.Fatalf("%s is a canary at %d %% and none at a higher percentage", node, percent)
				}
			}
			if decision.Bucket(digestA, node) != decision.Bucket("sha256:b", node) {
				moved++
			}
		}
		if share := 100 * float64(answered) / nodes; share < float64(percent)-1.5 || share > float64(percent)+1.5 {
			t.Errorf("%d %% are %.1f %% of the nodes", percent, share)
		}
	}
	if moved == 0 {
		t.Error("every candidate begins with the same nodes")
	}
	if r.percent.Store(100); r.answers("") {
		t.Error("a question without a node is answered by the candidate")
	}
}

// The answer is exactly that of the policy that the node has.
func TestAnswersFollowThePercentage(t *testing.T) {
	was, next := edited(t), edited(t, "1.0.0", "2.0.0", "match: [load]", "match: [latency]", "retention: 30d", "retention: 7d", `match: ["plain"]`, `match: ["load"]`)
	r := offered(t, next, 0, Options{Threshold: Threshold{Kinds: Kinds(), Rate: 1}})
	digest := next.Charter().Digest()
	before, after := evaluating(was), evaluating(next)
	metric := rapid.SampledFrom([]string{"load", "latency", "map", "plain", "a_secret", "nothing"})
	node := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-z0-9-]{1,8}`), rapid.StringN(1, 40, 200))
	labels := rapid.MapOf(rapid.SampledFrom([]string{"secret", "place", "cpu"}), rapid.SampledFrom([]string{"", "v"}))
	rapid.Check(t, func(rt *rapid.T) {
		percent := rapid.IntRange(0, 100).Draw(rt, "percent")
		if err := r.SetPercent(percent); err != nil {
			rt.Fatal(err)
		}
		var questions []decision.Input
		for range rapid.IntRange(1, 4).Draw(rt, "questions") {
			in := labelled(collect(metric.Draw(rt, "metric"), node.Draw(rt, "node")), labels.Draw(rt, "labels"))
			if in.Node == "" {
				in.Operation = decision.Read
			}
			questions = append(questions, in)
		}
		batch := r.DecideBatch(t.Context(), questions)
		for i, in := range questions {
			policy := before
			if percent > 0 && in.Node != "" && decision.Bucket(digest, in.Node) < percent {
				policy = after
			}
			want, err := policy.Decide(t.Context(), in)
			if err != nil {
				rt.Fatal(err)
			}
			for how, got := range map[string]decision.Decision{"alone": ask(t, r, in), "in a batch": batch[i]} {
				if fmt.Sprintf("%+v", without(got)) != fmt.Sprintf("%+v", without(want)) {
					rt.Fatalf("%s: %+v at %d %%\ngot  %+v\nwant %+v", how, in, percent, got, want)
				}
				if got.DecisionID == "" {
					rt.Fatalf("%s: no id", how)
				}
			}
		}
	})
}

func TestPercentageIsChecked(t *testing.T) {
	r := offered(t, widened(t), 0, Options{})
	for _, n := range []int{-1, 101} {
		if r.SetPercent(n) == nil || r.Offer(widened(t), n) == nil {
			t.Errorf("%d %% is accepted", n)
		}
	}
}

// A share of the questions is always the same, and about as large as it should be.
func TestSampleIsDeterministic(t *testing.T) {
	r := &Rollout{options: Options{Skip: 75}}
	again := &Rollout{options: Options{Skip: 75}}
	sampled := 0
	for i := range 10_000 {
		in := collect(fmt.Sprintf("m%d", i%100), fmt.Sprintf("n%d", i/100))
		if r.sampled(&in) != again.sampled(&in) {
			t.Fatal("two servers compare different questions")
		}
		if r.sampled(&in) {
			sampled++
		}
	}
	if sampled < 2200 || sampled > 2800 {
		t.Errorf("%d of 10,000 are compared, want a quarter", sampled)
	}
}
