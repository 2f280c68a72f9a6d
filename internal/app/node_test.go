package app

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
	"github.com/westworld-charter/charter/tests/releases"
)

// trustFile writes a trust policy that trusts a key.
func trustFile(t *testing.T, dir string, key *releases.Key) string {
	t.Helper()
	put(t, filepath.Join(dir, "release.pub"), string(key.Public()))
	return put(t, filepath.Join(dir, "trust.yaml"), "apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners:\n  - {name: release, key: release.pub}\n")
}

// nodeOptions are those of a node that follows a registry.
func nodeOptions(t *testing.T, r *releases.Registry, key *releases.Key) Options {
	t.Helper()
	dir := t.TempDir()
	o := CharterNode().defaults
	o.Bundle, o.Trust, o.Data = r.Ref(t, releases.Channel).String(), trustFile(t, dir, key), filepath.Join(dir, "data")
	o.InsecureSelfAsserted, o.Listen, o.Watch = true, "127.0.0.1:0", 0
	o.Releases.Poll = 50 * time.Millisecond
	return o
}

// node is a charter-node in this process.
type node struct {
	*Server
	url  string
	stop func()
}

// started runs a node until the test ends, or stop is called.
func started(t *testing.T, p Program, o Options) *node {
	t.Helper()
	s, err := New(t.Context(), p, o, newLogger(t.Output(), o))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	n := &node{Server: s, url: s.url(addr)}
	n.stop = func() {
		if cancel == nil {
			return
		}
		cancel()
		cancel = nil
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(n.stop)
	return n
}

// until waits for something that happens soon.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("never: " + what)
		}
	}
}

// allows reports whether the node decides by that version.
func (n *node) allows(t *testing.T, version int) bool {
	t.Helper()
	q := releases.Question(version)
	q.Time = "" // which the node stamps
	status, body := ask(t, n.url+"/v1/check", string(mustJSON(t, q)))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return decided(t, body).Allow
}

func (n *node) health(t *testing.T) string {
	t.Helper()
	_, body := fetch(t, n.url+"/health")
	return body
}

