package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
	"github.com/westworld-charter/charter/tests/releases"
)

// stage is a charter-server that rolls releases out to nodes, which report to it. All are
// processes of their own.
type stage struct {
	*testing.T
	dir, url string
	args     []string
	running  *process.Process
	nodes    []*node
}

// newStage starts a server, and nodes of which the first has the label env=canary.
func newStage(t *testing.T, nodes int) *stage {
	t.Helper()
	address := process.FreeAddress(t)
	s := &stage{T: t, dir: t.TempDir(), url: "http://" + address}
	tokens := s.token("admin", "audit, admin, metrics", "")
	for i := range nodes {
		name := fmt.Sprintf("edge-%d", i+1)
		tokens += s.token(name, "report", ", node: "+name)
	}
	s.file("tokens.yaml", tokens)
	trust := releases.TrustedKey(t).TrustFile(t, s.dir, "")
	s.args = []string{
		"--charter", "../../policies/development/charter.yaml", "--trust", trust, "--listen", address, "--data", s.path("data"),
		"--token-file", s.path("tokens.yaml"), "--fleet-grace", "1s", "--log-format", "text",
	}
	s.start()
	for i := range nodes {
		s.add(i + 1)
	}
	return s
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) file(name, text string) string {
	s.Helper()
	return file.Write(s, s.path(name), text)
}

// token writes the file of a token and returns its entry.
func (s *stage) token(name, scopes, more string) string {
	s.Helper()
	secret := strings.Repeat(name, 8) + "0123456789abcdef"
	s.file(name+".token", secret)
	return fmt.Sprintf("- {name: %s, sha256: %x, scopes: [%s]%s}\n", name, sha256.Sum256([]byte(secret)), scopes, more)
}

func (s *stage) start() {
	s.Helper()
	s.running = process.Start(s, process.Options{}, program.Path(s, "charter-server"), s.args...)
	s.running.Ready(s, healthy(s.T, s.url))
}

// add starts a node that fetches from the server and reports to it.
func (s *stage) add(i int) {
	s.Helper()
	n := &node{name: fmt.Sprintf("edge-%d", i), host: fmt.Sprintf("127.3.0.%d", i+1), http: &http.Client{Timeout: 20 * time.Second}}
	n.data = s.path(n.name)
	n.args = []string{
		"--bundle", s.url + "/bundles/charter", "--trust", s.path("trust.yaml"), "--listen", n.address(), "--data", n.data, "--node", n.name,
		"--server", s.url, "--server-token-file", s.path(n.name + ".token"), "--report-interval", "1s", "--poll", "1s", "--long-poll", "20s",
		"--insecure-self-asserted", "--log-format", "text",
	}
	if i == 1 {
		n.args = append(n.args, "--label", "env=canary")
	}
	n.start(s.T)
	s.nodes = append(s.nodes, n)
}

// admin runs charter-admin against the server and returns what it says and its exit code.
func (s *stage) admin(args ...string) (string, int) {
	s.Helper()
	args = append(args, "--server", s.url, "--token-file", s.path("admin.token"))
	r := process.Run(s, process.Options{}, program.Path(s, "charter-admin"), args...)
	if r.Code != 0 {
		r.Stdout += r.Stderr
	}
	return r.Stdout, r.Code
}

func (s *stage) mustAdmin(args ...string) string {
	s.Helper()
	out, code := s.admin(args...)
	if code != 0 {
		s.Fatalf("charter-admin %v: exit %d: %s", args, code, out)
	}
	return out
}

// archive writes what save would.
func (s *stage) archive(name string, list ...*releases.Made) string {
	s.Helper()
	var all []distribution.Release
	for _, m := range list {
		all = append(all, distribution.Release{Manifest: m.Manifest, Layer: m.Archive, Statements: m.Statements})
	}
	var buf bytes.Buffer
	if err := distribution.WriteLayout(&buf, all...); err != nil {
		s.Fatal(err)
	}
	return s.file(name, buf.String())
}

// made is a release of a version under a sequence.
func (s *stage) made(version int, sequence int64) *releases.Made {
	s.Helper()
	return releases.Release{Version: version, Sequence: sequence, Key: releases.TrustedKey(s.T)}.Make(s.T)
}

// seen is what the server knows about a node.
type seen struct {
	Node, Condition string
	Report          struct{ Status struct{ Sequence int64 } }
}

// runs waits until the server has heard that nodes run these sequences, all of them
// well, and asks the nodes themselves.
func (s *stage) runs(what string, want ...int64) {
	s.Helper()
	poll.Until(s, what, func() error {
		var a struct{ Nodes []seen }
		if err := json.Unmarshal([]byte(s.mustAdmin("nodes", "fleet", "--format", "json")), &a); err != nil {
			return err
		}
		var got []int64
		for _, n := range a.Nodes {
			if n.Condition != "current" {
				return fmt.Errorf("%s is %s", n.Node, n.Condition)
			}
			got = append(got, n.Report.Status.Sequence)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("the nodes run %v, want %v", got, want)
		}
		return nil
	})
}

