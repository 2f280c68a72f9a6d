package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/distribution"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/authority"
	"github.com/westworld-charter/charter/tests/releases"
)

// counted is a signer that says how often it was asked.
type counted struct {
	signing.Signer
	calls atomic.Int64
	takes time.Duration
	err   error
}

func (c *counted) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	c.calls.Add(1)
	if c.err != nil {
		return nil, c.err
	}
	<-time.After(c.takes)
	return c.Signer.Sign(ctx, payload)
}

// stateKey is an encrypted key with its password, made once for a test.
func stateKey(t *testing.T) StateBundleOptions {
	t.Helper()
	dir := t.TempDir()
	private, _, err := signing.GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return StateBundleOptions{Key: put(t, filepath.Join(dir, "state.key"), string(private)), PasswordFile: put(t, filepath.Join(dir, "password"), "secret\n"), TTL: 15 * time.Minute}
}

// slow is a signer that takes a while.
func slow(t *testing.T, takes time.Duration) *counted {
	t.Helper()
	signer, err := stateKey(t).signer()
	if err != nil {
		t.Fatal(err)
	}
	return &counted{Signer: signer, takes: takes}
}

// producer is one that tells of one node.
func producer(t *testing.T, sign signing.Signer, state *atomic.Value) *stateProducer {
	t.Helper()
	return &stateProducer{
		signer: sign, ttl: 15 * time.Minute, path: filepath.Join(t.TempDir(), stateSequenceFile), now: time.Now, log: slog.New(slog.DiscardHandler),
		woken: make(chan struct{}, 1), changed: make(chan struct{}), failed: func(error) {},
		ask: func() (telling, error) {
			return telling{charter: "mesh", document: map[string]any{"standing": map[string]any{"a": map[string]any{"state": state.Load()}}}}, nil
		},
	}
}

// offered reads what a producer offers.
func (p *stateProducer) offered(t *testing.T) (*bundle.State, release.State) {
	t.Helper()
	r, _, ok := p.Current(bundlesapi.Request{Name: stateBundleName})
	if !ok {
		t.Fatal("nothing is offered")
	}
	s, err := bundle.ReadState(bytes.NewReader(r.Archive), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m := release.NewManifest(r.LayerDigest, int64(len(r.Archive)), s.Revision()); m.Digest() != r.ReleaseDigest || release.Digest(r.Archive) != r.LayerDigest {
		t.Errorf("it is not what it says: %+v", r)
	}
	signed, err := signing.Describe(bytes.TrimSpace(r.Statements))
	if err != nil {
		t.Fatal(err)
	}
	statement, err := release.ParseStatement(signed.Payload)
	if err != nil {
		t.Fatal(err)
	}
	about, err := statement.State()
	if err != nil || statement.Subject != r.ReleaseDigest || about.Sequence != s.Sequence() {
		t.Errorf("%v: %+v about %s", err, about, statement.Subject)
	}
	return s, about
}

// Sequences grow whatever the clock does, also after a restart; what cannot be told
// leaves what was told in place.
func TestStateSequences(t *testing.T) {
	var state atomic.Value
	state.Store("suspended")
	sign := slow(t, 0)
	p := producer(t, sign, &state)
	now := time.UnixMilli(1_780_000_000_000)
	p.now = func() time.Time { return now }
	var last int64
	grows := func() {
		t.Helper()
		if !p.produce(t.Context()) {
			t.Fatal("not signed")
		}
		_, about := p.offered(t)
		if about.Sequence <= last || about.Charter != "mesh" || !about.Issued.Equal(now) || about.Expires.Sub(about.Issued) != p.ttl {
			t.Errorf("%+v after %d", about, last)
		}
		last = about.Sequence
		if text := strings.TrimSpace(read(t, p.path)); text != strconv.FormatInt(last, 10) {
			t.Errorf("%s is kept for %d", text, last)
		}
	}
	grows()
	if last != now.UnixMilli() {
		t.Errorf("the sequence %d is not the time", last)
	}
	grows()
	now = now.Add(-time.Hour)
	grows()
	path := p.path
	p = producer(t, sign, &state)
	p.path, p.now = path, func() time.Time { return now }
	if err := p.recall(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := p.Current(bundlesapi.Request{Name: stateBundleName}); ok {
		t.Error("something is offered before it is signed")
	}
	grows()

	_, changed, _ := p.Current(bundlesapi.Request{Name: stateBundleName})
	var failed []error
	p.failed = func(err error) { failed = append(failed, err) }
	sign.err = errors.New("the token is gone")
	if p.produce(t.Context()) {
		t.Error("signed without a signer")
	}
	select {
	case <-changed:
		t.Error("somebody is woken for nothing")
	default:
	}
	sign.err = nil
	grows()
	if len(failed) != 2 || failed[0] == nil || failed[1] != nil {
		t.Errorf("the health was told %v", failed)
	}
	<-changed
	if _, changed, ok := p.Current(bundlesapi.Request{Name: "charter"}); ok || changed != nil {
		t.Error("it answers for other bundles")
	}
	for _, bad := range []string{"", "x", "0", "-1", "9007199254740992"} {
		put(t, p.path, bad)
		if err := p.recall(); err == nil {
			t.Errorf("%q is a sequence", bad)
		}
	}
}

// A burst of changes is signed a few times, the last of them surely, and a quiet server
// signs anew before the last one expires.
func TestStateIsSignedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Value
		state.Store("warned")
		sign := slow(t, 20*time.Millisecond)
		p := producer(t, sign, &state)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		for i := range 10_000 {
			if i == 9_999 {
				state.Store("quarantined")
			}
			p.wake()
			<-time.After(100 * time.Microsecond)
		}
		<-time.After(time.Second)
		s, _ := p.offered(t)
		if got := s.Document()["standing"].(map[string]any)["a"].(map[string]any)["state"]; got != "quarantined" {
			t.Errorf("the last change is not told: %v", got)
		}
		if calls := sign.calls.Load(); calls < 2 || calls > 5 {
			t.Errorf("10,000 changes in a second were signed %d times", calls)
		}
		before := sign.calls.Load()
		<-time.After(30 * time.Minute)
		if calls := sign.calls.Load() - before; calls < 3 || calls > 5 {
			t.Errorf("signed %d times in half an hour", calls)
		}
		if _, about := p.offered(t); !about.Expires.After(time.Now().Add(7 * time.Minute)) {
			t.Errorf("it expires at %v, and it is %v", about.Expires, time.Now())
		}
		cancel()
		<-done
	})
}