// A node listens before it has a policy, allows nothing then, takes the first release
// within a poll, refuses what nobody trusted has signed, and needs no network to start.
func TestNode(t *testing.T) {
	registry, key, stranger := releases.NewRegistry(t), releases.TrustedKey(t), releases.StrangeKey(t)
	o := nodeOptions(t, registry, key)
	o.Diagnostics = "127.0.0.1:0"
	n := started(t, CharterNode(), o)
	until(t, "health that says why", func() bool {
		status, body := fetch(t, n.url+"/health")
		return status == http.StatusServiceUnavailable && strings.Contains(body, `"no_policy"`) && strings.Contains(body, "[not_found]")
	})
	if status, body := ask(t, n.url+"/v1/check", `{"metric":"latency_p50","node":"edge-1","role":"node_operator","operation":"collect"}`); status != http.StatusOK ||
		decided(t, body).Allow || decided(t, body).Outcome != "no_policy" {
		t.Errorf("without a policy: %d %s", status, body)
	}
	if status, _ := fetch(t, n.url+"/bundles/charter"); status != http.StatusNotFound {
		t.Errorf("a bundle without a policy: %d", status)
	}

	first := releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t)
	registry.Publish(t, releases.Channel, first)
	until(t, "the first release", func() bool { return n.engine.Current() != nil && n.allows(t, 1) })
	until(t, "good health", func() bool { return !strings.Contains(n.health(t), "degraded") })
	if _, body := fetch(t, n.url+"/bundles/charter"); body != string(first.Archive) {
		t.Error("other programs do not get the archive as it was signed")
	}

	registry.Publish(t, releases.Channel, releases.Release{Version: 2, Sequence: 3, Key: stranger}.Make(t))
	until(t, "a refusal", func() bool { return strings.Contains(n.health(t), `"code":"untrusted_key"`) })
	if !n.allows(t, 1) || n.allows(t, 2) {
		t.Error("what a stranger signed decides")
	}
	if _, body := fetch(t, n.url+"/bundles/charter"); body != string(first.Archive) {
		t.Error("other programs get what was refused")
	}
	diagnostics := "http://" + n.diagListener.Addr().String()
	if _, body := fetch(t, diagnostics+"/v1/status"); !strings.Contains(body, `"charter-node"`) || !strings.Contains(body, `"untrusted_key"`) || !strings.Contains(body, first.Digest()) {
		t.Errorf("/v1/status: %s", body)
	}
	_, exported := fetch(t, diagnostics+"/metrics")
	for _, line := range []string{
		`charter_release_refusals_total{code="untrusted_key",part="policy"} 1`, `charter_release_sequence 1`, `charter_release_degraded 1`,
		`charter_release_activations_total{part="policy"} 1`, `charter_release_expiry_timestamp_seconds 4.07`,
	} {
		if !strings.Contains(exported, "\n"+line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}

	registry.Publish(t, releases.Channel, releases.Release{Version: 3, Sequence: 3, Key: key}.Make(t))
	until(t, "the next release", func() bool { return n.allows(t, 3) })
	until(t, "recovery", func() bool { return !strings.Contains(n.health(t), "degraded") })
	n.stop()

	o.Bundle = "oci://127.0.0.1:1/gone:production"
	again := started(t, CharterNode(), o)
	if !again.allows(t, 3) {
		t.Error("the last good release does not decide after a restart without a network")
	}
	until(t, "that the registry is gone", func() bool { return strings.Contains(again.health(t), `"code":"unreachable"`) })
	want := []string{
		"charter-load degraded not_found 0", "charter-load loaded 1", "activation release 1", "charter-load recovered not_found 0",
		"charter-load refused untrusted_key 0",
		"charter-load loaded 3", "activation release 3", "charter-load recovered untrusted_key 0",
		"charter-load loaded 3", "activation start 3", "charter-load degraded unreachable 0",
	}
	if got := again.releaseEntries(t); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the ledger says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// releaseEntries are what the ledger says about releases, one line an entry.
func (n *node) releaseEntries(t *testing.T) []string {
	t.Helper()
	if err := n.keeper.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for e, l := range recorded[audit.Load](t, n.Server, ledger.Load, ledger.Activation) {
		if l.Sequence > 0 && (l.Release == "" || l.Channel != releases.Channel || l.Expires == "") {
			t.Errorf("it is not said which release: %s", e.Data)
		}
		what := l.Result
		if e.Kind == ledger.Activation {
			what = l.Trigger
		}
		line := strings.Join(strings.Fields(string(e.Kind)+" "+what+" "+l.Code), " ")
		lines = append(lines, line+" "+string(bytes.TrimSpace(mustJSON(t, l.Sequence))))
	}
	return lines
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The directory of releases can be put back as a whole; the ledger remembers.
func TestNodeRemembersWhatWasInForce(t *testing.T) {
	registry, key := releases.NewRegistry(t), releases.TrustedKey(t)
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	o := nodeOptions(t, registry, key)
	n := started(t, CharterNode(), o)
	until(t, "the first release", func() bool { return n.engine.Current() != nil })
	n.stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(o.Data, releasesDir))); err != nil {
		t.Fatal(err)
	}
	registry.Publish(t, releases.Channel, releases.Release{Version: 2, Sequence: 3, Key: key}.Make(t))
	n = started(t, CharterNode(), o)
	until(t, "the second release", func() bool { return n.allows(t, 2) })
	n.stop()
	if err := os.RemoveAll(filepath.Join(o.Data, releasesDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(o.Data, releasesDir), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	o.Bundle = "oci://127.0.0.1:1/gone:production"
	n = started(t, CharterNode(), o)
	if n.engine.Current() != nil || !strings.Contains(n.health(t), "older_on_disk") {
		t.Errorf("an older release is in force: %s", n.health(t))
	}
}

// charter-server follows signed releases with the same part, and does not start
// without one.
func TestServerFollowsReleases(t *testing.T) {
	registry, key := releases.NewRegistry(t), releases.TrustedKey(t)
	o := nodeOptions(t, registry, key)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--bundle", o.Bundle}, exitUsage, "needs --trust FILE"},
		{[]string{"--bundle", o.Bundle, "--trust", o.Trust}, exitPolicy, "[not_found]"},
		{[]string{"--bundle", o.Bundle, "--trust", o.Trust, "--allow-apply"}, exitUsage, "nobody signed"},
		{[]string{"--bundle", "ftp://x/y", "--trust", o.Trust}, exitUsage, "--bundle"},
		{[]string{"--charter", example1, "--trust", put(t, filepath.Join(t.TempDir(), "trust.yaml"), "kind: Trust\n")}, exitPolicy, "invalid_trust"},
	} {
		if code, _, stderr := end(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	dir := t.TempDir()
	o.State = put(t, filepath.Join(dir, "state.json"), `{}`)
	s := started(t, server(), o)
	if !s.allows(t, 1) || s.enforcer == nil {
		t.Error("the release does not decide, or violations have no consequences")
	}
	registry.Publish(t, releases.Channel, releases.Release{Version: 2, Sequence: 3, Key: key}.Make(t))
	until(t, "the next release", func() bool { return s.allows(t, 2) })
	put(t, o.State, `{"standing":{"`+releases.Question(2).Node+`":{"state":"quarantined"}}}`)
	if _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	if s.allows(t, 2) {
		t.Error("the state document of the operator does not count")
	}
	registry.Publish(t, releases.Channel, releases.Release{Version: 3, Sequence: 5, Key: key}.Make(t))
	if done, err := s.Reload(t.Context(), "SIGHUP"); err != nil || !done.Changed {
		t.Errorf("a reload does not look for a release: %+v %v", done, err)
	}
	if s.allows(t, 3) {
		t.Error("the state document is gone with the next release")
	}
}

// The example is what people copy, with keys of their own.
func TestDocumentedTrustPolicy(t *testing.T) {
	dir := t.TempDir()
	for name, key := range map[string]*releases.Key{"release.pub": releases.TrustedKey(t), "state.pub": releases.StrangeKey(t)} {
		put(t, filepath.Join(dir, name), string(key.Public()))
	}
	put(t, filepath.Join(dir, "trusted_root.json"), string(signingtest.New(t).Root()))
	text := read(t, filepath.Join(root(t), "docs", "trust.yaml"))
	// The Sigstore of the test has no certificate transparency log.
	text = strings.Replace(text, "insecure_ignore_sct: false", "insecure_ignore_sct: true", 1)
	trust, err := signing.ReadTrust(put(t, filepath.Join(dir, "trust.yaml"), text))
	if err != nil || trust.Channel() != "production" || !trust.HasState() {
		t.Error(err)
	}
}

// A state bundle is signed anew all day long; the ledger has an entry when it says
// something else.
func TestRenewedState(t *testing.T) {
	quarantine := map[string]any{"edge-1": map[string]any{"state": "quarantined"}}
	for _, c := range []struct {
		before, after map[string]any
		want          bool
	}{
		{nil, nil, false},
		{nil, map[string]any{}, false},
		{map[string]any{"expires": "2027-01-01"}, nil, false},
		{map[string]any{"expires": "2027-01-01"}, map[string]any{"expires": "2027-01-02"}, true},
		{map[string]any{"expires": "2027-01-01", "standing": quarantine}, map[string]any{"standing": quarantine}, true},
		{map[string]any{"expires": "2027-01-01"}, map[string]any{"expires": "2027-01-01", "standing": quarantine}, false},
		{map[string]any{"standing": quarantine}, map[string]any{"standing": map[string]any{}}, false},
	} {
		if got := renewed(c.before, c.after); got != c.want {
			t.Errorf("%v, %v: %t", c.before, c.after, got)
		}
	}
}

// The token that proves who asks goes to one server, whoever else has bundles.
func TestTokenGoesToOneServer(t *testing.T) {
	var asked []string
	serve := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, name+" "+r.Header.Get("Authorization"))
			http.NotFound(w, r)
		}))
		t.Cleanup(s.Close)
		return s.URL + "/bundles/x"
	}
	first, second := serve("first"), serve("second")
	token := put(t, filepath.Join(t.TempDir(), "token"), "secret")
	for name, c := range map[string]struct{ server, bundle, text, want string }{
		"the bundle's":                    {"", first, first, "first Bearer secret"},
		"of the state, elsewhere":         {"", first, second, "second "},
		"of the state alone":              {"", "oci://registry.example.org/charter:x", second, "second Bearer secret"},
		"--server's":                      {strings.TrimSuffix(second, "/bundles/x"), first, second, "second Bearer secret"},
		"the bundle's, beside a --server": {strings.TrimSuffix(second, "/bundles/x"), first, first, "first "},
	} {
		asked = nil
		s := &Server{options: Options{Bundle: c.bundle, Node: NodeOptions{Server: c.server}, Releases: ReleaseOptions{Server: ServerOptions{TokenFile: token}}}}
		source, err := s.source(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Resolve(t.Context(), distribution.Resolved{}, 0); err == nil || len(asked) != 1 || asked[0] != c.want {
			t.Errorf("%s: asked %q, want %q", name, asked, c.want)
		}
	}
}
