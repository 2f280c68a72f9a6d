package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/releases"
)

// health is what a program says about itself.
func health(url string) (string, error) {
	res, err := http.Get(url + "/health")
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// says waits until health says something, or nothing of it.
func (s *stage) says(what, url, text string, want bool) {
	s.Helper()
	poll.Until(s, what, func() error {
		body, err := health(url)
		if err == nil && strings.Contains(body, text) != want {
			err = errors.New(body)
		}
		return err
	})
}

// exported is what the server exports.
func (s *stage) exported() string {
	s.Helper()
	secret, err := os.ReadFile(s.path("admin.token"))
	if err != nil {
		s.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+string(secret))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(body)
}

// When the trust policy does not trust who signed any more, the server keeps the release
// from nodes that do not have it; who has it goes on, degraded. All of it is said, and
// ends when the signer is trusted again.
func TestTrustIsTakenBack(t *testing.T) {
	s := newStage(t, 2)
	s.mustAdmin("release", "publish", s.archive("1.tar", s.made(1, 1)), "--stage", "100%:0s")
	s.runs("the release is everywhere", 1, 1)

	releases.StrangeKey(t).TrustFile(t, s.dir, "")
	s.says("the server says so", s.url, `"code":"untrusted_release"`, true)
	running, fresh := s.nodes[0], s.nodes[1]
	s.says("a node says so", "http://"+running.address(), `"code":"untrusted_key"`, true)
	if !s.allows(running, 1) {
		t.Error("the node does not decide by what it had any more")
	}
	fresh.kill()
	if err := os.RemoveAll(fresh.data); err != nil {
		t.Fatal(err)
	}
	fresh.start(t)
	s.says("a new node gets nothing", "http://"+fresh.address(), "not_found", true)
	if out := s.exported(); !strings.Contains(out, "\ncharter_fleet_untrusted_releases 1\n") {
		t.Errorf("/metrics does not say so: %.300s", out)
	}

	s.running.Kill() // which changes nothing
	s.start()
	s.says("the server says so after a restart", s.url, `"code":"untrusted_release"`, true)

	releases.TrustedKey(t).TrustFile(t, s.dir, "")
	s.says("the server is well", s.url, "untrusted_release", false)
	fresh.kill() // which would wait for longer and longer until it asks again
	fresh.start(t)
	s.runs("the new node has it, too", 1, 1)
	out := s.mustAdmin("audit", "list", "--kind", "release", "--format", "ndjson")
	var actions []string
	for line := range strings.Lines(out) {
		var e struct{ Data struct{ Action, Code string } }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Data.Code != "" {
			actions = append(actions, e.Data.Action+" "+e.Data.Code)
		}
	}
	if got := fmt.Sprint(actions); got != "[distrust untrusted_key trust untrusted_key]" && got != "[trust untrusted_key distrust untrusted_key]" {
		t.Errorf("the ledger has %s\n%s", got, out)
	}
}
