package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// distrusting is a trust policy that has something against some sequences.
func distrusting(sequences ...int64) func(Release) string {
	return func(r Release) string {
		if slices.Contains(sequences, r.Sequence) || r.Content.Manifest == nil {
			return "untrusted_key"
		}
		return ""
	}
}

func mustVerify(t *testing.T, f *Fleet, sequences ...int64) {
	t.Helper()
	if err := f.Verify(t.Context(), distrusting(sequences...)); err != nil {
		t.Fatal(err)
	}
}

// A release that is not trusted any more is given to nobody, also after a restart; its
// rollout is halted, and goes on only by a person once it is trusted again.
func TestUntrustedIsGivenToNobody(t *testing.T) {
	dir, at, log := t.TempDir(), newClock(), &book{}
	o := Options{Dir: dir, Log: log, Now: at.now}
	f := released(t, o)
	for _, name := range []string{"has", "new"} {
		f.mustReport(t, running(name, 1, at.at))
	}
	mustBegin(t, f, 3, Plan{Stages: []Stage{{Percent: 100, Soak: Duration(time.Hour)}}, Gates: DefaultGates()})
	if got := offered(f, "has"); got != 3 {
		t.Fatalf("it is offered %d", got)
	}
	mustVerify(t, f)
	steps := len(log.entries)
	_, changed, _, _ := f.Offer(production, "new")
	mustVerify(t, f, 3)
	mustVerify(t, f, 3)
	if !closed(changed) {
		t.Error("nobody is woken")
	}
	if got := log.actions(t)[steps:]; !slices.Equal(got, []string{actDistrust, actHalt}) {
		t.Errorf("the ledger has %v", got)
	}
	if s := stepOf(t, log.entries[steps]); s.Sequence != 3 || s.Code != "untrusted_key" || s.Digest == "" {
		t.Errorf("%+v", s)
	}
	for range 2 {
		for node, want := range map[string]int64{"has": 0, "new": 0, "stranger": 1, "": 1} { // "new" was given 3 while it waited
			if got := offered(f, node); got != want {
				t.Errorf("%q is offered %d, want %d", node, got, want)
			}
		}
		if p := latest(t, f); p.State != Halted || p.By != "" {
			t.Errorf("%s by %q", p.State, p.By)
		}
		if _, err := f.Promote(t.Context(), "ana", production); !isCode(err, UntrustedRun) {
			t.Errorf("promote: %v", err)
		}
		if s := f.Stats(); s.Untrusted != 1 || len(f.Untrusted()) != 1 {
			t.Errorf("%+v, %v", s, f.Untrusted())
		}
		f = open(t, o)
	}
	mustVerify(t, f)
	if got := offered(f, "has"); got != 3 || f.Stats().Untrusted != 0 {
		t.Errorf("trusted again, it is offered %d", got)
	}
	if p := latest(t, f); p.State != Halted {
		t.Errorf("it is %s without a person", p.State)
	}
	if _, err := f.Promote(t.Context(), "ana", production); err != nil {
		t.Error(err)
	}
	mustVerify(t, f, 4) // the rollback
	if _, err := f.RollBack(t.Context(), "ana", production); !isCode(err, UntrustedRun) {
		t.Errorf("back to what is not trusted: %v", err)
	}
}

// Who has everything that is kept distrusted publishes it again, signed by others.
func TestUntrustedIsSignedAgain(t *testing.T) {
	dir, log := t.TempDir(), &book{}
	o := Options{Dir: dir, Log: log, Now: newClock().now}
	f := released(t, o)
	mustVerify(t, f, 1, 3, 4)
	if got := offered(f, ""); got != 0 {
		t.Fatalf("it is offered %d", got)
	}
	if _, err := f.Begin(t.Context(), "ana", production, 3, everybody()); !isCode(err, UntrustedRun) {
		t.Errorf("begin: %v", err)
	}
	again := []Release{signed(production, 3, "b"), signed(production, 4, "a")}
	for i := range again {
		again[i].Content.Statements, again[i].Signers = []byte("by another key\n"), []string{"deputy"}
	}
	first := signed(production, 1, "a")
	first.Content.Statements = []byte("by another key\n")
	for _, archive := range [][]Release{{first}, again} {
		if p := must(t)(f.Publish(t.Context(), "ana", archive)); !p.Again || p.Release.Untrusted != "" {
			t.Errorf("%+v", p)
		}
	}
	mustBegin(t, f, 3, everybody())
	for range 2 {
		r, _, _, ok := f.Offer(production, "edge-1")
		if !ok || r.Sequence != 3 || string(r.Content.Statements) != "by another key\n" || !slices.Equal(r.Signers, []string{"deputy"}) {
			t.Errorf("%t: %+v", ok, r)
		}
		f = open(t, o)
	}
	if got := log.actions(t); !slices.Equal(got[4:], []string{actDistrust, actDistrust, actDistrust, actTrust, actTrust, actTrust, actBegin}) {
		t.Errorf("the ledger has %v", got)
	}
	// What nobody distrusts stays as it was published.
	before := r3(t, f)
	again[0].Content.Statements = []byte("by a third key\n")
	must(t)(f.Publish(t.Context(), "ana", again))
	if r3(t, f) != before {
		t.Error("statements of a trusted release were replaced")
	}
}

func r3(t *testing.T, f *Fleet) string {
	t.Helper()
	r, _, _, _ := f.Offer(production, "edge-1")
	return string(r.Content.Statements)
}

// What cannot be read any more is given to nobody either.
func TestUnreadableIsGivenToNobody(t *testing.T) {
	f := released(t, newClock().options(t.TempDir()))
	if err := os.Remove(filepath.Join(f.Dir, releasesDir, channelPrefix+production, "1", statementsFile)); err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(t.Context(), distrusting()); err == nil || offered(f, "") != 0 || f.Releases(production)[2].Untrusted != UnreadableRelease {
		t.Errorf("%v: offered %d, %+v", err, offered(f, ""), f.Releases(production))
	}
	// Not even a start fails for it.
	f = open(t, Options{Dir: f.Dir})
	if offered(f, "") != 0 {
		t.Error("after a restart it is offered")
	}
}

// A release is withheld and its rollout halted in two steps. After the first alone, as
// when the disk is full or the process ends in between, the second still follows, and
// nothing goes on by itself meanwhile.
func TestUntrustedIsHaltedAfterAll(t *testing.T) {
	simulate(t, 12, func(w *world) {
		plan := everybody()
		plan.Stages[0].Soak = Duration(time.Minute)
		mustBegin(t, w.f, 3, plan)
		own, writes := w.f.disk, 0
		w.f.disk.write = func(path string, data []byte) error {
			if writes++; writes > 1 {
				return errors.New("no space left on device")
			}
			return own.write(path, data)
		}
		if err := w.f.Verify(w.Context(), distrusting(3)); !isCode(err, CannotBeWritten) {
			t.Fatalf("%v after %d writes", err, writes)
		}
		w.f.disk = own
		w.pass(30 * time.Minute)
		if p := latest(t, w.f); p.State != Running {
			t.Errorf("by itself it is %s", p.State)
		}
		mustVerify(t, w.f, 3)
		if p := latest(t, w.f); p.State != Halted {
			t.Errorf("it is %s", p.State)
		}
		mustVerify(t, w.f)
		if p := latest(t, w.f); p.State != Halted {
			t.Errorf("trusted again, it is %s without a person", p.State)
		}
	})
}
