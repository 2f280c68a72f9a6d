package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time             { return c.at }
func (c *clock) pass(d time.Duration)       { c.at = c.at.Add(d) }
func (c *clock) options(dir string) Options { return Options{Dir: dir, Log: &book{}, Now: c.now} }

func conditionsOf(t *testing.T, f *Fleet, name string) []string {
	t.Helper()
	for _, n := range f.Nodes() {
		if n.Node == name {
			if n.Condition != n.Conditions[0] {
				t.Fatalf("%s is %s of %v", name, n.Condition, n.Conditions)
			}
			return n.Conditions
		}
	}
	t.Fatalf("%s is not known", name)
	return nil
}

// Each condition, and what follows after a restart.
func TestConditions(t *testing.T) {
	degraded := func(r Report) Report {
		r.Status.LastError = &Fault{Code: "invalid_signature"}
		return r
	}
	for name, c := range map[string]struct {
		do   func(t *testing.T, f *Fleet, c *clock)
		want []string
	}{
		"current":             {func(t *testing.T, f *Fleet, c *clock) { f.mustReport(t, running("n", 1, c.at)) }, []string{CurrentRelease}},
		"never had a release": {func(t *testing.T, f *Fleet, c *clock) { f.mustReport(t, running("n", 0, c.at)) }, []string{CurrentRelease}},
		"behind, in the time of grace": {func(t *testing.T, f *Fleet, c *clock) {
			mustBegin(t, f, 3, everybody())
			f.mustReport(t, running("n", 1, c.at))
			c.pass(DefaultGrace)
			f.mustReport(t, running("n", 1, c.at))
		}, []string{CurrentRelease}},
		"behind": {func(t *testing.T, f *Fleet, c *clock) {
			mustBegin(t, f, 3, everybody())
			f.mustReport(t, running("n", 1, c.at))
			c.pass(DefaultGrace + time.Second)
			f.mustReport(t, running("n", 1, c.at))
		}, []string{Behind}},
		"not behind what it is not offered": {func(t *testing.T, f *Fleet, c *clock) {
			mustBegin(t, f, 3, Plan{Stages: []Stage{{Labels: map[string]string{"a": "b"}, Percent: 100}, {Percent: 100}}, Gates: DefaultGates()})
			c.pass(time.Hour)
			f.mustReport(t, running("n", 1, c.at))
		}, []string{CurrentRelease}},
		"degraded": {func(t *testing.T, f *Fleet, c *clock) { f.mustReport(t, degraded(running("n", 1, c.at))) }, []string{DegradedNode}},
		"silent": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 1, c.at))
			c.pass(90 * time.Second)
		}, []string{Silent}},
		"late": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 1, c.at))
			c.pass(89 * time.Second)
		}, []string{CurrentRelease}},
		"went backwards": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 4, c.at))
			f.mustReport(t, running("n", 1, c.at))
		}, []string{WentBackwards}},
		"went backwards and healed": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 3, c.at))
			f.mustReport(t, running("n", 1, c.at))
			f.mustReport(t, running("n", 3, c.at))
		}, []string{CurrentRelease}},
		"a new disk": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 3, c.at))
			f.mustReport(t, running("n", 0, c.at))
		}, []string{CurrentRelease}},
		"accepted more than it runs": {func(t *testing.T, f *Fleet, c *clock) {
			r := running("n", 1, c.at)
			r.Status.HighWater = 3
			f.mustReport(t, r)
		}, []string{CurrentRelease}},
		"came from a channel with higher sequences": {func(t *testing.T, f *Fleet, c *clock) {
			r := running("n", 4, c.at)
			r.Status.Channel, r.Status.Sequence, r.Status.HighWater = "staging", 99, 99
			f.mustReport(t, r)
			if got := offered(f, "n"); got != 1 {
				t.Errorf("it is offered %d", got)
			}
			f.mustReport(t, running("n", 1, c.at))
		}, []string{CurrentRelease}},
		"unknown release": {func(t *testing.T, f *Fleet, c *clock) {
			r := running("n", 1, c.at)
			r.Status.Digest = signed(production, 1, "other").Digest
			f.mustReport(t, r)
		}, []string{UnknownRun}},
		"another channel": {func(t *testing.T, f *Fleet, c *clock) {
			r := running("n", 1, c.at)
			r.Status.Channel = "staging"
			f.mustReport(t, r)
		}, []string{UnknownRun}},
		"fetches and reports nothing": {func(_ *testing.T, f *Fleet, _ *clock) { f.Offer(production, "n") }, []string{NeverReported}},
		"several": {func(t *testing.T, f *Fleet, c *clock) {
			f.mustReport(t, running("n", 3, c.at))
			f.mustReport(t, degraded(running("n", 1, c.at)))
			c.pass(time.Hour)
		}, []string{WentBackwards, Silent, DegradedNode}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, at := t.TempDir(), newClock()
			f := released(t, at.options(dir))
			c.do(t, f, at)
			if got := conditionsOf(t, f, "n"); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if err := f.saveAll(); err != nil {
				t.Fatal(err)
			}
			if got := conditionsOf(t, open(t, at.options(dir)), "n"); !slices.Equal(got, c.want) {
				t.Errorf("after a restart %v, want %v", got, c.want)
			}
		})
	}
}

