package monitoring

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/committee/committeetest"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// Tokens of the server.
const (
	scrapeToken = "token-of-prometheus-0123456789abcdef"
	alertToken  = "token-of-alertmanager-0123456789abcdef"
	peopleToken = "token-of-the-committee-0123456789abcdef"
)

const (
	lasting = "2099-01-01"
	expired = "2020-01-01"
)

// stack is a charter-server with everything that watches it.
type stack struct {
	dir     string
	ca      mesh
	inbox   inbox
	members []*committee.Key
	hooks   string // URL of Slack, pager, webhook and collector
	mails   string

	url                      string // of the server
	node                     string // address for a node
	prometheus, alertmanager string // URLs
	public                   *http.Client
}

// newStack starts all of it and waits until Prometheus has seen the server.
func newStack(t *testing.T) *stack {
	t.Helper()
	server, prometheus, alertmanager := process.FreeAddress(t), process.FreeAddress(t), process.FreeAddress(t)
	s := &stack{
		dir: t.TempDir(), ca: newMesh(t), url: "https://" + server, prometheus: "http://" + prometheus, alertmanager: "http://" + alertmanager,
		node: process.FreeAddress(t), members: committeetest.Keys(t, 3),
	}
	s.public = s.ca.Client(t)
	s.hooks, s.mails = s.inbox.hooks(t, s.ca).URL, s.inbox.mails(t, s.ca)
	s.secrets(t)
	s.charter(t, lasting)
	s.serve(t, server)
	alerting := s.ca.run(t, judge.Path(t, "prometheus-alertmanager"), "--config.file", s.place(t, "alertmanager", "alertmanager.yml"),
		"--storage.path", filepath.Join(s.dir, "am"), "--web.listen-address", alertmanager, "--cluster.listen-address=", "--log.level=debug")
	for _, f := range ruleFiles(t) {
		file.Write(t, s.path("prometheus", "rules", filepath.Base(f.path)), shorten(file.Read(t, f.path)))
	}
	config := s.place(t, "prometheus", "prometheus.yml")
	file.Write(t, config, strings.Replace(file.Read(t, config), "scrape_configs:\n", "scrape_configs:\n  - {job_name: charter-node, static_configs: [{targets: ['"+s.node+"']}]}\n", 1))
	scraping := s.ca.run(t, judge.Path(t, "prometheus"), "--config.file", config, "--storage.tsdb.path", filepath.Join(s.dir, "tsdb"),
		"--web.listen-address", prometheus, "--rules.alert.resend-delay=1s", "--enable-feature=exemplar-storage")
	alerting.Ready(t, func() error {
		_, err := fetch.Get(t.Context(), s.alertmanager+"/-/ready")
		return err
	})
	scraping.Ready(t, func() error { return s.has(t.Context(), `up{job="charter"} == 1`) })
	return s
}

func (s *stack) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// secrets writes what the programs read from files.
func (s *stack) secrets(t *testing.T) {
	t.Helper()
	file.Write(t, s.path("secrets", "slack-url"), s.hooks+slackPath)
	file.Write(t, s.path("secrets", "smtp-password"), mailPassword)
	file.Write(t, s.path("secrets", "pager-token"), pagerToken)
	file.Write(t, s.path("secrets", "charter-token"), alertToken)
	file.Write(t, s.path("secrets", "scrape-token"), scrapeToken)
	tokens := ""
	for _, token := range []struct{ name, secret, scopes string }{
		{"prometheus", scrapeToken, "metrics"}, {"alertmanager", alertToken, "alerts"}, {"people", peopleToken, "audit, committee"},
	} {
		tokens += fmt.Sprintf("- {name: %s, sha256: %x, scopes: [%s]}\n", token.name, sha256.Sum256([]byte(token.secret)), token.scopes)
	}
	file.Write(t, s.path("tokens.yaml"), tokens)
}

// place writes a shipped file with shorter durations and with the addresses and
// secrets of this stack. What is commented out for the case of TLS and tokens is not.
func (s *stack) place(t *testing.T, name ...string) string {
	t.Helper()
	text := shorten(file.Read(t, deployed(t, name...)))
	text = regexp.MustCompile(`(?m)^( *)# ((?:scheme|tls_config|authorization): )`).ReplaceAllString(text, "$1$2")
	text = strings.NewReplacer(
		"/etc/prometheus/charter-ca.pem", s.ca.file,
		"/etc/prometheus/charter-token", s.path("secrets", "scrape-token"),
		"/etc/prometheus/secrets", s.path("secrets"),
		"127.0.0.1:9093", strings.TrimPrefix(s.alertmanager, "http://"),
		"http://127.0.0.1:8000", s.url,
		"127.0.0.1:8000", strings.TrimPrefix(s.url, "https://"),
		"https://pager.example.org/v1/alerts", s.hooks+"/pager",
		"mail.example.org:587", s.mails,
	).Replace(text)
	return file.Write(t, s.path(name...), text)
}

