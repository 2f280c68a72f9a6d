package enforcement

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
)

// proofKinds counts the requests that nodes elsewhere are given.
func (w *world) proofKinds() map[string]int {
	w.t.Helper()
	kinds := map[string]int{}
	for _, p := range w.e.Outbound().Proofs {
		s, err := committee.Decode(p)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := committee.Attested(w.charter, s); err != nil {
			w.t.Errorf("a proof that proves nothing: %v", err)
		}
		kinds[s.Request.Kind]++
	}
	return kinds
}

func (w *world) expectProofs(want map[string]int) {
	w.t.Helper()
	got := w.proofKinds()
	for _, kind := range committee.Kinds() {
		if got[kind] != want[kind] {
			w.t.Errorf("%d requests of kind %s, want %d", got[kind], kind, want[kind])
		}
	}
}

// Nodes elsewhere get the requests behind overrides as long as these are in force, and
// those that lifted something for as long as it may matter, also after a restart.
func TestOutbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *charter.Charter) {
			c.Escalation = []charter.Step{{Level: 1, At: 1, Within: "30d", Action: ActionSuspend, For: "24h"}, {Level: 2, At: 2, Within: "30d", Action: ActionQuarantine}}
		})
		defer w.run()()
		w.attempts("a")
		row := w.e.Outbound().State["standing"].(map[string]any)["a"].(map[string]any)
		if row["state"] != Suspended || row["until"] == nil {
			t.Errorf("the end is not told: %v", row)
		}
		if own := w.e.State()["standing"].(map[string]any)["a"].(map[string]any); own["until"] != nil {
			t.Errorf("the server decides by the wall clock: %v", own)
		}
		sign := func(r committee.Request) committee.Signed { return w.people.sign(t, 2, time.Now(), r) }
		o, err := w.e.Override(t.Context(), sign(latency(time.Now(), 4*time.Hour)))
		expectCode(t, err, "")
		w.expectProofs(map[string]int{committee.Override: 1})
		pass(time.Hour)
		_, err = w.e.Renew(t.Context(), sign(committee.Request{Kind: committee.Renew, Override: o.ID, Until: time.Now().Add(2 * time.Hour).Truncate(time.Second)}))
		expectCode(t, err, "")
		_, err = w.e.Restore(t.Context(), sign(committee.Request{Kind: committee.Restore, Node: "a"}))
		expectCode(t, err, "")
		w.expectProofs(map[string]int{committee.Override: 1, committee.Renew: 1, committee.Restore: 1})
		_, err = w.e.EndOverride(t.Context(), sign(committee.Request{Kind: committee.EndOverride, Override: o.ID}))
		expectCode(t, err, "")
		w.expectProofs(map[string]int{committee.EndOverride: 1, committee.Restore: 1})

		pass(30 * time.Minute)
		w.attempts("a") // it is quarantined now
		_, err = w.e.Restore(t.Context(), sign(committee.Request{Kind: committee.Restore, Node: "a"}))
		expectCode(t, err, "")
		_, err = w.e.Revoke(t.Context(), Revocation{Node: "b", Reason: "legal", By: "token:x"})
		expectCode(t, err, "")
		_, err = w.e.EndRevocation(t.Context(), sign(committee.Request{Kind: committee.EndRevocation, Node: "b"}))
		expectCode(t, err, "")
		w.expectProofs(map[string]int{committee.EndOverride: 1, committee.Restore: 2, committee.EndRevocation: 1})
		pass(2 * time.Hour) // all requests have expired
		w.expectProofs(map[string]int{committee.Restore: 1, committee.EndRevocation: 1})
		w.start()
		w.expectProofs(map[string]int{committee.Restore: 1, committee.EndRevocation: 1})
		w.expectRebuilt()
	})
}
