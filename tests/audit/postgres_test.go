package audit

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

// A database that dies takes allowances with it, and nothing that was answered.
func TestDatabaseKilled(t *testing.T) {
	db := postgrestest.Start(t)
	data, url := t.TempDir(), db.URL("audit")
	s := start(t, data, "--ledger", url)
	first := s.must(t, forbidden)
	if a := s.must(t, allowed); !a.Allow {
		t.Fatalf("%+v", a)
	}
	db.Kill(t)
	unavailable(t, s)
	db.Run(t)
	poll.Until(t, "/health says so", func() error { return s.health(http.StatusOK) })
	if a := s.must(t, allowed); !a.Allow {
		t.Errorf("%+v", a)
	}
	last := s.must(t, forbidden)
	s.stop(t)
	r := readFrom(t, url, data)
	var missing uint64
	for _, m := range r.gaps {
		missing += *m.Count
	}
	if r.denials[first.ID] != 1 || r.denials[last.ID] != 1 || missing != 1 || r.counts[allowed] != 2 || len(r.open) != 0 || r.kinds()[ledger.Activation] != 1 {
		t.Errorf("%v, missing %d, counted %v", r.kinds(), missing, r.counts)
	}
	// The database alone can be an old one: its head is kept here, too.
	if head, err := os.ReadFile(filepath.Join(data, "ledger.head")); err != nil || !strings.Contains(string(head), "\n") {
		t.Errorf("%q: %v", head, err)
	}
}
