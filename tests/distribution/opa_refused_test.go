package distribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

// beside is a stock opa and a node of ours that poll the same reference.
type beside struct {
	scene  *releases.Scene
	engine *engine.Engine
	node   *activation.Activator
	data   string // of the node
	opa    *followingOPA

	polled string // path that opa asks for
	asked  int    // how often it had, when the case happened
}

// newBeside has the node serve version 2, and opa soon.
func newBeside(t *testing.T) *beside {
	t.Helper()
	b := &beside{scene: releases.NewScene(t), data: t.TempDir()}
	b.startNode(t)
	b.poll(t, "")
	b.scene.PublishActive(t)
	b.poll(t, "")
	b.opa = followOPA(t, t.TempDir(), b.scene.Ref)
	b.nodeServes(t, 2)
	return b
}

// startNode starts the node, again if it runs.
func (b *beside) startNode(t *testing.T) {
	t.Helper()
	if b.node != nil {
		if err := b.node.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.engine = engine.New()
	trust := releases.Trust(t, releases.Channel, "", b.scene.Key)
	node, err := activation.Open(t.Context(), activation.Options{
		Dir: b.data, Trust: func() *signing.Trust { return trust }, Source: b.scene.Registry.Source(t, b.scene.Ref),
		Activate: func(_ context.Context, a activation.Activation) error {
			b.engine.Swap(a.Policy)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.node = node
}

func (b *beside) poll(t *testing.T, want string) {
	t.Helper()
	code := ""
	if _, err := b.node.Poll(t.Context()); err != nil {
		code = activation.CodeOf(err)
	}
	if code != want {
		t.Errorf("the node says %q, want %q", code, want)
	}
}

func (b *beside) nodeServes(t *testing.T, version int) {
	t.Helper()
	for v := 1; v <= releases.OfferedVersion; v++ {
		if d, err := b.engine.Decide(t.Context(), releases.Question(v)); err != nil || d.Allow != (v == version) {
			t.Errorf("the node decides %s about version %d (%v), want it to serve version %d", d.Outcome, v, err, version)
		}
	}
}

// followingOPA is a stock opa that polls an image every second.
type followingOPA struct{ url, data string }

// followOPA starts one that keeps what it has in a directory.
func followOPA(t *testing.T, dir string, ref distribution.Ref) *followingOPA {
	t.Helper()
	image := strings.TrimPrefix(ref.String(), "oci://")
	host, _, _ := strings.Cut(image, "/")
	type object = map[string]any
	config, err := json.Marshal(object{
		"services":              object{"registry": object{"url": "http://" + host, "type": "oci"}},
		"bundles":               object{"charter": object{"service": "registry", "resource": image, "persist": true, "polling": object{"min_delay_seconds": 1, "max_delay_seconds": 1}}},
		"persistence_directory": dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	address := process.FreeAddress(t)
	process.Start(t, process.Options{Dir: dir}, judge.Path(t, "opa"), "run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", address,
		"--config-file", file.Write(t, filepath.Join(t.TempDir(), "opa.json"), string(config)))
	return &followingOPA{"http://" + address, dir}
}

// allows returns the answer to a question, and whether there is one.
func (o *followingOPA) allows(in decision.Input) (allow, defined bool, err error) {
	body, err := json.Marshal(map[string]any{"input": in})
	if err != nil {
		return false, false, err
	}
	answer, err := ask(context.Background(), http.MethodPost, o.url+"/v1/data/charter/decision", string(body))
	if err != nil {
		return false, false, err
	}
	var d struct{ Result *struct{ Allow bool } }
	if err := json.Unmarshal(answer, &d); err != nil {
		return false, false, err
	}
	return d.Result != nil && d.Result.Allow, d.Result != nil, nil
}

func (o *followingOPA) serves(version int) error {
	for v := 1; v <= releases.OfferedVersion; v++ {
		allow, defined, err := o.allows(releases.Question(v))
		if err != nil || !defined || allow != (v == version) {
			return fmt.Errorf("about version %d: allow %t, an answer %t, %v", v, allow, defined, err)
		}
	}
	return nil
}

// does fails unless opa does what is said of it.
func (o *followingOPA) does(what string, offered int) error {
	forbidden := releases.Question(2)
	forbidden.Metric = "gps_position"
	switch what {
	case releases.OPATakesIt:
		return o.serves(offered)
	case releases.OPADenies:
		return o.serves(0)
	case releases.OPALosesRule:
		// Nothing else allows the name, so what shows is the reason.
		reasons, err := o.reasons(forbidden)
		if err != nil || strings.Contains(reasons, decision.CodeForbiddenMetric) {
			return fmt.Errorf("%s, %v", reasons, err)
		}
		return o.serves(offered)
	default:
		return o.serves(2)
	}
}

func (o *followingOPA) reasons(in decision.Input) (string, error) {
	body, err := json.Marshal(map[string]any{"input": in})
	if err != nil {
		return "", err
	}
	answer, err := ask(context.Background(), http.MethodPost, o.url+"/v1/data/charter/decision/reasons", string(body))
	return string(answer), err
}

// What a node refuses and what a stock opa does with the very same thing, which it
// polls as it does by default. docs/activation.md shows this table.
func TestRefusedBesideOPA(t *testing.T) {
	judge.Path(t, "opa")
	// Nearly all of the time is spent waiting for polls, so they wait together.
	cases := releases.Cases()
	sides := make([]*beside, len(cases))
	for i := range cases {
		sides[i] = newBeside(t)
	}
	for i, tc := range cases {
		sides[i].befall(t, tc)
	}
	for i, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			sides[i].judge(t, tc)
		})
	}
}

// befall makes a case happen once both have version 2 in force.
func (b *beside) befall(t *testing.T, tc releases.Case) {
	t.Helper()
	poll.Until(t, "opa decides", func() error { return b.opa.serves(2) })
	before, kept := b.scene.Ref, filepath.Join(t.TempDir(), "kept")
	b.polled = "/manifests/" + releases.Channel
	if err := os.CopyFS(kept, os.DirFS(b.opa.data)); err != nil && !errors.Is(err, fs.ErrNotExist) { // opa may be writing there
		t.Fatal(err)
	}
	tc.Break(t, b.scene)
	if b.scene.Ref != before { // both are configured anew
		b.startNode(t)
		b.opa = followOPA(t, kept, b.scene.Ref)
		b.polled = "/manifests/" + b.scene.Ref.Digest()
	}
	b.asked = b.scene.Registry.Asks(b.polled)
}

// judge holds what both do against what is said of them.
func (b *beside) judge(t *testing.T, tc releases.Case) {
	t.Helper()
	poll.Until(t, "opa polls again, twice", func() error {
		if n := b.scene.Registry.Asks(b.polled) - b.asked; n < 4 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	poll.Until(t, "opa "+tc.OPA, func() error { return b.opa.does(tc.OPA, tc.Offered()) })
	b.poll(t, tc.Code)
	b.nodeServes(t, 2)
}

// The copies on disk are swapped for an older release while nothing runs, and the
// registry is down at the start: opa serves the older one, a node says what happened
// and serves nothing.
func TestSwappedDiskBesideOPA(t *testing.T) {
	judge.Path(t, "opa")
	b := newBeside(t)
	kept := filepath.Join(t.TempDir(), "kept")
	persisted := filepath.Join("bundles", "charter", "bundle.tar.gz")
	poll.Until(t, "opa persists", func() error {
		_, err := os.Stat(filepath.Join(b.opa.data, persisted))
		return err
	})
	if err := os.CopyFS(kept, os.DirFS(b.opa.data)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(kept, persisted), b.scene.Old.Archive, 0o600); err != nil {
		t.Fatal(err)
	}
	release := func(m *releases.Made) string {
		return filepath.Join(b.data, "releases", strings.TrimPrefix(m.Digest(), "sha256:"))
	}
	if err := os.RemoveAll(release(b.scene.Active)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(release(b.scene.Old), release(b.scene.Active)); err != nil {
		t.Fatal(err)
	}
	b.scene.Registry.Lie(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "gone", http.StatusBadGateway)
	})

	opa := followOPA(t, kept, b.scene.Ref)
	poll.Until(t, "opa serves the older release", func() error { return opa.serves(1) })
	b.startNode(t)
	b.nodeServes(t, 0)
	if s := b.node.Status(); s.LastError == nil || s.LastError.Code != activation.CodeOlderOnDisk || !s.Degraded {
		t.Errorf("%+v", s)
	}
}