const stateMesh = `
apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: 1.0.0}
access_levels: [public]
purposes: [operations]
roles: [{name: node_operator, collects: ["*"], reads: ["*"]}]
metrics:
  network: [{id: net.latency, match: [latency], access: public, retention: 30d}]
forbidden: [{id: privacy.location, match: ["*gps*"], severity: critical, violation: silent_collection, reason: "r"}]
escalation: [{level: 1, at: 1, within: 30d, action: quarantine, restore: committee}]
enforcement: {mode: enforce, state: required}
committee: {quorum: {power: 1, heads: 1}, members: [{id: ana, address: "%s", power: 1}]}
emergency: {max: 2h, quorum: 1, may: [retention]}
`

// town is a charter-server with what a charter-node needs to follow it.
type town struct {
	dir     string
	charter *charter.Charter
	ana     *committee.Key
	ca      authority.Authority
	server  *node
	options Options // of the server
}

func newTown(t *testing.T, ttl time.Duration) *town {
	t.Helper()
	dir := t.TempDir()
	ana, err := committee.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	w := &town{dir: dir, ana: ana, ca: authority.New(t, "mesh")}
	own := w.ca.Server(t)
	private, public, err := signing.GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.path("state.pub"), string(public))
	o := Defaults()
	o.Charter = put(t, w.path("charter.yaml"), fmt.Sprintf(stateMesh, ana.Address()))
	o.Data, o.Listen, o.Watch = w.path("server"), "127.0.0.1:0", 0
	o.State = put(t, w.path("operator.json"), `{"expires":"2099-01-01T00:00:00Z"}`)
	o.StateBundle = StateBundleOptions{Key: put(t, w.path("state.key"), string(private)), PasswordFile: put(t, w.path("password"), "secret\n"), TTL: ttl}
	o.TLS = TLSOptions{Cert: put(t, w.path("server.pem"), own.Cert), Key: put(t, w.path("server.key"), own.Key), ClientCA: put(t, w.path("ca.pem"), w.ca.PEM()), ClientRoles: "node_operator"}
	var findings interface{ HasErrors() bool }
	w.charter, findings = charter.Parse("charter.yaml", []byte(read(t, o.Charter)))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	w.options = o
	w.server = started(t, server(), o)
	return w
}

func (w *town) path(name string) string { return filepath.Join(w.dir, name) }

