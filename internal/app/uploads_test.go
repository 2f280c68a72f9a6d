package app

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// eventAbout is an event of OPA about a forbidden question of a node.
func eventAbout(node string) string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it does not fail
	return `{"labels":{"id":"opa-1"},"decision_id":"` + hex.EncodeToString(id[:]) + `","path":"charter/decision","timestamp":"2026-06-01T00:00:00Z",` +
		`"input":{"metric":"gps_fix","node":"` + node + `","role":"node_operator","operation":"collect","labels":{"place":"secret"}},` +
		`"result":{"allow":false,"outcome":"forbidden","revision":"r-1","clause":"privacy.location","severity":"critical","mode":"enforce","reasons":[]}}`
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// upload sends decision logs as OPA does.
func upload(t *testing.T, c *http.Client, url, body string, header ...string) (int, string) {
	t.Helper()
	return send(t, c, http.MethodPost, url+"/logs", body, append([]string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, header...)...)
}

// A node's certificate uploads for that node, and what it says has no consequences.
func TestUploadsOfNodes(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem", "--tls-assert-roles", "gateway")
	a := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	events := []string{eventAbout("edge-2")}
	for range 20 {
		events = append(events, eventAbout("edge-1"))
	}
	body := gzipped(t, "["+strings.Join(events, ",")+"]")
	for try, repeated := range []int{0, 21} {
		want := fmt.Sprintf(`{"events":21,"denied":21,"allowed":0,"repeated":%d,"refused":1,"unreadable":0,"ignored":0,"errors":[{"code":"node_mismatch",`, repeated)
		if status, got := upload(t, a, f.url, body); status != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("%d: %d %s", try, status, got)
		}
	}
	if status, got := send(t, a, http.MethodGet, f.url+"/v1/nodes/edge-1", ""); status != http.StatusOK || !strings.Contains(got, `"good"`) || strings.Contains(got, `"incidents":1`) {
		t.Errorf("%d %s", status, got)
	}
	gateway := f.client(t, f.ca.Named(t, "charter://node/gw", "charter://role/gateway").Pair)
	if status, got := upload(t, gateway, f.url, gzipped(t, "["+eventAbout("edge-2")+"]")); status != http.StatusOK || !strings.Contains(got, `"refused":0`) {
		t.Errorf("who may say anything: %d %s", status, got)
	}
}

func TestUploadsAreBounded(t *testing.T) {
	o := unrecorded()
	o.Charter, o.InsecureSelfAsserted, o.MaxBody = example1, true, 256<<10
	s := recording(t, o)
	noise := make([]byte, 300<<10)
	_, _ = rand.Read(noise) // it does not fail
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"a bomb":       {gzipped(t, strings.Repeat(" ", 64<<20)), http.StatusRequestEntityTooLarge, "body_too_large"},
		"too large":    {string(noise), http.StatusRequestEntityTooLarge, "body_too_large"},
		"not gzip":     {"[]", http.StatusBadRequest, "invalid_request"},
		"cut off":      {gzipped(t, "["+eventAbout("edge-1")+"]")[:100], http.StatusBadRequest, "invalid_request"},
		"a part of it": {gzipped(t, "["+eventAbout("edge-1")+","), http.StatusBadRequest, "invalid_request"},
	} {
		if status, body := upload(t, http.DefaultClient, s.url, c.body); status != c.status || !strings.Contains(body, `"`+c.code+`"`) {
			t.Errorf("%s: %d %.300s", name, status, body)
		}
	}
	if n := recordedOf(t, s, ledger.Denial); n != 0 {
		t.Errorf("%d entries of what was refused", n)
	}
}

func recordedOf(t *testing.T, s *serving, kind ledger.Kind) (n int) {
	t.Helper()
	for _, err := range s.keeper.relay.Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{kind}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// While the ledger cannot be written OPA keeps what it has.
func TestUploadsWhileTheLedgerIsDown(t *testing.T) {
	o := unrecorded()
	o.Charter, o.InsecureSelfAsserted = example1, true
	s := recording(t, o)
	body := gzipped(t, "["+eventAbout("edge-1")+"]")
	s.keeper.shut()
	if status, got := upload(t, http.DefaultClient, s.url, body); status != http.StatusServiceUnavailable || !strings.Contains(got, codeAuditUnavailable) {
		t.Errorf("%d %s", status, got)
	}
	s.keeper.tend(t.Context(), time.Now())
	for range 2 {
		if status, got := upload(t, http.DefaultClient, s.url, body); status != http.StatusOK {
			t.Errorf("%d %s", status, got)
		}
	}
	if n := recordedOf(t, s, ledger.Denial); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// Decisions in an upload are from the budget of who uploads.
func TestUploadsAreCharged(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem", "--rate-limit", "5")
	a := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	body := gzipped(t, "["+strings.Repeat(eventAbout("edge-1")+",", 99)+eventAbout("edge-1")+"]")
	if status, got := upload(t, a, f.url, body); status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	if status, got := upload(t, a, f.url, body); status != http.StatusTooManyRequests {
		t.Errorf("%d %s", status, got)
	}
}