// everybody is a plan that reaches all nodes at once.
func everybody() Plan { return Plan{Stages: []Stage{{Percent: 100}}, Gates: DefaultGates()} }

// A node that went back is an alarm: in the ledger, once, and counted.
func TestBackwardsIsAnAlarm(t *testing.T) {
	dir, at, log := t.TempDir(), newClock(), &book{}
	f := released(t, Options{Dir: dir, Log: log, Now: at.now})
	f.mustReport(t, running("n", 3, at.at))
	for range 3 {
		f.mustReport(t, running("n", 1, at.at))
	}
	last := log.entries[len(log.entries)-1]
	if s := stepOf(t, last); last.Node != "n" || s.Action != actBack || s.Sequence != 1 || s.Before != 3 {
		t.Errorf("%+v %+v", last, s)
	}
	if n := strings.Count(fmt.Sprint(log.actions(t)), actBack); n != 1 || f.Stats().Alarms != 1 {
		t.Errorf("%d entries and %d alarms, want one", n, f.Stats().Alarms)
	}
	if got := offered(f, "n"); got != 3 && got != 0 {
		t.Errorf("it is offered %d after it has reported 3", got)
	}
	for range 50 { // and again and again: counted
		f.mustReport(t, running("n", 3, at.at))
		f.mustReport(t, running("n", 1, at.at))
	}
	if n := strings.Count(fmt.Sprint(log.actions(t)), actBack); n != 1 || f.Stats().Alarms != 51 || f.Nodes()[0].Back.Again != 50 {
		t.Errorf("%d entries, %d alarms, %+v, want one, 51, and 50 times again", n, f.Stats().Alarms, f.Nodes()[0].Back)
	}
	at.pass(backPause)
	f.mustReport(t, running("n", 3, at.at))
	f.mustReport(t, running("n", 1, at.at))
	if n := strings.Count(fmt.Sprint(log.actions(t)), actBack); n != 2 {
		t.Errorf("%d entries, want two", n)
	}
}

// Steps that the ledger does not take are there once it does, also after a restart.
func TestStepsReachTheLedger(t *testing.T) {
	dir, at, log := t.TempDir(), newClock(), &book{}
	f := released(t, Options{Dir: dir, Log: log, Now: at.now})
	want := []string{actPublish, actBegin, actFinish, actPublish}
	if got := log.actions(t); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	log.down = true
	mustBegin(t, f, 3, DefaultPlan())
	if _, err := f.Halt(t.Context(), "ana", production); err != nil {
		t.Fatal(err)
	}
	f.mustReport(t, running("n", 4, at.at))
	f.mustReport(t, running("n", 1, at.at))
	if f.Stats().Pending != 3 {
		t.Errorf("%d steps wait", f.Stats().Pending)
	}
	f = open(t, Options{Dir: dir, Log: log, Now: at.now})
	log.down = false
	f.record(t.Context())
	f.record(t.Context())
	if got := log.actions(t); !slices.Equal(got, append(want, actBegin, actHalt, actBack)) {
		t.Errorf("%v", got)
	}
	e := log.entries[4]
	if s := stepOf(t, e); e.Principal != "ana" || s.Percent != 5 || s.Stage != 1 || s.Stages != 3 || s.Rollback != 4 || s.Before != 1 || e.Revision != "revision-b" {
		t.Errorf("%+v %+v", e, s)
	}
}

