package stockopa

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/policytest"
	"github.com/westworld-charter/charter/tests/internal/judge"
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
	text, err := os.ReadFile(s.path("base/charter.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("base/charter.yaml", strings.Replace(string(text), "latency_p50", "latency_p51", 1))
	changed := time.Now()
	eventually(t, "opa has the new policy", func() error {
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
	c, findings := charter.Load(s.path("production/charter.yaml"))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"charter", "production"} {
		h, body, err := get(s.url+"/bundles/"+name, uploadToken)
		if err != nil || h.Get("ETag") != `"`+b.LayerDigest()+`"` {
			t.Fatalf("%v: %v", err, h)
		}
		if got := digest(body); got != b.LayerDigest() || h.Get("Content-Encoding") != "" {
			t.Errorf("%s, want %s", got, b.LayerDigest())
		}
		_, _, err = get(s.url+"/bundles/"+name, uploadToken, "If-None-Match", h.Get("ETag"))
		if err == nil || !strings.Contains(err.Error(), ": 304 ") {
			t.Error(err)
		}
	}
	for url, status := range map[string]string{
		"/bundles/charter.sigstore.json": ": 404 ", // it is not signed
		"/bundles/staging":               ": 404 ",
	} {
		if _, _, err := get(s.url+url, uploadToken); err == nil || !strings.Contains(err.Error(), status) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, _, err := get(s.url+"/bundles/charter", ""); err == nil || !strings.Contains(err.Error(), ": 401 ") {
		t.Errorf("without proof of identity: %v", err)
	}
}

// The shipped case table is decided by the opa as by our engine.
func TestStockOPADecidesAlike(t *testing.T) {
	s := serve(t)
	a := follow(t, s, s.url)
	c, findings := charter.Load(s.path("production/charter.yaml"))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	b, err := compile.Build(c)
	if err != nil {
		t.Fatal(err)
	}
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

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}
