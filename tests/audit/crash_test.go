package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Denials that an outage of the ledger has left unrecorded are not forgotten when
// the process dies before the outage is over: the next start says in the ledger
// that some are missing, when, and how many at least.
func TestKilledDuringAnOutage(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T) (data string, begin, end func() error){
		"ledger taken away": takenAway, "disk full": diskFull,
	} {
		t.Run(name, func(t *testing.T) {
			data, begin, end := fault(t)
			s := start(t, data)
			if a := s.must(t, allowed); !a.Allow {
				t.Fatalf("%+v", a)
			}
			recorded := s.must(t, forbidden)
			before := time.Now()
			if err := begin(); err != nil {
				t.Fatal(err)
			}
			unavailable(t, s) // one denial
			lost := []string{}
			for range 20 {
				lost = append(lost, s.must(t, forbidden).ID)
			}
			s.kill()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second start has nothing more to say about it
				start(t, data).stop(t)
			}
			r := read(t, data)
			var of []ledger.Missing
			for _, m := range r.gaps {
				if m.Reason == ledger.ReasonUnavailable {
					of = append(of, m)
				}
			}
			if len(of) != 1 || of[0].Count != nil || of[0].AtLeast == 0 || of[0].AtLeast > 21 || len(r.gaps) != 2 || len(r.open) != 0 {
				t.Fatalf("gaps %+v, open %v", r.gaps, r.open)
			}
			if name == "ledger taken away" && of[0].AtLeast < 11 { // more than half of them
				t.Errorf("%+v", of[0])
			}
			from, err := time.Parse(time.RFC3339Nano, of[0].From)
			to, err2 := time.Parse(time.RFC3339Nano, of[0].To)
			if err := errors.Join(err, err2); err != nil || from.Before(before) || !to.After(from) || to.After(time.Now()) {
				t.Errorf("from %s to %s: %v", of[0].From, of[0].To, err)
			}
			if r.denials[recorded.ID] != 1 {
				t.Error("the denial before the outage is lost")
			}
			for _, id := range lost {
				if r.denials[id] != 0 {
					t.Errorf("denial %s was recorded, the outage was none", id)
				}
			}
		})
	}
}

func takenAway(t *testing.T) (data string, begin, end func() error) {
	data = t.TempDir()
	dir := filepath.Join(data, "ledger")
	return data, func() error { return os.Rename(dir, dir+".away") }, func() error { return os.Rename(dir+".away", dir) }
}

// diskFull is a full disk for all that the server has.
func diskFull(t *testing.T) (data string, begin, end func() error) {
	dir := mounted(t, "4m")
	ballast := filepath.Join(dir, "ballast")
	return filepath.Join(dir, "data"), func() error {
		if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err == nil {
			return errors.New("the disk is not full")
		}
		return nil
	}, func() error { return os.Remove(ballast) }
}
