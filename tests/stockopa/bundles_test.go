package stockopa

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/policytest"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/releases"
)

// reaction is how fast another policy must reach an agent that waits for it: the server
// looks at its files twice, 100 ms apart, and the agent compiles the bundle.
const reaction = 5 * time.Second

// An opa with nothing but the address of a server decides with its policy, and has the
// next one at once.
func TestStockOPAFollows(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url)
	before := a.revision()
	if !strings.HasPrefix(before, "production-") {
		t.Fatalf("revision %q", before)
	}
	question := map[string]any{"metric": "latency_p50", "node": "edge-1", "role": "node_operator", "operation": "collect", "claims": []string{"owns_node", "mtls"}, "time": moment}
	if d := a.decide(t, question); d["allow"] != true {
		t.Fatalf("%v", d)
	}
	text := file.Read(t, s.path("base/charter.yaml"))
	s.write("base/charter.yaml", strings.Replace(text, "latency_p50", "latency_p51", 1))
	changed := time.Now()
	poll.Until(t, "opa has the new policy", func() error {
		if now := a.revision(); now == before {
			return fmt.Errorf("revision %s", now)
		}
		return nil
	})
	if took := time.Since(changed); took > reaction {
		t.Errorf("the new policy took %s", took)
	}
	if d := a.decide(t, question); d["allow"] != false || d["outcome"] != decision.UnknownMetric {
		t.Errorf("%v", d)
	}
}

// What is served is what the charter compiles to, byte by byte, and is sent once.
func TestBundleIsReproducible(t *testing.T) {
	s := serve(t)
	b := releases.Compile(t, s.path("production/charter.yaml"))
	for _, name := range []string{"charter", "production"} {
		h, body, err := s.offered(name)
		if err != nil || h.Get("ETag") != `"`+b.LayerDigest()+`"` {
			t.Fatalf("%v: %v", err, h)
		}
		if got := release.Digest([]byte(body)); got != b.LayerDigest() || h.Get("Content-Encoding") != "" {
			t.Errorf("%s, want %s", got, b.LayerDigest())
		}
		_, _, err = s.offered(name, "If-None-Match", h.Get("ETag"))
		if err == nil || !strings.Contains(err.Error(), ": 304 ") {
			t.Error(err)
		}
	}
	for _, name := range []string{"charter.sigstore.json", "staging"} { // it is not signed
		if _, _, err := s.offered(name); err == nil || !strings.Contains(err.Error(), ": 404 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := fetch.Get(t.Context(), s.url+"/bundles/charter"); err == nil || !strings.Contains(err.Error(), ": 401 ") {
		t.Errorf("without proof of identity: %v", err)
	}
}

// The shipped case table is decided by the opa as by our engine.
func TestStockOPADecidesAlike(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url)
	b := releases.Compile(t, s.path("production/charter.yaml"))
	policy, err := engine.Prepare(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	table, err := policytest.LoadCases(filepath.Join(judge.Root(t), "tests", "cases", "shipped_production.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range table.Cases {
		if c.State != nil {
			continue
		}
		text, err := json.Marshal(c.Input)
		if err != nil {
			t.Fatal(err)
		}
		in, err := decision.ParseInput(text)
		if err != nil {
			continue // we refuse it before it is decided
		}
		own, err := policy.Decide(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := comparable(t, own), a.decide(t, json.RawMessage(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s\n opa %v\nours %v", c.Name, text, got, want)
		}
		compared++
	}
	if compared < 20 {
		t.Errorf("only %d cases were compared", compared)
	}
}

// comparable is a decision as the rules made it.
func comparable(t *testing.T, d decision.Decision) (document map[string]any) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document
}
