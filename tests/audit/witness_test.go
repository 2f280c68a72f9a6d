package audit

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

func write(t *testing.T, name, format string, args ...any) string {
	t.Helper()
	return file.Write(t, filepath.Join(t.TempDir(), name), fmt.Sprintf(format, args...))
}

func text(t *testing.T, path string) string {
	t.Helper()
	return strings.TrimSpace(file.Read(t, path))
}

func (s *server) get(path string) (string, error) {
	return fetch.Text(context.Background(), s.http, http.MethodGet, s.url+path, "")
}

// One server witnesses the ledger of another. Without the witness decisions go on,
// which is told; a critical denial is recorded all the same.
func TestWitness(t *testing.T) {
	data, witnessData := t.TempDir(), t.TempDir()
	start(t, data, "--ledger-origin", "example.org/ledger").stop(t)
	logs := write(t, "logs", "log %s\nquorum none\n", text(t, filepath.Join(data, "ledger.pub")))
	other := start(t, witnessData, "--witness-logs", logs, "--witness-name", "witness.example.org/1")
	policy := write(t, "policy", "witness w %s %s/v1/witness\nquorum w\n", text(t, filepath.Join(witnessData, "witness.pub")), other.url)
	s := start(t, data, "--witness-policy", policy)
	if a := s.must(t, forbidden); a.Allow { // critical, so it waits for the witness
		t.Fatalf("%+v", a)
	}
	witnessed := func(atLeast int) error {
		body, err := s.get("/metrics")
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`(?m)^charter_ledger_witnessed_size (\d+)$`).FindStringSubmatch(body)
		if m == nil {
			return fmt.Errorf("/metrics: %.300s", body)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n < atLeast {
			return fmt.Errorf("%d entries are cosigned: %w", n, err)
		}
		return nil
	}
	if err := witnessed(5); err != nil { // two starts of two entries, and the denial
		t.Error(err)
	}
	if checkpoint, err := s.get("/v1/ledger/checkpoint"); err != nil || !strings.HasPrefix(checkpoint, "example.org/ledger\n") {
		t.Errorf("%s: %v", checkpoint, err)
	}
	if entries, err := s.get("/v1/ledger/entries?kind=denial"); err != nil || !strings.Contains(entries, forbidden) {
		t.Errorf("%s: %v", entries, err)
	}
	other.kill()
	gone := s.must(t, forbidden)
	poll.Until(t, "/health is degraded", func() error {
		body, err := s.get("/health")
		if err == nil && !strings.Contains(body, "too_few_witnesses") {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	if a := s.must(t, allowed); !a.Allow {
		t.Errorf("%+v", a)
	}
	s.stop(t)
	r := read(t, data)
	if r.denials[gone.ID] != 1 || len(r.gaps) != 0 || r.kinds()[ledger.WindowClose] != 1 {
		t.Errorf("%v, gaps %+v", r.kinds(), r.gaps)
	}
}
