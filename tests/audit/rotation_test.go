package audit

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

func (s *server) change(t *testing.T, how string) {
	t.Helper()
	res, err := s.http.Post(s.url+"/v1/ledger/keys/"+how, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", how, res.Status, err)
	}
}

// cosigned waits until witnesses have cosigned all entries.
func (s *server) cosigned(t *testing.T) {
	t.Helper()
	poll.Until(t, "everything is cosigned", func() error {
		s.must(t, forbidden) // critical: it has cosignatures collected
		body, err := s.get("/metrics")
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`(?m)^charter_ledger_(?:witnessed_size|size) (\d+)$`).FindAllStringSubmatch(body, -1)
		if len(m) != 2 || m[0][1] != m[1][1] {
			return fmt.Errorf("%v", m)
		}
		return nil
	})
}

// A witness goes on through a change of the key: it knows the old one during the
// overlap, and has to be told the new one before that ends.
func TestWitnessThroughRotation(t *testing.T) {
	data, witnessData := t.TempDir(), t.TempDir()
	start(t, data, "--ledger-origin", "example.org/ledger").stop(t)
	first := text(t, filepath.Join(data, "ledger.pub"))
	other := start(t, witnessData, "--witness-logs", write(t, "logs", "log %s\nquorum none\n", first), "--witness-name", "witness.example.org/1")
	policy := func() string {
		return write(t, "policy", "witness w %s %s/v1/witness\nquorum w\n", text(t, filepath.Join(witnessData, "witness.pub")), other.url)
	}
	s := start(t, data, "--witness-policy", policy())
	s.cosigned(t)
	s.change(t, "rotate")
	s.cosigned(t)
	s.stop(t)
	s = start(t, data, "--witness-policy", policy()) // the witness is asked what it holds
	s.cosigned(t)
	keys := text(t, filepath.Join(data, "ledger.pub"))
	second, _, _ := strings.Cut(keys, " ")
	if second == first || strings.Count(keys, "\n") != 1 {
		t.Fatal(keys)
	}
	s.stop(t)
	other.stop(t)
	other = start(t, witnessData, "--witness-logs", write(t, "logs", "log %s\nlog %s\nquorum none\n", first, second), "--witness-name", "witness.example.org/1")
	s = start(t, data, "--witness-policy", policy())
	s.change(t, "retire")
	s.cosigned(t)
	s.kill()
	s = start(t, data, "--witness-policy", policy())
	s.cosigned(t)
	if checkpoint, err := s.get("/v1/ledger/checkpoint"); err != nil || strings.Count(checkpoint, "\n— example.org/ledger ") != 1 {
		t.Errorf("%s: %v", checkpoint, err)
	}
	if body, err := s.get("/v1/ledger/entries?kind=key-rotation,key-retirement"); err != nil || strings.Count(body, `"index":`) != 2 {
		t.Errorf("%s: %v", body, err)
	}
	s.stop(t)
}
