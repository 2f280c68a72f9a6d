package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/poll"
)

const (
	forbidden = "home_location"
	allowed   = "latency_p50"
)

// What was answered is in the ledger, whenever the process dies.
func TestKilledServerHasRecordedWhatItAnswered(t *testing.T) {
	data := t.TempDir()
	var mu sync.Mutex
	var answered []string
	for round := range 3 {
		s := start(t, data)
		if a := s.must(t, allowed); !a.Allow {
			t.Fatalf("%+v", a)
		}
		var asking sync.WaitGroup
		for range 8 {
			asking.Go(func() {
				for {
					a, err := s.ask(t.Context(), forbidden)
					if err != nil {
						return // killed
					}
					mu.Lock()
					answered = append(answered, a.ID)
					mu.Unlock()
				}
			})
		}
		poll.Until(t, "there are answers", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(answered) < 100*(round+1) {
				return fmt.Errorf("%d", len(answered))
			}
			return nil
		})
		s.kill()
		asking.Wait()
	}
	r := read(t, data)
	for _, id := range answered {
		if r.denials[id] != 1 {
			t.Errorf("denial %s was answered and is in the ledger %d times", id, r.denials[id])
		}
	}
	// The two windows of the first rounds were found open, the last one is.
	crashes := slices.IndexFunc(r.gaps, func(m ledger.Missing) bool { return m.Reason != ledger.ReasonCrash || m.Window == "" || m.Count != nil })
	if len(r.gaps) != 2 || crashes >= 0 || len(r.open) != 1 {
		t.Errorf("gaps %+v, open %v", r.gaps, r.open)
	}
	if n := r.kinds(); n[ledger.Load] != 3 || n[ledger.Activation] != 3 {
		t.Errorf("%v", n)
	}
}

// Counts of allowances and denials are those of the answers that were given, with a
// thousand questions a second; what labels say is nowhere.
func TestRecordIsExact(t *testing.T) {
	data := t.TempDir()
	s := start(t, data)
	const seconds, rate = 3, 1000
	var mu sync.Mutex
	denials := map[string]int{}
	var allowances uint64
	var asking sync.WaitGroup
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range seconds * 100 {
		<-tick.C
		for j := range rate / 100 {
			asking.Go(func() {
				metric := allowed
				if (i+j)%5 == 0 {
					metric = forbidden
				}
				a, err := s.ask(t.Context(), metric, "X-Request-Id", fmt.Sprintf("same-%d", i))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%+v: %v", a, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if a.Allow {
					allowances++
				} else {
					denials[a.ID]++
				}
			})
		}
	}
	asking.Wait()
	batch := `{"common":{"node":"edge-1","role":"node_operator","operation":"collect","claims":["mtls"],"labels":{"zone":"secret-zone"}},"items":[{"metric":"` + allowed + `"},{"metric":"` + forbidden + `"}]}`
	if a, err := s.post(t.Context(), "/v1/check/batch", batch); err != nil || a.status != http.StatusOK {
		t.Errorf("%+v: %v", a, err)
	}
	allowances++
	// A list is no decision.
	if a, err := s.post(t.Context(), "/v1/list", `{"role":"node_operator","node":"edge-1","operation":"collect","claims":["mtls"],"metrics":["`+allowed+`","`+forbidden+`"]}`); err != nil || a.status != http.StatusOK {
		t.Errorf("%+v: %v", a, err)
	}
	s.stop(t)
	r := read(t, data)
	for id := range denials {
		if r.denials[id] != 1 {
			t.Errorf("denial %s is in the ledger %d times", id, r.denials[id])
		}
	}
	if len(r.denials) != len(denials)+1 {
		t.Errorf("%d denials are in the ledger, %d were given", len(r.denials), len(denials)+1)
	}
	if r.counts[allowed] != allowances || len(r.counts) != 1 || len(r.open) != 0 || len(r.gaps) != 0 {
		t.Errorf("counted %v, given %d; open %v, gaps %+v", r.counts, allowances, r.open, r.gaps)
	}
	noSecrets(t, data)
}

// noSecrets looks for label values in all files.
func noSecrets(t *testing.T, data string) {
	t.Helper()
	looked, named := 0, false
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("secret-")) {
			t.Errorf("%s holds a label value", path)
		}
		looked++
		named = named || bytes.Contains(text, []byte(`"labels":["device","zone"]`))
		return err
	})
	if err != nil || looked < 4 || !named {
		t.Errorf("looked at %d files, label names found: %v: %v", looked, named, err)
	}
}