// follower is a node of the town: its policy is a signed file, its state comes from the
// server.
func (w *town) follower(t *testing.T) Options {
	t.Helper()
	key := releases.TrustedKey(t)
	b, err := compile.Build(w.charter)
	if err != nil {
		t.Fatal(err)
	}
	archive := releases.Archive(t, b)
	statements := releases.Release{Sequence: 1, Key: key, Edit: func(p *release.Policy) {
		p.Revision, p.CharterDigest = w.charter.Revision(), w.charter.Digest()
	}}.Sign(t, release.NewManifest(release.Digest(archive), int64(len(archive)), w.charter.Revision()).Digest())
	own := w.ca.Named(t, "charter://node/edge-1")
	o := CharterNode().defaults
	o.Bundle = w.path("release.tar.gz")
	put(t, o.Bundle, string(archive))
	put(t, distribution.StatementsPath(o.Bundle), string(distribution.EncodeStatements(statements)))
	o.Trust = trustFile(t, w.dir, key)
	put(t, o.Trust, read(t, o.Trust)+"state: {keys: [state.pub]}\n")
	o.Releases.StateBundle = w.server.url + "/bundles/state"
	o.Releases.Server = ServerOptions{CA: w.path("ca.pem"), Cert: put(t, w.path("edge-1.pem"), own.Cert), Key: put(t, w.path("edge-1.key"), own.Key)}
	o.Releases.Poll, o.Releases.LongPoll = time.Minute, time.Minute
	o.InsecureSelfAsserted, o.Listen, o.Watch, o.Data = true, "127.0.0.1:0", 0, w.path("node")
	return o
}

// offend has a node ask the server for what is forbidden.
func (w *town) offend(t *testing.T, name string) {
	t.Helper()
	f := &fortress{dir: w.dir, ca: w.ca}
	status, body := send(t, f.client(t, w.ca.Named(t, "charter://node/"+name).Pair), "POST", w.server.url+"/v1/check",
		`{"metric":"gps","node":"`+name+`","role":"node_operator","operation":"collect"}`, "Content-Type", "application/json")
	if status != http.StatusOK || !strings.Contains(body, "forbidden") {
		t.Fatalf("%d %s", status, body)
	}
}

