package app

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/authority"
)

// A node that proves who it is and asks for what is forbidden is suspended before it
// has its answer: its next question, one after a restart, and one under another
// charter say so. Nobody else can do that to it.
func TestForbiddenCollectSuspends(t *testing.T) {
	dir := t.TempDir()
	const steps = "escalation: [{level: 1, at: 1, within: 30d, action: suspend, for: 24h}]\n"
	text := read(t, example1) + steps
	path := put(t, filepath.Join(dir, "charter.yaml"), text)
	ca := authority.New(t, "mesh")
	own := ca.Server(t)
	args := []string{
		"--charter", path, "--data", filepath.Join(dir, "data"), "--watch", "0",
		"--tls-cert", put(t, filepath.Join(dir, "server.pem"), own.Cert), "--tls-key", put(t, filepath.Join(dir, "server.key"), own.Key),
		"--tls-client-ca", put(t, filepath.Join(dir, "clients.pem"), ca.PEM()), "--token-file", put(t, filepath.Join(dir, "tokens.yaml"), tokenFile()),
	}
	f := &fortress{dir: dir, ca: ca, process: launch(t, args...)}
	nodes := map[string]*http.Client{"gateway": f.client(t)}
	for _, node := range []string{"edge-1", "edge-2"} {
		nodes[node] = f.client(t, ca.Named(t, "charter://node/"+node).Pair)
	}
	check := func(client, node, metric string, header ...string) string {
		t.Helper()
		question := strings.Replace(about(node), "latency_p50", metric, 1)
		if client == "gateway" {
			question = strings.Replace(question, `"role"`, `"claims":["mtls"],"role"`, 1)
		}
		status, body := send(t, nodes[client], "POST", f.url+"/v1/check", question, append(header, "Content-Type", "application/json")...)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		_, rest, _ := strings.Cut(body, `"outcome":"`)
		outcome, _, _ := strings.Cut(rest, `"`)
		return outcome
	}
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	gateway := []string{"Authorization", "Bearer " + gatewayToken}
	expect(check("gateway", "edge-1", "gps_location", gateway...), "forbidden") // says a proxy
	expect(check("edge-1", "edge-1", "latency_p50"), "allowed")
	expect(check("edge-1", "edge-1", "gps_location"), "forbidden")
	expect(check("edge-1", "edge-1", "latency_p50"), "suspended")
	expect(check("gateway", "edge-1", "latency_p50", gateway...), "suspended")
	expect(check("edge-1", "edge-1", "gps_location"), "forbidden") // before anything else
	expect(check("edge-2", "edge-2", "latency_p50"), "allowed")

	if code, rest := f.stop(); code != exitOK {
		t.Fatalf("%d %s", code, rest)
	}
	f.process = launch(t, args...)
	expect(check("edge-1", "edge-1", "latency_p50"), "suspended")
	expect(check("edge-2", "edge-2", "latency_p50"), "allowed")

	// A charter without escalation changes nothing about it.
	put(t, path, strings.Replace(read(t, example1), "version: 1.0.0", "version: 1.1.0", 1))
	admin := []string{"Authorization", "Bearer " + adminToken}
	if status, body := send(t, nodes["gateway"], "POST", f.url+"/v1/reload", "", admin...); status != http.StatusOK || !strings.Contains(body, "1.1.0") {
		t.Fatalf("%d %s", status, body)
	}
	expect(check("edge-1", "edge-1", "latency_p50"), "suspended")
	f.stop()
}

// What an operator says of a node holds beside what follows from the ledger.
func TestStateOfTheOperatorHolds(t *testing.T) {
	dir := t.TempDir()
	o := selfAsserted(example1)
	o.State = put(t, filepath.Join(dir, "state.json"), `{"standing":{"edge-7":{"state":"quarantined"}}}`)
	s := recording(t, o)
	own := map[string]any{"standing": map[string]any{"edge-1": map[string]any{"state": "suspended"}}}
	if err := s.publishState(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	outcome := func(node string) string {
		_, body := ask(t, s.url+"/v1/check", strings.Replace(about(node), `"role"`, `"claims":["mtls"],"role"`, 1))
		_, rest, _ := strings.Cut(body, `"outcome":"`)
		got, _, _ := strings.Cut(rest, `"`)
		return got
	}
	expect := func(node, want string) {
		t.Helper()
		if got := outcome(node); got != want {
			t.Errorf("%s: %s, want %s", node, got, want)
		}
	}
	expect("edge-1", "suspended")
	expect("edge-7", "quarantined")
	put(t, o.State, `{"standing":{"edge-1":{"state":"good"},"edge-2":{"state":"suspended"}}}`)
	if _, err := s.Reload(t.Context(), "api"); err != nil {
		t.Fatal(err)
	}
	expect("edge-1", "suspended")
	expect("edge-2", "suspended")
	expect("edge-7", "allowed")
	if err := s.publishState(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expect("edge-1", "allowed")
	expect("edge-2", "suspended")
}

// Who sits on the committee is part of the record.
func TestCommitteeIsRecorded(t *testing.T) {
	text := read(t, example1) + `
committee:
  quorum: {power: 0.5, heads: 1}
  members: [{id: ana, address: "0x1111111111111111111111111111111111111111", power: 1}]
`
	o := selfAsserted(put(t, filepath.Join(t.TempDir(), "charter.yaml"), text))
	s := recording(t, o)
	entries := 0
	for _, err := range s.keeper.relay.Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{ledger.Membership}}) {
		if err != nil {
			t.Fatal(err)
		}
		entries++
	}
	if entries != 1 || s.enforcer.Stats().Committee != 1 {
		t.Errorf("%d entries, %+v", entries, s.enforcer.Stats())
	}
}