// unavailable finds out that denials are denials, and that nothing is allowed.
func unavailable(t *testing.T, s *server) {
	t.Helper()
	poll.Until(t, "/health says so", func() error { return s.health(http.StatusServiceUnavailable) })
	if a := s.must(t, forbidden); a.status != http.StatusOK || a.Allow || a.ID == "" {
		t.Errorf("a denial: %+v", a)
	}
	if a := s.must(t, allowed); a.status != http.StatusServiceUnavailable || a.Code != "audit_unavailable" || a.retry == "" || a.Allow {
		t.Errorf("an allowance: %+v", a)
	}
	question := `{"metric":"` + allowed + `","node":"edge-1","role":"node_operator","operation":"collect","claims":["mtls"]}`
	for path, body := range map[string]string{
		"/":                               question,
		"/v1/check/batch":                 `{"items":[` + question + `]}`,
		"/v1/data/charter/decision":       `{"input":` + question + `}`,
		"/v1/batch/data/charter/decision": `{"inputs":{"a":` + question + `}}`,
		"/access/v1/evaluation":           `{"subject":{"type":"role","id":"node_operator","properties":{"node":"edge-1","claims":["mtls"]}},"action":{"name":"collect"},"resource":{"type":"metric","id":"` + allowed + `"}}`,
		"/access/v1/evaluations":          `{"subject":{"type":"role","id":"node_operator","properties":{"node":"edge-1","claims":["mtls"]}},"action":{"name":"collect"},"evaluations":[{"resource":{"type":"metric","id":"` + allowed + `"}}]}`,
	} {
		a, err := s.post(t.Context(), path, body)
		if err != nil || a.status != http.StatusServiceUnavailable || a.Code != "audit_unavailable" || a.retry == "" {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
	}
	if a, err := s.post(t.Context(), "/v1/check/batch", question+"\n", "Content-Type", "application/x-ndjson"); err != nil || a.Allow || a.ID != "" {
		t.Errorf("a line of a stream: %+v, %v", a, err)
	}
}

// recovered finds out that all is well again, and that the ledger counts what it
// misses.
func recovered(t *testing.T, s *server, lost uint64) {
	t.Helper()
	poll.Until(t, "/health says so", func() error { return s.health(http.StatusOK) })
	if a := s.must(t, allowed); a.status != http.StatusOK || !a.Allow {
		t.Errorf("an allowance: %+v", a)
	}
	s.stop(t)
	r := read(t, s.data)
	var missing uint64
	for _, m := range r.gaps {
		if m.Reason != ledger.ReasonUnavailable || m.Count == nil {
			t.Errorf("gap %+v", m)
			continue
		}
		missing += *m.Count
	}
	if missing != lost || len(r.open) != 0 {
		t.Errorf("%d are said to be missing, %d are; open %v", missing, lost, r.open)
	}
}

// A ledger that is taken away must not be written to unseen, and must not be begun
// anew.
func TestLedgerTakenAway(t *testing.T) {
	s := start(t, t.TempDir())
	if a := s.must(t, allowed); !a.Allow {
		t.Fatalf("%+v", a)
	}
	dir := filepath.Join(s.data, "ledger")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	unavailable(t, s)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("something is in the way of putting the ledger back: %v", err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	recovered(t, s, 1)
}

// An older copy in place of the ledger is not gone on with.
func TestLedgerReplacedByAnOlderCopy(t *testing.T) {
	data := t.TempDir()
	start(t, data).stop(t)
	dir := filepath.Join(data, "ledger")
	if out, err := exec.Command("cp", "-r", dir, dir+".old").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := start(t, data)
	s.must(t, forbidden)
	if err := errors.Join(os.Rename(dir, dir+".away"), os.Rename(dir+".old", dir)); err != nil {
		t.Fatal(err)
	}
	unavailable(t, s)
	if err := errors.Join(os.Rename(dir, dir+".bad"), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	recovered(t, s, 1)
}

// mounted is a directory with a file system of its own.
func mounted(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := mounted(t, "4m")
	s := start(t, filepath.Join(dir, "data"))
	if a := s.must(t, allowed); !a.Allow {
		t.Fatalf("%+v", a)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	unavailable(t, s)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	recovered(t, s, 1)
}

// A directory that nothing can be written into is found out though the files that
// are open could be.
func TestReadOnlyDirectory(t *testing.T) {
	s := start(t, t.TempDir())
	dir := filepath.Join(s.data, "ledger")
	freeze, thaw := exec.Command("chmod", "0500", dir), exec.Command("chmod", "0700", dir)
	if os.Geteuid() == 0 { // who may write in spite of permissions
		freeze, thaw = exec.Command("chattr", "+i", dir), exec.Command("chattr", "-i", dir)
	}
	if out, err := freeze.CombinedOutput(); err != nil {
		t.Skipf("cannot make a directory read-only: %s", out)
	}
	t.Cleanup(func() {
		if thaw.Process == nil {
			_ = thaw.Run() // the test failed before
		}
	})
	unavailable(t, s)
	if err := thaw.Run(); err != nil {
		t.Fatal(err)
	}
	recovered(t, s, 1)
}

// A server that cannot record does not begin to answer, and says what to do.
func TestRefusesToStart(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lost := t.TempDir()
	start(t, lost).stop(t)
	if err := os.RemoveAll(filepath.Join(lost, "ledger")); err != nil {
		t.Fatal(err)
	}
	keyless := t.TempDir()
	start(t, keyless).stop(t)
	if err := os.Remove(filepath.Join(keyless, "keys", "ledger.key")); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	start(t, other).stop(t)
	taken := t.TempDir()
	start(t, taken)
	for name, c := range map[string]struct {
		args []string
		data string
		want string
	}{
		"no directory":     {nil, filepath.Join(blocked, "data"), "--insecure-no-ledger"},
		"lost ledger":      {nil, lost, "Put the ledger back"},
		"lost key":         {nil, keyless, "Put the key back"},
		"other name":       {[]string{"--ledger-origin", "example.org/other"}, other, "A log keeps its name"},
		"two servers":      {nil, taken, "another process writes this ledger"},
		"no such policy":   {[]string{"--witness-policy", "missing"}, t.TempDir(), "missing"},
		"no such database": {[]string{"--ledger", "mysql://x"}, t.TempDir(), "postgres://"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, c.data, c.args...)
			err := s.Wait()
			if err == nil || !strings.Contains(s.Log(), c.want) {
				t.Errorf("%v: %s", err, s.Log())
			}
		})
	}
}

func TestWithoutLedger(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data, "--insecure-no-ledger")
	if a := s.must(t, allowed); !a.Allow {
		t.Errorf("%+v", a)
	}
	s.stop(t)
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) || !strings.Contains(s.Log(), "INSECURE: decisions are not recorded") {
		t.Errorf("%v: %s", err, s.Log())
	}
}
