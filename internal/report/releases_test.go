package report_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

// digestOf is that of a release of a test.
func digestOf(n int) string { return fmt.Sprintf("sha256:%064d", n) }

// step is an entry about a release of production; its digest is that of its number.
func step(by string, s ledger.ReleaseStep) ledger.Entry {
	if s.Channel == "" {
		s.Channel = "production"
	}
	if s.Digest == "" {
		s.Digest = digestOf(int(s.Sequence))
	}
	e := entry(ledger.Release, "", s)
	e.Principal, e.Revision = by, fmt.Sprintf("production-%d.0.0+ab12cd34ef56", s.Sequence)
	return e
}

// followed is an entry about a release that decides where the ledger is written.
func followed(revision, trigger string, sequence int) ledger.Entry {
	e := entry(ledger.Activation, "", map[string]any{
		"trigger": trigger, "at": "2026-10-10T00:00:00Z", "release": digestOf(sequence), "channel": "production", "sequence": sequence, "expires": "2027-01-01T00:00:00Z",
	})
	e.Revision = revision
	return e
}

// releases are a release that everybody gets, one that a gate rolls back, and one that a
// person halts and lets go on; and what was followed and refused here.
func (h *history) releases(revision, hostile string) {
	rolled := func(action string, stage int) ledger.ReleaseStep {
		return ledger.ReleaseStep{Action: action, Sequence: 3, Rollback: 4, Before: 1, Stage: stage, Stages: 2, Percent: 50 * stage}
	}
	h.add(time.Hour, step("token:ana", ledger.ReleaseStep{Action: "publish", Sequence: 1, Signers: []string{"release", hostile}}))
	h.add(time.Minute, step("token:ana", ledger.ReleaseStep{Action: "begin", Sequence: 1, Stage: 1, Stages: 1, Percent: 100}), followed(revision, "release", 1))
	h.add(time.Hour, step("", ledger.ReleaseStep{Action: "finish", Sequence: 1, Stage: 1, Stages: 1, Percent: 100}))
	h.add(time.Hour, step("token:"+hostile, ledger.ReleaseStep{Action: "publish", Sequence: 3, Rollback: 4, RollbackDigest: digestOf(1), RollbackSigners: []string{"release"}, Signers: []string{"release"}}), step("token:ana", rolled("begin", 1)))
	h.add(time.Hour, step("", rolled("advance", 2)))
	back := rolled("rollback", 2)
	back.Cause = &ledger.ReleaseCause{Gate: "errors", Value: 0.5, Limit: 0.05, Reached: 4, Reports: 20}
	h.add(time.Hour, step("", back), followed(revision, "start", 1))
	h.add(time.Hour, step("token:ana", ledger.ReleaseStep{Action: "publish", Sequence: 5, Rollback: 6, RollbackDigest: digestOf(1), Signers: []string{"release"}}))
	again := ledger.ReleaseStep{Action: "begin", Sequence: 5, Rollback: 6, Before: 4, Stage: 1, Stages: 1, Percent: 100}
	h.add(time.Hour, step("token:ana", again))
	again.Action = "halt"
	h.add(time.Minute, step("token:bela", again))
	again.Action = "resume"
	h.add(time.Minute, step("token:ana", again))
	lost := step("", ledger.ReleaseStep{Action: "went-backwards", Sequence: 1, Before: 4})
	lost.Node = "edge-7"
	h.add(time.Minute, lost, followed("production-5.0.0+ab12cd34ef56", "release", 5),
		entry(ledger.Load, "", map[string]any{"result": "refused", "part": "policy", "trigger": "release", "at": "2026-10-11T00:00:00Z", "code": "untrusted_key", "release": digestOf(7)}),
		entry(ledger.Load, "", map[string]any{"result": "refused", "part": "state", "trigger": "release", "at": "2026-10-11T00:00:00Z", "code": "older_sequence", "sequence": 12, "repeats": 3}))
}