// codes are those of the reasons of an answer, "" when it is allowed without any.
func (n *node) codes(t *testing.T, name, operation string) string {
	t.Helper()
	status, body := ask(t, n.url+"/v1/check", `{"metric":"latency","node":"`+name+`","role":"node_operator","operation":"`+operation+`"}`)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	var d struct {
		Allow   bool
		Reasons []struct{ Code string }
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	if d.Allow != (len(codes) == 0) {
		t.Errorf("%s", body)
	}
	slices.Sort(codes)
	return strings.Join(codes, " ")
}

// A quarantine on the server is obeyed by a node elsewhere as soon as it is told, is
// lifted by the committee alone, and stays when the node starts without a network.
func TestNodesElsewhereObey(t *testing.T) {
	w := newTown(t, 15*time.Minute)
	o := w.follower(t)
	n := started(t, CharterNode(), o)
	until(t, "state", func() bool { return n.codes(t, "edge-1", "collect") == "" })

	began := time.Now()
	w.offend(t, "edge-1")
	until(t, "the quarantine", func() bool { return n.codes(t, "edge-1", "collect") == "node_quarantined" })
	took := time.Since(began)
	t.Logf("%v from the forbidden question at the server until the node obeys", took)
	if took > 10*time.Second {
		t.Errorf("it took %v, and polls are a minute apart: nobody is woken", took)
	}
	if got := n.codes(t, "edge-1", "read"); got != "" {
		t.Errorf("reading: %s", got)
	}

	r := committee.Request{Kind: committee.Restore, Charter: "mesh", Node: "edge-1", Reason: "OPS-1", Nonce: strings.Repeat("ab", 16), Expires: time.Now().Add(time.Hour).Truncate(time.Second)}
	signature, err := w.ana.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.enforcer.Restore(t.Context(), committee.Signed{Request: r, Signatures: []committee.Signature{signature}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the restore", func() bool { return n.codes(t, "edge-1", "collect") == "" })

	// What the operator writes reaches nodes, and takes a signature to be lifted there.
	put(t, w.options.State, `{"expires":"2099-01-01T00:00:00Z","standing":{"edge-3":{"state":"quarantined"}}}`)
	if _, err := w.server.Reload(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	until(t, "what the operator says", func() bool { return n.codes(t, "edge-3", "collect") == "node_quarantined" })
	put(t, w.options.State, `{"expires":"2099-01-01T00:00:00Z"}`)
	if _, err := w.server.Reload(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	until(t, "that it is gone", func() bool { return strings.Contains(n.health(t), "restriction_kept") })
	r.Node, r.Nonce = "edge-3", strings.Repeat("cd", 16)
	if signature, err = w.ana.Sign(r); err != nil {
		t.Fatal(err)
	}
	text, err := committee.Signed{Request: r, Signatures: []committee.Signature{signature}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.options.State, `{"expires":"2099-01-01T00:00:00Z","proofs":[`+string(text)+`]}`)
	if _, err := w.server.Reload(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	until(t, "that the committee lifted it", func() bool { return n.codes(t, "edge-3", "collect") == "" })

	w.offend(t, "edge-2")
	until(t, "the second quarantine", func() bool { return n.codes(t, "edge-2", "collect") == "node_quarantined" })
	w.server.stop()
	n.stop()
	n = started(t, CharterNode(), o)
	if got := n.codes(t, "edge-2", "collect"); got != "node_quarantined" {
		t.Errorf("after a restart without a network: %q", got)
	}
	if got := n.codes(t, "edge-1", "collect"); got != "" {
		t.Errorf("the last state is still good: %q", got)
	}
}

// Where the charter requires state, a node that is not told any more stops collecting.
func TestRequiredStateExpires(t *testing.T) {
	w := newTown(t, 3*time.Second)
	o := w.follower(t)
	o.Releases.Poll = 100 * time.Millisecond
	n := started(t, CharterNode(), o)
	until(t, "state", func() bool { return n.codes(t, "edge-1", "collect") == "" })
	first := n.releases.Status().State.Sequence
	until(t, "that it is renewed", func() bool { return n.releases.Status().State.Sequence > first+1000 })
	if got := n.codes(t, "edge-1", "collect"); got != "" {
		t.Errorf("while it is renewed: %q", got)
	}
	w.server.stop()
	until(t, "that it expires", func() bool { return n.codes(t, "edge-1", "collect") == "state_expired" })
	if got := n.codes(t, "edge-1", "read"); got != "" {
		t.Errorf("reading: %s", got)
	}
	until(t, "bad health", func() bool { return strings.Contains(n.health(t), "degraded") })
	w.options.Listen = strings.TrimPrefix(w.server.url, "https://")
	w.server = started(t, server(), w.options)
	until(t, "that it is told again", func() bool { return n.codes(t, "edge-1", "collect") == "" })
}

// A key that cannot be opened is an error of the operator, and nothing is served.
func TestStateKeyIsChecked(t *testing.T) {
	private, _, err := signing.GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := put(t, filepath.Join(dir, "state.key"), string(private))
	for name, b := range map[string]StateBundleOptions{
		"wrong password": {Key: key, PasswordFile: put(t, filepath.Join(dir, "password"), "wrong"), TTL: time.Minute},
		"no password":    {Key: key, TTL: time.Minute},
		"no file":        {Key: filepath.Join(dir, "gone"), TTL: time.Minute},
		"no key":         {PasswordFile: key, TTL: time.Minute},
		"no time":        {Key: key, TTL: time.Second},
	} {
		o := selfAsserted(example1)
		o.Data, o.StateBundle = t.TempDir(), b
		s, err := New(t.Context(), server(), o, slog.New(slog.DiscardHandler))
		if _, usage := errors.AsType[*usageError](err); !usage || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, stateSequenceFile)); err == nil {
		t.Error("something was signed")
	}
}

// While nothing can be signed, health and metrics of the server say so.
func TestUnsignedStateShows(t *testing.T) {
	o := selfAsserted(example1)
	o.Data, o.StateBundle = t.TempDir(), stateKey(t)
	s := started(t, server(), o)
	shows := func(what string) {
		t.Helper()
		until(t, what, func() bool {
			_, body := fetch(t, s.url+"/metrics")
			return strings.Contains(body, "\n"+what)
		})
	}
	shows("charter_state_bundle_up 1\n")
	shows("charter_state_bundle_expiry_timestamp_seconds 1.")
	shows(`charter_state_bundles_total{result="success"} 1`)

	// The number of a bundle must be on disk before anybody sees it.
	path := filepath.Join(o.Data, stateSequenceFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(path, "in the way"), "")
	s.stateChanged()
	shows("charter_state_bundle_up 0\n")
	if d := s.degraded(); d == nil || d.Code != codeStateNotSigned {
		t.Errorf("%+v, want %s", d, codeStateNotSigned)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	shows("charter_state_bundle_up 1\n") // it tries again
	if d := s.degraded(); d != nil {
		t.Errorf("%+v after the next one was signed", d)
	}
}
