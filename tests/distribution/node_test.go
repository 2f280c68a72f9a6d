package distribution

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// interval is how often the nodes of these tests ask for something new. A node varies it by
// a tenth.
const interval = time.Second

// node is a charter-node that follows a reference.
type node struct{ url string }

func startNode(t *testing.T, w *world, ref string) *node {
	t.Helper()
	address := process.FreeAddress(t)
	process.Start(t, w.options(), "charter-node", "--bundle", ref, "--trust", "trust.yaml", "--listen", address, "--data", w.path("node"),
		"--poll", interval.String(), "--insecure-self-asserted")
	return &node{"http://" + address}
}

// question is one of a metric, at a node, for its operator.
func question(metric string) string {
	return fmt.Sprintf(`{"metric": %q, "node": "edge-1", "role": "node_operator", "operation": "collect"}`, metric)
}

// allows fails unless the node decides so.
func (n *node) allows(t *testing.T, metric string, want bool) error {
	answer, err := ask(t.Context(), http.MethodPost, n.url+"/v1/check", question(metric))
	if err != nil {
		return err
	}
	var decision struct {
		Allow    bool
		Revision string
	}
	if err := json.Unmarshal(answer, &decision); err != nil {
		return fmt.Errorf("%w: %s", err, answer)
	}
	if decision.Allow != want {
		return fmt.Errorf("%s: allow %t under %s, want %t", metric, decision.Allow, decision.Revision, want)
	}
	return nil
}

// A release that is pushed decides on the node within one poll, and its rollback does.
func TestReleaseReachesNode(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		ref := "oci://" + host + "/policy/charter:production"
		first := w.release(t, ref, 1, "node_load1")
		n := startNode(t, w, ref)
		poll.Until(t, "the node decides", func() error { return n.allows(t, "node_load1", true) })
		if err := n.allows(t, "node_load5", false); err != nil {
			t.Error(err)
		}

		second := w.release(t, ref, 3, "node_load5")
		w.admin(t, "sign", "--key", "release.key", "--rollback-of", second, "-o", "rollback.tar.gz", first)
		n.changes(t, "the release", "node_load5")
		if err := n.allows(t, "node_load1", false); err != nil {
			t.Error(err)
		}
		w.admin(t, "push", "rollback.tar.gz", ref)
		n.changes(t, "the rollback", "node_load1")

		// What is older, and what nobody signed, changes nothing; what is newer does.
		w.admin(t, "push", second, ref)
		n.refuses(t, "older_sequence", "node_load1")
		w.admin(t, "push", "--insecure-unsigned", w.build(t, 9, "node_load15"), ref)
		n.refuses(t, "unsigned", "node_load1")
		w.release(t, ref, 5, "node_load15")
		poll.Until(t, "the next release is in force", func() error { return n.allows(t, "node_load15", true) })
	})
}

// refuses waits until the node says that it refuses what it finds, and fails unless it
// goes on as before.
func (n *node) refuses(t *testing.T, code, metric string) {
	t.Helper()
	poll.Until(t, "the node refuses", func() error {
		health, err := ask(t.Context(), http.MethodGet, n.url+"/health", "")
		if err == nil && !strings.Contains(string(health), `"`+code+`"`) {
			err = fmt.Errorf("%s is not in %s", code, health)
		}
		return err
	})
	if err := n.allows(t, metric, true); err != nil {
		t.Error(err)
	}
}

// changes waits until the node allows the metric, within one poll.
func (n *node) changes(t *testing.T, what, metric string) {
	t.Helper()
	began := time.Now()
	poll.Until(t, what+" is in force", func() error { return n.allows(t, metric, true) })
	// Two seconds are for fetching, verifying and loading on a busy machine.
	if took := time.Since(began); took > interval+interval/10+2*time.Second {
		t.Errorf("%s came in force after %s, want within one poll of %s", what, took, interval)
	}
}

// Where no network goes, a file does: a node verifies it as it is, and the newer file
// that replaces it.
func TestReleaseThroughAirGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := "oci://" + inProcess(t) + "/policy/charter:production"
	w.release(t, ref, 1, "node_load1")
	w.admin(t, "save", ref, "-o", "release.tar")
	n := startNode(t, w, "release.tar")
	poll.Until(t, "the node decides", func() error { return n.allows(t, "node_load1", true) })

	w.release(t, ref, 3, "node_load5")
	w.admin(t, "save", ref, "-o", "release.tar")
	poll.Until(t, "the node decides anew", func() error { return n.allows(t, "node_load5", true) })
}
