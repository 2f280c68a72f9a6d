package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/ledger"
)

// What is written is what is read, and nothing else is taken for a stage.
func TestParseStage(t *testing.T) {
	for _, s := range []fleet.Stage{
		{Percent: 5, Soak: fleet.Duration(10 * time.Minute)},
		{Percent: 100},
		{Labels: map[string]string{"env": "canary", "site": "a"}, Percent: 50, Soak: fleet.Duration(90 * time.Second)},
	} {
		got, err := parseStage(s.String())
		if err != nil || got.String() != s.String() {
			t.Errorf("%s is read as %s: %v", s, got, err)
		}
	}
	for _, text := range []string{"", "5", "5%", "5:10m", "x%:10m", "5%:10", "5%,6%:10m", "5%,canary:10m", "5%:"} {
		if s, err := parseStage(text); err == nil {
			t.Errorf("%q is read as %s", text, s)
		}
	}
}

// `audit show` tells each kind of step in words.
func TestDescribeRelease(t *testing.T) {
	for want, s := range map[string]ledger.ReleaseStep{
		"publish 3 of production | rollback 4 | signers release, dao": {Action: "publish", Channel: "production", Sequence: 3, Rollback: 4, Signers: []string{"release", "dao"}},
		"begin 3 of production, stage 1 of 3 | rollback 4 | before 1 | reaches env=canary, 10 % of the nodes": {
			Action: "begin", Channel: "production", Sequence: 3, Rollback: 4, Before: 1, Stage: 1, Stages: 3, Percent: 10, Labels: map[string]string{"env": "canary"},
		},
		"rollback 3 of production, stage 2 of 3, by the gate errors | reaches 50 % of the nodes | cause gate errors: 0.5, at most 0.05; 20 reports of 4 nodes": {
			Action: "rollback", Channel: "production", Sequence: 3, Stage: 2, Stages: 3, Percent: 50,
			Cause: &ledger.ReleaseCause{Gate: "errors", Value: 0.5, Limit: 0.05, Reached: 4, Reports: 20},
		},
		"went-backwards 1 of production | before 3": {Action: "went-backwards", Channel: "production", Sequence: 1, Before: 3},
	} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for i, f := range describeData(&ledger.Entry{Kind: ledger.Release, Data: data}) {
			if i == 0 {
				lines = append(lines, f.value)
				continue
			}
			lines = append(lines, f.name+" "+f.value)
		}
		if got := strings.Join(lines, " | "); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
