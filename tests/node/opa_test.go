package node

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

// machine is a node with an unmodified opa beside it, which knows nothing of signatures.
type machine struct {
	dir       string
	scene     *releases.Scene
	node, opa string // where they listen
	running   *process.Process
}

// run starts the node, which asks a reference.
func (m *machine) run(t *testing.T, ref string, more ...string) {
	t.Helper()
	m.running = process.Start(t, process.Options{Dir: m.dir}, "charter-node", append([]string{
		"--bundle", ref, "--trust", "trust.yaml", "--data", "data", "--listen", m.node, "--poll", "100ms", "--insecure-self-asserted",
	}, more...)...)
}

// both fails unless node and opa decide by that version.
func (m *machine) both(version int) error {
	if err := decides("http://"+m.node+"/v1/check", "", "", version); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if err := decides("http://"+m.opa+"/v1/data/charter/decision", `{"input":`, "}", version); err != nil {
		return fmt.Errorf("opa: %w", err)
	}
	return nil
}

// degraded fails unless the node says that it is, and why.
func (m *machine) degraded(code string) error {
	body, err := fetch.Get(context.Background(), "http://"+m.node+"/health")
	if err == nil && (code != "" && !strings.Contains(body, `"code":"`+code+`"`) || code == "" && strings.Contains(body, "degraded")) {
		err = fmt.Errorf("health %s, want %q", body, code)
	}
	return err
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	opa := judge.Path(t, "opa")
	m := &machine{dir: t.TempDir(), scene: releases.NewScene(t), node: process.FreeAddress(t), opa: process.FreeAddress(t)}
	m.scene.Key.TrustFile(t, m.dir, "")
	m.run(t, m.scene.Ref.String())
	config := file.Write(t, filepath.Join(m.dir, "opa.yaml"), `services: {node: {url: "http://`+m.node+`"}}
bundles: {charter: {service: node, resource: bundles/charter, polling: {min_delay_seconds: 1, max_delay_seconds: 1}}}
`)
	process.Start(t, process.Options{Dir: m.dir}, opa, "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", m.opa, "--config-file", config)
	poll.Until(t, "both decide", func() error { return m.both(1) })
	m.scene.PublishActive(t)
	poll.Until(t, "both follow", func() error { return m.both(2) })
	return m
}

// Whatever a registry serves, opa beside a node gets verified bundles alone, and decides
// as the node does: also after the node was killed, and without a registry.
func TestStockOPABesideNode(t *testing.T) {
	m := newMachine(t)
	// The registry goes on with what a case before published: a good release that
	// arrives broken comes last.
	for _, code := range []string{"untrusted_key", "older_sequence", "layer_digest_mismatch"} {
		t.Run(code, func(t *testing.T) {
			cases := releases.Cases()
			i := slices.IndexFunc(cases, func(c releases.Case) bool { return c.Code == code })
			if i < 0 {
				t.Fatal("there is no such case")
			}
			cases[i].Break(t, m.scene)
			poll.Until(t, "the node refuses", func() error { return m.degraded(code) })
			if err := m.both(2); err != nil {
				t.Error(err)
			}
			body, err := fetch.Get(t.Context(), "http://"+m.node+"/bundles/charter")
			if err != nil || body != string(m.scene.Active.Archive) {
				t.Errorf("what opa is given is not what was verified: %d bytes, %v", len(body), err)
			}
			m.scene.Registry.Publish(t, releases.Channel, m.scene.Active)
			poll.Until(t, "the node recovers", func() error { return m.degraded("") })
		})
	}
	m.running.Kill()
	if err := decides("http://"+m.opa+"/v1/data/charter/decision", `{"input":`, "}", 2); err != nil {
		t.Errorf("opa without its node: %v", err)
	}
	m.run(t, "oci://127.0.0.1:1/gone:"+releases.Channel)
	poll.Until(t, "both decide without a registry", func() error { return m.both(2) })
	poll.Until(t, "the node says that the registry is gone", func() error { return m.degraded("unreachable") })
	m.running.Kill()
	m.scene.Heal(t)
	m.run(t, m.scene.Ref.String())
	poll.Until(t, "both follow again", func() error { return m.both(4) })
}
