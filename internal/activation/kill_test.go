//go:build unix

package activation

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/releases"
)

const (
	childDir   = "CHARTER_TEST_ACTIVATION_DIR" // makes the test binary a node, to be killed
	childRef   = "CHARTER_TEST_ACTIVATION_REF"
	childTrust = "CHARTER_TEST_ACTIVATION_TRUST"
	childStep  = "CHARTER_TEST_ACTIVATION_STEP" // after which it kills itself
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		if err := child(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a node that does one round. It says on standard output what it puts in
// force, and is killed after a step of the round.
func child(ctx context.Context) error {
	trust, err := signing.ReadTrust(os.Getenv(childTrust))
	if err != nil {
		return err
	}
	ref, err := distribution.ParseRef(os.Getenv(childRef))
	if err != nil {
		return err
	}
	source, err := distribution.Open(ref, distribution.Options{})
	if err != nil {
		return err
	}
	polling := false
	o := Options{
		Dir: os.Getenv(childDir), Source: source, Trust: func() *signing.Trust { return trust },
		Activate: func(_ context.Context, a Activation) error {
			_, err := fmt.Printf("%d\n", a.Sequence)
			return err
		},
		step: func(name string) {
			if polling && name == os.Getenv(childStep) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // it has not arrived yet
			}
		},
	}
	a, err := Open(ctx, o)
	if err != nil {
		return err
	}
	polling = true
	_, err = a.Poll(ctx)
	return err
}

// victim runs a child and returns what it put in force, in order, and whether it was
// killed.
func victim(t *testing.T, w *world, dir, trust, step string) (sequences string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childTrust+"="+trust, childRef+"="+w.registry.Ref(t, releases.Channel).String(), childStep+"="+step)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	killed = cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !killed {
		t.Fatalf("step %s: %v: %s", step, err, &stderr)
	}
	return strings.Join(strings.Fields(out.String()), " "), killed
}

// However late it is killed: the old release or the new one is in force afterwards,
// whole and without the network, and never one that is older than what decided before.
func TestKilledAtEveryStep(t *testing.T) {
	first, update := releases.Release{Version: 1, Sequence: 1}, releases.Release{Version: 2, Sequence: 3}
	rollback, renewal := releases.Release{Version: 1, Sequence: 4}, releases.Release{Version: 2, Sequence: 5}
	for _, tc := range []struct {
		name  string
		had   []releases.Release
		offer releases.Release
		steps []string
	}{
		{"first", nil, first, []string{"fetched", "prepared", "archive", "manifest", "statements", "activated", "saved", "collected"}},
		{"update", []releases.Release{first}, update, []string{"fetched", "prepared", "archive", "manifest", "statements", "activated", "saved", "collected"}},
		{"rollback", []releases.Release{first, update}, rollback, []string{"archive", "statements", "activated", "saved"}},
		{"renewal", []releases.Release{first, update}, renewal, []string{"statements", "activated", "saved", "collected"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, step := range tc.steps {
				w := newWorld(t)
				trust := trustFile(t)
				had := int64(0)
				for _, r := range tc.had {
					w.publish(t, r)
					if _, killed := victim(t, w, w.node.Dir, trust, ""); killed {
						t.Fatal("killed although nobody asked for it")
					}
					had = r.Sequence
				}
				w.publish(t, tc.offer)
				sequences, killed := victim(t, w, w.node.Dir, trust, step)
				if !killed {
					t.Fatalf("the round has no step %s", step)
				}
				decided := strings.HasSuffix(" "+sequences, fmt.Sprintf(" %d", tc.offer.Sequence))
				w.registry.Lie(silence)
				w.node.start(t)
				s := w.node.Status()
				switch {
				case s.Sequence == tc.offer.Sequence:
					w.node.serves(t, tc.offer.Version)
				case s.Sequence == had && !decided:
					if had > 0 {
						w.node.serves(t, tc.had[len(tc.had)-1].Version)
					}
				default:
					t.Errorf("killed after %s, having put %q in force: sequence %d is", step, sequences, s.Sequence)
				}
				if len(s.Problems) > 0 {
					t.Errorf("killed after %s: a crash is no attack: %+v", step, s.Problems)
				}
				w.registry.Lie(nil)
				if code := w.node.poll(t); code != "" {
					t.Errorf("killed after %s, then polling: %q", step, code)
				}
				w.node.serves(t, tc.offer.Version)
				if s := w.node.Status(); s.Sequence != tc.offer.Sequence || s.HighWater.Sequence != tc.offer.Sequence {
					t.Errorf("killed after %s: %+v", step, s)
				}
			}
		})
	}
}

// Killed anywhere, again and again, while releases come: the sequence in force never
// decreases from one process to the next.
func TestKilledAnywhere(t *testing.T) {
	runs := 12
	if os.Getenv("CHARTER_LONG") != "" {
		runs = 400
	}
	w, trust := newWorld(t), trustFile(t)
	highest := int64(0)
	for run := range runs {
		w.publish(t, releases.Release{Version: 1 + run%5, Sequence: int64(1 + 2*run)})
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+w.node.Dir, childTrust+"="+trust, childRef+"="+w.registry.Ref(t, releases.Channel).String())
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(run*37%200)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed, or done before
		timer.Stop()
		for _, text := range strings.Fields(out.String()) {
			var sequence int64
			if _, err := fmt.Sscan(text, &sequence); err != nil {
				t.Fatal(err)
			}
			if sequence < highest {
				t.Fatalf("run %d: sequence %d is in force after %d was", run, sequence, highest)
			}
			highest = sequence
		}
	}
	w.node.start(t)
	if s := w.node.Status(); s.Sequence < highest {
		t.Errorf("%+v after sequence %d was in force", s, highest)
	}
	w.node.poll(t)
	w.node.serves(t, 1+(runs-1)%5)
}

func trustFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "trust.yaml")
	for name, content := range map[string][]byte{
		path:                              []byte("apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners: [{name: release, key: release.pub}]\n"),
		filepath.Join(dir, "release.pub"): releases.TrustedKey(t).Public(),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
