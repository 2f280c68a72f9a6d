package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/releases"
)

// A server knows what a node runs and what it refused; a node whose server is gone goes
// on.
func TestNodeReports(t *testing.T) {
	dir, scene := t.TempDir(), releases.NewScene(t)
	scene.Key.TrustFile(t, dir, "")
	hashed := func(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }
	file.Write(t, filepath.Join(dir, "tokens.yaml"), "- {name: edge-1, sha256: "+hashed("token-of-edge-1")+", scopes: [report], node: edge-1}\n"+
		"- {name: ana, sha256: "+hashed("token-of-ana")+", scopes: [admin, audit, metrics]}\n")
	file.Write(t, filepath.Join(dir, "token"), "token-of-edge-1\n")
	server, node := process.FreeAddress(t), process.FreeAddress(t)
	serve := func() *process.Process {
		return process.Start(t, process.Options{Dir: dir}, "charter-server", "--charter", filepath.Join(judge.Root(t), "policies", "development", "charter.yaml"), "--data", "server",
			"--listen", server, "--token-file", "tokens.yaml")
	}
	running := serve()
	process.Start(t, process.Options{Dir: dir}, "charter-node", "--bundle", scene.Ref.String(), "--trust", "trust.yaml", "--data", "data", "--listen", node, "--poll", "100ms", "--node", "edge-1",
		"--label", "site=mill", "--label", "ring=2", "--server", "http://"+server, "--server-token-file", "token", "--report-interval", "1s", "--insecure-self-asserted")

	known := func(wants ...string) error {
		body, err := fetch.Get(context.Background(), "http://"+server+"/v1/fleet", fetch.Bearer("token-of-ana")...)
		for _, want := range wants {
			if err == nil && !strings.Contains(body, want) {
				err = fmt.Errorf("the server does not know %s: %s", want, body)
			}
		}
		return err
	}
	health := func(want string) error {
		body, err := fetch.Get(context.Background(), "http://"+node+"/health")
		if err == nil && strings.Contains(body, "report_failed") != (want == "report_failed") {
			err = fmt.Errorf("health: %s", body)
		}
		return err
	}
	poll.Until(t, "the server knows the release", func() error {
		return known(`"edge-1"`, scene.Old.Digest(), `"production"`, `"site":"mill"`, `"ring":"2"`)
	})
	body, err := json.Marshal(map[string]string{"metric": "latency_p50", "node": "edge-1", "role": "nobody", "operation": "collect"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch.Text(t.Context(), http.DefaultClient, http.MethodPost, "http://"+node+"/v1/check", string(body)); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "the server knows how many questions there were", func() error { return known(`"total":1`, `"denied":1`) })
	scene.PublishActive(t)
	poll.Until(t, "the server knows the next release", func() error { return known(scene.Active.Digest()) })
	scene.Registry.Publish(t, releases.Channel, releases.Release{Version: 3, Sequence: 5, Key: scene.Stranger}.Make(t))
	poll.Until(t, "the server knows what was refused", func() error { return known("untrusted_key") })

	// A refusal matters more in /health than a server that is away.
	scene.PublishActive(t)
	poll.Until(t, "the server knows that it is over", func() error {
		if known("untrusted_key") == nil {
			return errors.New("it still says untrusted_key")
		}
		return known(scene.Active.Digest())
	})
	running.Kill()
	poll.Until(t, "the node says that nobody takes its reports", func() error { return health("report_failed") })
	if err := decides("http://"+node+"/v1/check", "", "", 2); err != nil {
		t.Errorf("the node without its server: %v", err)
	}
	serve()
	poll.Until(t, "the node reports again", func() error { return health("") })
}
