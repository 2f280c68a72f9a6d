package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/releases"
)

// Room comes back with time, and no faster; a clock that goes back costs none.
func TestStateQuiet(t *testing.T) {
	var q stateQuiet
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	taken := func() (n int) {
		for range 2 * stateEntries {
			if q.take(now) {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		later time.Duration
		want  int
	}{{0, stateEntries}, {stateEntryPause - 1, 0}, {1, 1}, {3 * stateEntryPause, 3}, {24 * time.Hour, stateEntries}, {-time.Hour, stateEntries}} {
		now = now.Add(step.later)
		if got := taken(); got != step.want {
			t.Errorf("%s later there is room for %d, want %d", step.later, got, step.want)
		}
	}
}

// Whoever has the key of the state makes a node obey each state, and its ledger no
// longer than by a bound; how many states had no entry is in the next one.
func TestStatesThatChangeAllTheTimeFillNoLedger(t *testing.T) {
	registry, key := releases.NewRegistry(t), releases.TrustedKey(t)
	o := nodeOptions(t, registry, key)
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	n := started(t, CharterNode(), o)
	until(t, "the first release", func() bool { return n.engine.Current() != nil })
	const changes = 200
	release := activation.Release{Digest: n.releases.Status().Digest, Channel: releases.Channel, Sequence: 1}
	for i := range changes {
		state := map[string]any{"standing": map[string]any{fmt.Sprint("edge-", i): map[string]any{"standing": "quarantined"}}}
		p, err := n.engine.Current().WithState(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.putRelease(t.Context(), activation.Activation{Release: release, Policy: p, State: state, Previous: release, SameBundle: true}); err != nil {
			t.Fatal(err)
		}
		if n.engine.Current() != p && digestOf(n.state) != digestOf(state) {
			t.Fatal("a state is not in force")
		}
	}
	last := digestOf(n.state)
	n.stop()
	reader := started(t, CharterNode(), o)
	entries, skipped, state := 0, uint64(0), ""
	for _, a := range recorded[audit.Activation](t, reader.Server, ledger.Activation) {
		if a.Trigger == "state" {
			entries++
			skipped += a.Skipped
			state = a.State
		}
	}
	if entries > stateEntries+2 || skipped != uint64(changes-entries) || state != last {
		t.Errorf("%d entries about %d states, which skip %d; the last is about %s, want %s", entries, changes, skipped, state, last)
	}
}

// A registry whose tag goes back and forth between bad releases is refused each time,
// which is counted, and makes an entry for each release and one at the end.
func TestReleasesThatAlternateFillNoLedger(t *testing.T) {
	registry, key, stranger := releases.NewRegistry(t), releases.TrustedKey(t), releases.StrangeKey(t)
	o := nodeOptions(t, registry, key)
	o.Diagnostics = "127.0.0.1:0"
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	n := started(t, CharterNode(), o)
	until(t, "the first release", func() bool { return n.engine.Current() != nil })
	var bad []*releases.Made
	for i := range 2 {
		bad = append(bad, releases.Release{Version: 2 + i, Sequence: int64(3 + 2*i), Key: stranger}.Make(t))
	}
	const times = 10
	for i := range times {
		m := bad[i%len(bad)]
		registry.Publish(t, releases.Channel, m)
		until(t, "a refusal", func() bool {
			p := n.releases.Status().LastError
			return p != nil && p.Code == "untrusted_key" && p.Digest == m.Digest()
		})
	}
	if body := n.health(t); !strings.Contains(body, fmt.Sprintf("%d times more within the hour", times-len(bad))) {
		t.Errorf("/health does not say how often: %s", body)
	}
	_, exported := fetch(t, "http://"+n.diagListener.Addr().String()+"/metrics")
	if line := fmt.Sprintf(`charter_release_refusals_total{code="untrusted_key",part="policy"} %d`, times); !strings.Contains(exported, "\n"+line+"\n") {
		t.Errorf("/metrics lacks %s", line)
	}
	n.stop()
	o.Bundle = "oci://127.0.0.1:1/gone:production"
	again := started(t, CharterNode(), o)
	var repeats []uint64
	for _, l := range recorded[audit.Load](t, again.Server, ledger.Load) {
		if l.Result == audit.Refused {
			repeats = append(repeats, l.Repeats)
		}
	}
	if want := []uint64{0, 0, times - 2}; !slices.Equal(repeats, want) {
		t.Errorf("the entries repeat %d times, want %d", repeats, want)
	}
}
