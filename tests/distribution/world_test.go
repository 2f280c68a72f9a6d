package distribution

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/standin"
)

func TestMain(m *testing.M) { standin.Main(m) }

const password = "correct-horse"

// world is a directory in which somebody works.
type world struct {
	dir string
	env []string // beside that of the test
}

// newWorld has the key release.key, and its public half in trust.yaml for the channel
// production.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{dir: dir, env: []string{"CHARTER_KEY_PASSWORD=" + password, "COSIGN_PASSWORD=" + password, "HOME=" + dir}}
	w.admin(t, "key", "generate", "-o", "release")
	w.trust(t, "release.pub")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	file.Write(t, w.path(name), text)
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	return file.Read(t, w.path(name))
}

// trust writes trust.yaml, which trusts the keys alone.
func (w *world) trust(t *testing.T, keys ...string) {
	t.Helper()
	text := "apiVersion: charter/v1\nkind: Trust\nchannel: production\nsigners:\n"
	for _, key := range keys {
		text += fmt.Sprintf("  - {name: %s, key: %s}\n", strings.TrimSuffix(key, ".pub"), key)
	}
	w.write(t, "trust.yaml", text)
}

// options run a program in the directory of the world.
func (w *world) options() process.Options { return process.Options{Dir: w.dir, Env: w.env} }

func (w *world) admin(t *testing.T, args ...string) string {
	t.Helper()
	return process.Output(t, w.options(), "charter-admin", args...)
}

const charterText = `apiVersion: charter/v1
kind: Charter
metadata: {name: small, version: %d.0.0}
access_levels: [public]
roles:
  - {name: node_operator, reads: [public], collects: [base]}
metrics:
  base:
    - {id: node.load, match: [%s], access: public}
`

// build makes VERSION.tar.gz of a charter that allows the metrics and no others.
func (w *world) build(t *testing.T, version int, metrics ...string) string {
	t.Helper()
	w.write(t, "charter.yaml", fmt.Sprintf(charterText, version, strings.Join(metrics, ", ")))
	file := fmt.Sprintf("%d.tar.gz", version)
	w.admin(t, "bundle", "build", "charter.yaml", "-o", file)
	return file
}

// release builds, signs and pushes a release to production.
func (w *world) release(t *testing.T, to string, sequence int, metrics ...string) string {
	t.Helper()
	file := w.build(t, sequence, metrics...)
	w.admin(t, "sign", "--key", "release.key", "--channel", "production", "--sequence", fmt.Sprint(sequence), "--expires", "90d", file)
	w.admin(t, "push", file, to)
	return file
}

// field returns a member of a JSON document.
func field(t *testing.T, document, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(document), &members); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	text, _ := members[name].(string)
	if text == "" {
		t.Fatalf("no %s in %s", name, document)
	}
	return text
}

// eachRegistry runs a test against a registry inside the test and against the one of
// Debian, which has no referrers API.
func eachRegistry(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("in process", func(t *testing.T) { test(t, inProcess(t)) })
	t.Run("docker-registry", func(t *testing.T) { test(t, dockerRegistry(t)) })
}

func inProcess(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func dockerRegistry(t *testing.T) string {
	t.Helper()
	program := judge.Path(t, "docker-registry")
	dir, host := t.TempDir(), process.FreeAddress(t)
	config := file.Write(t, filepath.Join(dir, "config.yml"),
		fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host))
	process.Start(t, process.Options{Dir: dir}, program, "serve", config).Ready(t, func() error {
		_, err := fetch.Get(t.Context(), "http://"+host+"/v2/")
		return err
	})
	return host
}

// ask returns the body of a good answer, whatever kind of manifest it is.
func ask(ctx context.Context, method, url, body string) ([]byte, error) {
	text, err := fetch.Text(ctx, http.DefaultClient, method, url, body, "Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*")
	return []byte(text), err
}