func TestReportIsChecked(t *testing.T) {
	f := released(t, newClock().options(t.TempDir()))
	long := strings.Repeat("x", 600)
	for field, spoil := range map[string]func(*Report){
		"node":                   func(r *Report) { r.Node = long },
		"time":                   func(r *Report) { r.Time = time.Time{} },
		"interval_seconds":       func(r *Report) { r.Interval = 0.5 },
		"version":                func(r *Report) { r.Version = "1\n2" },
		"labels":                 func(r *Report) { r.Labels = map[string]string{"": "x"} },
		"status.digest":          func(r *Report) { r.Status.Digest = "sha256:x" },
		"status.sequence":        func(r *Report) { r.Status.HighWater = -1 },
		"status.channel":         func(r *Report) { r.Status.Channel = long },
		"status.last_error.code": func(r *Report) { r.Status.LastError = &Fault{} },
		"decisions.denied":       func(r *Report) { r.Decisions.Denied = 1 },
		"ledger.witnessed":       func(r *Report) { r.Ledger = &LedgerStatus{Witnessed: 1} },
	} {
		r := running("n", 1, f.now())
		spoil(&r)
		_, err := f.Report(t.Context(), r)
		if e, ok := err.(*Error); !ok || e.Code != InvalidReport || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	r := running("n", 1, f.now())
	r.Status.LastError = &Fault{Code: "x", Message: strings.Repeat("\n\xff", 1000)}
	f.mustReport(t, r)
	if got := f.Nodes()[0].Report.Status.LastError.Message; len(got) > maxMessage || strings.ContainsRune(got, '\n') || !utf8.ValidString(got) {
		t.Errorf("%q is kept", got)
	}
}

// There is room for so many nodes; one that was not heard of for long makes room.
func TestNodesAreBounded(t *testing.T) {
	at := newClock()
	o := at.options(t.TempDir())
	o.MaxNodes = 2
	f := released(t, o)
	f.mustReport(t, running("a", 1, at.at))
	at.pass(forgotten)
	f.mustReport(t, running("b", 1, at.at))
	if _, err := f.Report(t.Context(), running("c", 1, at.at)); !isCode(err, TooManyNodes) {
		t.Errorf("a third node: %v", err)
	}
	mustBegin(t, f, 3, everybody())
	if got := offered(f, "d"); got != 3 {
		t.Errorf("everybody is offered 3, and who finds no room %d", got)
	}
	at.pass(time.Second)
	f.mustReport(t, running("c", 1, at.at))
	if names := f.Nodes(); len(names) != 2 || names[0].Node != "b" {
		t.Errorf("%v are known", names)
	}
}

// What cannot be kept on disk is not done: neither a step, nor a release given to a node.
func TestUnwrittenIsNotDone(t *testing.T) {
	full, d := false, quick()
	write := d.write
	d.write = func(path string, data []byte) error {
		if full {
			return errors.New("no space left on device")
		}
		return write(path, data)
	}
	at, log := newClock(), &book{}
	f, err := openOn(d, Options{Dir: t.TempDir(), Log: log, Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	must(t)(f.Publish(ctx, "ana", []Release{signed(production, 1, "a")}))
	mustBegin(t, f, 1, everybody())
	must(t)(f.Publish(ctx, "ana", []Release{signed(production, 3, "b"), signed(production, 4, "a")}))
	steps := len(log.actions(t))

	full = true
	if _, err := f.Publish(ctx, "ana", []Release{signed(production, 5, "c"), signed(production, 6, "a")}); !isCode(err, CannotBeWritten) {
		t.Errorf("publish: %v", err)
	}
	if _, err := f.Promote(ctx, "ana", production); !isCode(err, CannotBeWritten) {
		t.Errorf("promote: %v", err)
	}
	if p := latest(t, f); p.State != Running || len(f.Releases(production)) != 3 || len(log.actions(t)) != steps {
		t.Errorf("%+v is in force, and the ledger has %v", p.Rollout, log.actions(t))
	}
	if _, err := f.Report(ctx, running("n", 1, at.at)); !isCode(err, CannotBeWritten) {
		t.Errorf("report: %v", err)
	}
	full = false
	if _, err := f.Promote(ctx, "ana", production); err != nil {
		t.Fatal(err)
	}
	mustBegin(t, f, 3, everybody())
	full = true
	for range 2 {
		if got := offered(f, "m"); got != 0 {
			t.Errorf("a node is given %d, and nobody will know", got)
		}
		if _, err := f.Report(ctx, running("k", 1, at.at)); !isCode(err, CannotBeWritten) {
			t.Errorf("report: %v", err)
		}
	}
	full = false
	if got := offered(f, "m"); got != 3 {
		t.Errorf("a node is given %d", got)
	}
}

// What a crash left between two files is cleared away; what is served is not.
func TestLeftoversAreSwept(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(newClock().options(dir)) // on a real disk
	if err != nil {
		t.Fatal(err)
	}
	must(t)(f.Publish(t.Context(), "ana", []Release{signed(production, 1, "a")}))
	mustBegin(t, f, 1, everybody())
	left := signed(production, 99, "left")
	if err := f.shelf.put(&left); err != nil {
		t.Fatal(err)
	}
	f, err = Open(newClock().options(dir))
	if err != nil || offered(f, "n") != 1 {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(f.shelf.place(&left)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// Nodes, people and whoever looks do not get into each other's way.
func TestConcurrency(t *testing.T) {
	f := released(t, Options{Dir: t.TempDir(), Log: &book{}})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	watched := make(chan error, 1)
	go func() { watched <- f.Run(ctx) }()
	mustBegin(t, f, 3, DefaultPlan())
	for i := range 8 {
		name := fmt.Sprintf("edge-%d", i)
		group.Go(func() {
			has := int64(0)
			for range 50 {
				_, changed, _, _ := f.Offer(production, name)
				if changed == nil {
					t.Error("nobody tells of changes")
				}
				if got := offered(f, name); got < has {
					t.Errorf("%s runs %d and is offered %d", name, has, got)
				} else {
					has = got
				}
				f.mustReport(t, running(name, has, time.Now()))
			}
		})
	}
	group.Go(func() {
		for i := range 50 {
			f.Nodes()
			f.Stats()
			f.Rollouts()
			act := []func(context.Context, string, string) (Rollout, error){f.Halt, f.Promote}[i%2]
			if _, err := act(ctx, "ana", production); err != nil && !isCode(err, NoRollout) {
				t.Error(err)
			}
		}
	})
	group.Wait()
	stop()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

// What is not what it was is not served, and a file that was changed by hand is told.
func TestDamagedFiles(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"archive": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, releasesDir, channelPrefix+production, "1", archiveFile), []byte("x"), 0o600)
		},
		"manifest": func(dir string) error {
			return os.Remove(filepath.Join(dir, releasesDir, channelPrefix+production, "1", manifestFile))
		},
		"state": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, releasesDir, stateFile), []byte("{"), 0o600)
		},
		"stage": func(dir string) error {
			path := filepath.Join(dir, releasesDir, stateFile)
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Replace(string(text), `"stage":0`, `"stage":7`, 1)), 0o600)
		},
		"nodes": func(dir string) error { return os.WriteFile(filepath.Join(dir, nodesFile), []byte("[]"), 0o600) },
	} {
		dir := t.TempDir()
		f := released(t, newClock().options(dir))
		f.mustReport(t, running("n", 1, f.now()))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(newClock().options(dir)); err == nil {
			t.Errorf("%s: nobody notices", name)
		}
	}
}
