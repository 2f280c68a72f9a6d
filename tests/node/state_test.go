package node

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

// states are published beside releases.
const states = "state"

// publishState signs a state bundle and publishes it.
func publishState(t *testing.T, r *releases.Registry, key *releases.Key, sequence int64, document map[string]any) {
	t.Helper()
	s, err := bundle.NewState(sequence, document, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := s.Archive()
	if err != nil {
		t.Fatal(err)
	}
	m := &releases.Made{Manifest: release.NewManifest(release.Digest(archive), int64(len(archive)), s.Revision()), Archive: archive}
	now := time.Now().UTC().Truncate(time.Second)
	m.Statements = [][]byte{key.State(t, m.Digest(), release.StateType, release.State{Charter: "village", Sequence: sequence, Issued: now, Expires: now.Add(time.Hour)})}
	r.Publish(t, states, m)
}

// An opa beside a node obeys a quarantine as the node does, and goes on to obey it when
// the server forgets it: nobody has signed that it is over.
func TestStockOPAObeysState(t *testing.T) {
	opa := judge.Path(t, "opa")
	m := &machine{dir: t.TempDir(), scene: releases.NewScene(t), node: process.FreeAddress(t), opa: process.FreeAddress(t)}
	m.scene.Key.TrustFile(t, m.dir, "state: {keys: [state.pub]}\n")
	file.Write(t, filepath.Join(m.dir, "state.pub"), string(m.scene.Stranger.Public()))
	publishState(t, m.scene.Registry, m.scene.Stranger, 1, map[string]any{})
	m.run(t, m.scene.Ref.String(), "--state-bundle", m.scene.Registry.Ref(t, states).String())
	config := file.Write(t, filepath.Join(m.dir, "opa.yaml"), `services: {node: {url: "http://`+m.node+`"}}
bundles:
  charter: {service: node, resource: bundles/charter, polling: {min_delay_seconds: 1, max_delay_seconds: 1}}
  state: {service: node, resource: bundles/state, polling: {min_delay_seconds: 1, max_delay_seconds: 1}}
`)
	process.Start(t, process.Options{Dir: m.dir}, opa, "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", m.opa, "--config-file", config)
	poll.Until(t, "both decide", func() error { return m.both(1) })

	quarantined := func() error {
		return m.both(0) // neither allows anything
	}
	node := releases.Question(1).Node
	publishState(t, m.scene.Registry, m.scene.Stranger, 2, map[string]any{"standing": map[string]any{node: map[string]any{"state": "quarantined", "reason": "v1"}}})
	poll.Until(t, "both obey a quarantine", quarantined)
	publishState(t, m.scene.Registry, m.scene.Stranger, 3, map[string]any{})
	poll.Until(t, "the node has the state that forgets it", func() error {
		text, err := fetch.Get(context.Background(), "http://"+m.node+"/metrics")
		if err == nil && !bytes.Contains([]byte(text), []byte("\ncharter_state_sequence 3\n")) {
			err = fmt.Errorf("sequence 3 is not in /metrics")
		}
		return err
	})
	if err := quarantined(); err != nil {
		t.Errorf("a quarantine is over that nobody lifted: %v", err)
	}
}