// allows reports what a node says about the metric that one version alone allows.
func (s *stage) allows(n *node, version int) bool {
	s.Helper()
	a, err := n.ask(s.Context(), fmt.Sprintf("only_in_%d", version))
	if err != nil {
		s.Fatal(err)
	}
	return a.Allow
}

// A release reaches the canary, is rolled back by a person, and the next one by a gate;
// the server is killed in between, and nothing that is not signed is taken.
func TestStagedRollout(t *testing.T) {
	s := newStage(t, 3)
	canary, other := s.nodes[0], s.nodes[1]
	s.mustAdmin("release", "publish", s.archive("1.tar", s.made(1, 1)), "--stage", "100%:0s")
	s.runs("the first release is everywhere", 1, 1, 1)
	if !s.allows(canary, 1) || !s.allows(other, 1) {
		t.Fatal("the nodes do not decide by the first release")
	}
	poll.Until(s, "the first rollout is over", func() error {
		if out := s.mustAdmin("release", "status"); !strings.Contains(out, "everybody gets it") {
			return errors.New(out)
		}
		return nil
	})

	second := s.archive("3.tar", s.made(2, 3), s.made(1, 4))
	stages := []string{"--stage", "env=canary,100%:1h", "--stage", "100%:0s", "--min-nodes", "1", "--min-decisions", "20", "--max-latency", "1m"}
	s.mustAdmin(append([]string{"release", "publish", second}, stages...)...)
	s.runs("the second release is on the canary alone", 3, 1, 1)
	if !s.allows(canary, 2) || s.allows(other, 2) {
		t.Fatal("the canary, and it alone, decides by the second release")
	}
	s.running.Kill()
	s.start()
	if out := s.mustAdmin(append([]string{"release", "publish", second}, stages...)...); !strings.Contains(out, "was published before") || !strings.Contains(out, "stage 1 of 2") {
		t.Errorf("after a crash: %s", out)
	}
	canary.kill() // which would wait for longer and longer until it asks again
	canary.start(t)
	s.runs("and still is after a crash", 3, 1, 1)
	s.mustAdmin("release", "rollback")
	s.runs("a person rolls it back", 4, 1, 1)
	if !s.allows(canary, 1) || s.allows(canary, 2) {
		t.Fatal("the canary does not decide by the rollback")
	}

	s.refuses("unsigned", s.archive("u.tar", &releases.Made{Manifest: s.made(3, 5).Manifest, Archive: s.made(3, 5).Archive}, s.made(1, 6)))
	strange := releases.Release{Version: 3, Sequence: 5, Key: releases.StrangeKey(t)}.Make(t)
	s.refuses("untrusted_key", s.archive("k.tar", strange, s.made(1, 6)))
	staging := releases.Release{Version: 3, Sequence: 5, Channel: "staging", Key: releases.TrustedKey(t)}.Make(t)
	s.refuses("wrong_channel", s.archive("c.tar", staging, s.made(1, 6)))
	expired := releases.Release{Version: 3, Sequence: 5, Expires: time.Now().Add(-time.Hour), Key: releases.TrustedKey(t)}.Make(t)
	s.refuses("release_expired", s.archive("e.tar", expired, s.made(1, 6)))
	s.refuses("no_rollback", s.archive("n.tar", s.made(3, 5)))
	s.refuses("wrong_rollback", s.archive("w.tar", s.made(3, 5), s.made(4, 6)))

	s.mustAdmin(append([]string{"release", "publish", s.archive("5.tar", s.made(3, 5), s.made(1, 6))}, stages...)...)
	s.runs("the third release is on the canary alone, and the others have the rollback before it", 5, 4, 4)
	poll.Until(t, "the gate rolls it back", func() error {
		for range 30 { // which the third release denies
			s.allows(canary, 1)
			s.allows(other, 1)
		}
		if out := s.mustAdmin("release", "status"); !strings.Contains(out, "rolled back with 6 in stage 1 of 2") || !strings.Contains(out, "gate violations") {
			return errors.New(out)
		}
		return nil
	})
	s.runs("the canary has its rollback", 6, 4, 4)
	out := s.mustAdmin("audit", "list", "--kind", "release", "--format", "ndjson")
	var actions []string
	for line := range strings.Lines(out) {
		var e struct {
			Entry struct {
				Data struct{ Action string }
			}
			Data struct{ Action string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		actions = append(actions, e.Entry.Data.Action+e.Data.Action)
	}
	want := []string{"publish", "begin", "finish", "publish", "begin", "rollback", "publish", "begin", "rollback"}
	if slices.Sort(actions); !slices.Equal(actions, slices.Sorted(slices.Values(want))) {
		t.Errorf("the ledger has %v, want %v\n%s", actions, want, out)
	}
}

// refuses publishes what the server must not take: exit code 6, with the code that a node
// would give.
func (s *stage) refuses(code, archive string) {
	s.Helper()
	if out, exit := s.admin("release", "publish", archive); exit != 6 || !strings.Contains(out, "["+code+"]") {
		s.Errorf("%s: exit %d: %s", code, exit, out)
	}
}