// charter writes the charter of the mesh.
func (s *stack) charter(t *testing.T, expires string) {
	t.Helper()
	members := ""
	for i, key := range s.members {
		members += fmt.Sprintf("\n    - {id: member-%d, address: %q, power: 1}", i, key.Address().String())
	}
	path := s.path("charter.yaml")
	file.Write(t, path+".new", fmt.Sprintf(`apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: 1.0.0, expires: %s}
access_levels: [public]
purposes: [operations]
roles:
  - {name: node_operator, reads: ["*"], collects: ["*"]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, purposes: [operations], retention: 30d}
forbidden:
  - {id: privacy.location, match: ["*_location*"], severity: critical, violation: silent_collection, reason: Location can endanger people., protected: true}
  - {id: privacy.device, match: ["device_id*"], severity: high, violation: data_extraction, reason: It follows its owner., protected: true}
escalation:
  - {level: 1, at: 1, within: 30d, action: warn, notify: [committee]}
  - {level: 2, at: 2, within: 30d, action: suspend, for: 24h, notify: [committee]}
enforcement: {mode: enforce, grace: 1s}
committee:
  members:%s
  quorum: {power: 0.6, heads: 2}
emergency: {max: 2h, renew: 1h, quorum: 0.6, may: [retention, purposes]}
reports: {anonymous: true}
notify:
  - {name: committee, webhook: {url: "%s/committee", secret_file: %s, retries: 3}}
`, expires, members, s.hooks, s.path("secrets", "webhook")))
	file.Write(t, s.path("secrets", "webhook"), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serve starts the server, after it was started once to make the key that a witness,
// another server, is told of.
func (s *stack) serve(t *testing.T, address string) {
	t.Helper()
	path := program.Path(t, "charter-server")
	_, cert, key := s.ca.issue(t, "server", "")
	args := []string{
		"--charter", s.path("charter.yaml"), "--listen", address, "--data", s.path("data"), "--ledger-origin", "example.org/ledger", "--token-file", s.path("tokens.yaml"),
		"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", s.ca.file, "--watch", "200ms", "--log-level", "warn", "--otlp-endpoint", s.hooks,
		"--state-key", s.stateKey(t), "--state-key-password-file", s.path("secrets", "state-password"),
	}
	healthy := func() error { _, err := fetch.Text(t.Context(), s.public, "GET", s.url+"/health", ""); return err }
	first := s.ca.run(t, path, args...)
	first.Ready(t, healthy)
	if err := first.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	logs := file.Write(t, s.path("logs"), "log "+strings.TrimSpace(file.Read(t, s.path("data", "ledger.pub")))+"\nquorum none\n")
	witness := process.FreeAddress(t)
	s.ca.run(t, path, "--charter", s.path("charter.yaml"), "--listen", witness, "--data", s.path("witness"), "--insecure-self-asserted", "--log-level", "warn",
		"--witness-logs", logs, "--witness-name", "witness.example.org/1").Ready(t, func() error {
		_, err := fetch.Get(t.Context(), "http://"+witness+"/health")
		return err
	})
	policy := file.Write(t, s.path("policy"), fmt.Sprintf("witness w %s http://%s/v1/witness\nquorum w\n", strings.TrimSpace(file.Read(t, s.path("witness", "witness.pub"))), witness))
	s.ca.run(t, path, append(args, "--witness-policy", policy)...).Ready(t, healthy)
}

// answer is what a node is told.
type answer struct {
	Allow   bool
	Outcome string
	Clause  string
}

// collect has a node ask, with its certificate, whether it may collect a metric.
func (s *stack) collect(t *testing.T, node, metric string) answer {
	t.Helper()
	pair, _, _ := s.ca.issue(t, "node-"+node, node)
	body := fmt.Sprintf(`{"metric":%q,"node":%q,"role":"node_operator","operation":"collect"}`, metric, node)
	text, err := fetch.Text(t.Context(), s.ca.Client(t, pair), "POST", s.url+"/v1/check", body)
	var a answer
	if err == nil {
		err = json.Unmarshal([]byte(text), &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// people sends a request of the committee and auditors.
func (s *stack) people(t *testing.T, method, path, body string) string {
	t.Helper()
	text, err := fetch.Text(t.Context(), s.public, method, s.url+path, body, fetch.Bearer(peopleToken)...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sample is one series of an answer of Prometheus.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query asks Prometheus.
func (s *stack) query(ctx context.Context, expr string) ([]sample, error) {
	text, err := fetch.Get(ctx, s.prometheus+"/api/v1/query?query="+url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	var list []sample
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, err
	}
	if answer.Data.ResultType == "scalar" {
		return []sample{{}}, nil
	}
	return list, json.Unmarshal(answer.Data.Result, &list)
}

// has fails while an expression returns nothing, or no number.
func (s *stack) has(ctx context.Context, expr string) error {
	list, err := s.query(ctx, expr)
	if err != nil {
		return err
	}
	for _, found := range list {
		if found.Value[1] != "NaN" {
			return nil
		}
	}
	return fmt.Errorf("%s returns %v", expr, list)
}

// pending is an alert as Alertmanager has it.
type pending struct {
	Labels map[string]string
	Status struct {
		State       string
		InhibitedBy []string
	}
}

// suppressed returns nil when Alertmanager has an alert and tells nobody, or somebody,
// of it.
func (s *stack) suppressed(ctx context.Context, alertname string, want bool) error {
	text, err := fetch.Get(ctx, s.alertmanager+"/api/v2/alerts?filter="+url.QueryEscape(`alertname="`+alertname+`"`))
	if err != nil {
		return err
	}
	var list []pending
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return err
	}
	if len(list) != 1 || len(list[0].Status.InhibitedBy) > 0 != want {
		return fmt.Errorf("%s: want one that is suppressed (%t): %+v", alertname, want, list)
	}
	return nil
}