// Who was offered what from when to when, and which release decided, also when it began
// before the period.
func TestReleases(t *testing.T) {
	h := newHistory(t, q4.From.Add(-100*24*time.Hour))
	h.releases("production-1.0.0+ab12cd34ef56", "dao")
	h.add(q4.From.Sub(h.now)+time.Hour, step("", ledger.ReleaseStep{Action: "finish", Sequence: 5, Rollback: 6, Before: 4, Stage: 1, Stages: 1, Percent: 100}))
	h.add(time.Hour, step("token:ana", ledger.ReleaseStep{Action: "rollback", Sequence: 5, Rollback: 6, Stage: 1, Stages: 1, Percent: 100}))
	h.add(time.Hour, entry(ledger.Activation, "", map[string]any{"trigger": "start", "at": "2026-10-11T00:00:00Z"}), followed("production-6.0.0+ab12cd34ef56", "release", 6))
	h.add(q4.To.Sub(h.now), step("token:ana", ledger.ReleaseStep{Action: "publish", Sequence: 7}))
	r := verified(t, h, report.NewAudit(report.Options{Period: q4})).(*report.Audit).Releases

	began := q4.From.UTC()
	day := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339) }
	var got []string
	for _, one := range r.List {
		got = append(got, fmt.Sprint(one.Sequence, one.State, strings.TrimPrefix(one.Digest, "sha256:")[62:], one.Completed, one.Ended, one.ReplacedBy, one.RollbackOf, one.Revision, one.Signers))
	}
	want := []string{
		// 1 was what nodes had that 3 had not reached, and 4 what those got that it had.
		fmt.Sprint(1, "replaced", "01", r.List[0].Completed, day(time.Hour), 5, 0, "production-1.0.0+ab12cd34ef56", []string{"release", "dao"}),
		fmt.Sprint(4, "replaced", "01", "", day(time.Hour), 5, 3, "production-1.0.0+ab12cd34ef56", []string{"release"}),
		fmt.Sprint(5, "rolled-back", "05", day(time.Hour), day(2*time.Hour), 0, 0, "production-5.0.0+ab12cd34ef56", []string{"release"}),
		fmt.Sprint(6, "done", "01", day(2*time.Hour), "", 0, 5, "production-1.0.0+ab12cd34ef56", []string{}),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var decided []string
	for _, d := range r.Decided {
		decided = append(decided, fmt.Sprint(d.Sequence, d.Before, d.Until))
	}
	if want := []string{fmt.Sprint(5, true, day(3*time.Hour)), fmt.Sprint(6, false, "")}; !reflect.DeepEqual(decided, want) {
		t.Errorf("decided %q, want %q", decided, want)
	}
	if len(r.Stops) != 1 || r.Stops[0].By != "token:ana" || r.Stops[0].Rollback != 6 || len(r.Backwards)+len(r.Refused) != 0 {
		t.Errorf("%+v", r)
	}
	if steps := r.Steps.Rows; len(steps) != 2 || steps[0].Count+steps[1].Count != 2 {
		t.Errorf("steps %+v", steps)
	}
}

// However many there are, a report is of limited length, and says what it leaves out.
func TestReleasesAreBounded(t *testing.T) {
	h := newHistory(t, q4.From.Add(time.Hour))
	for i := range 30 {
		h.add(time.Minute, step("token:ana", ledger.ReleaseStep{Action: "publish", Sequence: int64(2*i + 1), Rollback: int64(2*i + 2), RollbackDigest: digestOf(1)}))
		h.add(time.Minute, step("", ledger.ReleaseStep{Action: "halt", Sequence: int64(2*i + 1)}), followed("r", "release", i))
	}
	d := verified(t, h, report.NewAudit(report.Options{Period: q4, Rows: 8})).(*report.Audit)
	if n := len(d.Releases.List); n == 0 || n > 8 {
		t.Errorf("%d releases are listed", n)
	}
	if len(d.Releases.Stops) != 8 || len(d.Releases.Decided) != 8 || d.NotListed["releases"] == 0 {
		t.Errorf("%d stops, %d decided, %v not listed", len(d.Releases.Stops), len(d.Releases.Decided), d.NotListed)
	}
}
