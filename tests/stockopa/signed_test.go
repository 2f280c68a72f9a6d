package stockopa

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/releases"
)

// signed writes the bundle of the server's charter with a signature inside, and returns
// its revision.
func signed(t *testing.T, s *server, key signing.Key, change func(archive []byte) []byte) string {
	t.Helper()
	b := releases.Compile(t, s.path("production/charter.yaml"))
	jwt, err := signing.SignJWT(t.Context(), key, "charter", b.Files())
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := b.WriteSignedTar(&archive, jwt); err != nil {
		t.Fatal(err)
	}
	s.write("new.tar.gz", string(change(archive.Bytes())))
	if err := os.Rename(s.path("new.tar.gz"), s.path("opa.tar.gz")); err != nil {
		t.Fatal(err)
	}
	return b.Manifest().Revision
}

func key(t *testing.T) (k signing.Key, public string) {
	t.Helper()
	private, pem, err := signing.GenerateKey([]byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	if k, err = signing.LoadKey(private, []byte("password")); err != nil {
		t.Fatal(err)
	}
	return k, string(pem)
}

// A stock opa with the state bundle obeys standings at once.
func TestStockOPAObeysStandings(t *testing.T) {
	s := serve(t)
	private, _, err := signing.GenerateKey([]byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("state.key", string(private))
	s.write("password", "password\n")
	s.write("state.json", "{}")
	s.Kill()
	s.start("--state-key", s.path("state.key"), "--state-key-password-file", s.path("password"), "--state", s.path("state.json"))
	a := follow(t, s, s.url, "  # state: {", "  state: {")
	question := map[string]any{"metric": "latency_p50", "node": "edge-1", "role": "node_operator", "operation": "collect", "claims": []string{"owns_node", "mtls"}, "time": moment}
	if d := a.decide(t, question); d["allow"] != true {
		t.Fatalf("%v", d)
	}
	s.write("state.json", `{"standing":{"edge-1":{"state":"quarantined"}}}`)
	poll.Until(t, "opa denies", func() error {
		if d := a.decide(t, question); d["outcome"] != decision.Quarantined {
			return fmt.Errorf("%v", d)
		}
		return nil
	})
}

// A stock opa that verifies signatures takes what was signed for it, the next one at
// once, and nothing that somebody else signed.
func TestStockOPAVerifies(t *testing.T) {
	as := func(archive []byte) []byte { return archive }
	s := serve(t)
	ours, public := key(t)
	first := signed(t, s, ours, as)
	s.Kill()
	s.start("--opa-bundle", s.path("opa.tar.gz"))
	keys := "keys:\n  charter:\n    algorithm: ES256\n    key: |\n      " + strings.ReplaceAll(strings.TrimSpace(public), "\n", "\n      ") + "\n"
	a := follow(t, s, s.url,
		"    resource: bundles/charter\n", "    resource: bundles/charter-opa\n    signing: {keyid: charter}\n",
		"default_decision:", keys+"default_decision:")
	if got := a.revision(); got != first {
		t.Fatalf("revision %q, want %q", got, first)
	}
	text := file.Read(t, s.path("base/charter.yaml"))
	s.write("base/charter.yaml", strings.Replace(text, "latency_p50", "latency_p51", 1))
	second := signed(t, s, ours, as)
	poll.Until(t, "opa has what was signed next", func() error {
		if got := a.revision(); got != second {
			return fmt.Errorf("revision %s", got)
		}
		return nil
	})
	// Nobody but the holder of the key makes another one come in force.
	theirs, _ := key(t)
	s.write("base/charter.yaml", strings.Replace(text, "latency_p50", "latency_p52", 1))
	signed(t, s, theirs, as)
	etag := ""
	poll.Until(t, "the server offers it", func() error {
		h, body, err := s.offered("production-opa")
		if err != nil {
			return err
		}
		if b, _, err := bundle.ReadSigned(strings.NewReader(body), bundle.DefaultLimits()); err != nil || b.Manifest().Revision == second {
			return fmt.Errorf("%v", err)
		}
		etag = h.Get("ETag")
		return nil
	})
	poll.Until(t, "opa tells that it refuses it", func() error {
		for _, e := range s.statuses() {
			if strings.Contains(e, "bundle_error") {
				return nil
			}
		}
		return fmt.Errorf("offered is %s", etag)
	})
	if got := a.revision(); got != second {
		t.Errorf("revision %s", got)
	}
	// What is no bundle with a signature is not offered at all.
	signed(t, s, ours, func(archive []byte) []byte { return archive[:len(archive)/2] })
	poll.Until(t, "the server complains", func() error {
		body, err := fetch.Get(t.Context(), s.url+"/health")
		if err != nil || !strings.Contains(body, "invalid_bundle") {
			return fmt.Errorf("%s %w", body, err)
		}
		return nil
	})
	if h, _, err := s.offered("charter-opa"); err != nil || h.Get("ETag") != etag {
		t.Errorf("%v %v", h, err)
	}
}
