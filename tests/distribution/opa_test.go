package distribution

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// stockOPA is an unmodified opa that follows an image of a registry.
type stockOPA struct {
	url string
	log *process.Process
}

// startOPA starts one; with a key it wants a JWT inside that this key signed.
func startOPA(t *testing.T, w *world, image, key string) *stockOPA {
	t.Helper()
	host, _, _ := strings.Cut(image, "/")
	type object = map[string]any
	source := object{"service": "registry", "resource": image, "polling": object{"min_delay_seconds": 1, "max_delay_seconds": 1}}
	config := object{
		"services":              object{"registry": object{"url": "http://" + host, "type": "oci"}},
		"bundles":               object{"charter": source},
		"persistence_directory": t.TempDir(),
	}
	if key != "" {
		config["keys"] = object{"charter": object{"algorithm": "ES256", "key": key}}
		source["signing"] = object{"keyid": "charter"}
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	address := process.FreeAddress(t)
	file := "opa-" + address + ".json"
	w.write(t, file, string(text))
	log := process.Start(t, w.options(), judge.Path(t, "opa"), "run", "--server", "--log-level", "error", "--addr", address, "--config-file", file)
	return &stockOPA{"http://" + address, log}
}

func (o *stockOPA) allows(t *testing.T, metric string, want bool) error {
	answer, err := ask(t.Context(), http.MethodPost, o.url+"/v1/data/charter/decision",
		`{"input": `+strings.TrimSuffix(question(metric), "}")+`, "time": "2026-06-01T00:00:00Z"}}`)
	if err != nil {
		return err
	}
	var decision struct{ Result *struct{ Allow bool } }
	switch err := json.Unmarshal(answer, &decision); {
	case err != nil:
		return fmt.Errorf("%w: %s", err, answer)
	case decision.Result == nil:
		return fmt.Errorf("there is no policy: %s", answer)
	case decision.Result.Allow != want:
		return fmt.Errorf("%s: %s, want allow %t", metric, answer, want)
	}
	return nil
}

// Stock OPA pulls our releases from a registry, and verifies the JWT of the archives
// that are made for it.
func TestStockOPA(t *testing.T) {
	t.Parallel()
	judge.Path(t, "opa")
	eachRegistry(t, func(t *testing.T, host string) {
		w := newWorld(t)
		image := host + "/policy/charter:production"
		file := w.release(t, "oci://"+image, 1, "node_load1")
		w.admin(t, "sign", "--key", "release.key", "--opa-jwt", "-o", "opa.tar.gz", file)
		w.admin(t, "push", "opa.tar.gz", "oci://"+image+"-opa")

		plain := startOPA(t, w, image, "")
		verifying := startOPA(t, w, image+"-opa", w.read(t, "release.pub"))
		for name, opa := range map[string]*stockOPA{"without a signature": plain, "with a JWT": verifying} {
			poll.Until(t, "stock opa decides "+name, func() error { return opa.allows(t, "node_load1", true) })
			if err := opa.allows(t, "node_load5", false); err != nil {
				t.Error(err)
			}
		}
		// Another release changes the decision; the key of somebody else does not.
		next := w.release(t, "oci://"+image, 3, "node_load5")
		w.admin(t, "key", "generate", "-o", "stranger")
		w.admin(t, "sign", "--key", "stranger.key", "--opa-jwt", "-o", "forged.tar.gz", next)
		w.admin(t, "push", "forged.tar.gz", "oci://"+image+"-opa")
		poll.Until(t, "stock opa decides anew", func() error { return plain.allows(t, "node_load5", true) })
		poll.Until(t, "stock opa refuses the foreign signature", func() error {
			if !strings.Contains(verifying.log.Log(), "verify JWT signature") {
				return fmt.Errorf("%s", verifying.log)
			}
			return nil
		})
		if err := verifying.allows(t, "node_load5", false); err != nil {
			t.Error(err)
		}
	})
}
