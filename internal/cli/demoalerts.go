package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/deploy"
)

// demoAlert is the alert that the demo makes fire.
const demoAlert = "CriticalViolationDetected"

// Counters that the demo looks at.
const (
	violationCounter = "charter_violations_total"
	attemptCounter   = "charter_forbidden_metric_attempts_total"
)

// counters are samples of the two counters that are about the node, by their series.
type counters map[string]float64

// sum adds the series of a counter.
func (c counters) sum(name string) (total float64) {
	for series, value := range c {
		if strings.HasPrefix(series, name+"{") {
			total += value
		}
	}
	return total
}

// scrape reads the counters from the server, as Prometheus does.
func (d *demoRun) scrape(ctx context.Context) (counters, error) {
	exposed, err := d.do(ctx, http.MethodGet, "/metrics", "", collectorToken)
	if err != nil {
		return nil, err
	}
	found := counters{}
	for line := range strings.Lines(exposed) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		about := strings.HasPrefix(line, violationCounter+"{") || strings.HasPrefix(line, attemptCounter+"{")
		if !about || !strings.Contains(series, `node="`+demoNode+`"`) {
			continue
		}
		if found[series+"}"], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, &unmet{"a sample", line}
		}
	}
	return found, nil
}

func (d *demoRun) counts(ctx context.Context, c *demoClaim) error {
	c.show(fmt.Sprintf(`curl -sS --cacert ca.pem -H "Authorization: Bearer $(cat %s)" %s/metrics | grep -E '^(%s|%s)'`,
		collectorToken, d.url, violationCounter, attemptCounter))
	now, err := d.scrape(ctx)
	if err != nil {
		return err
	}
	for name, want := range map[string]float64{violationCounter: 2, attemptCounter: 1} {
		was, is := d.story.quiet.sum(name), now.sum(name)
		if err := expect(was == 0 && is == want, fmt.Sprintf("%s of the node to go from 0 to %g", name, want), "from %g to %g: %v", was, is, now); err != nil {
			return err
		}
	}
	for _, series := range sortedKeys(now) {
		c.say("%s %g", series, now[series])
	}
	return nil
}

// watching is the configuration of Prometheus; %s is the address of the server.
const watching = `# Made by charter-admin demo; the rules are those that are shipped.
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: charter
    scheme: https
    tls_config: {ca_file: ../ca.pem}
    authorization: {credentials_file: ../` + collectorToken + `}
    static_configs: [{targets: ["%s"]}]
`

// watches starts Prometheus where it is installed.
func (d *demoRun) watches(ctx context.Context, c *demoClaim) error {
	if err := d.writeRules(); err != nil {
		return err
	}
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		c.Skipped = "prometheus is not installed"
		return nil
	}
	d.prometheus, err = startProcess(d.dir, "prometheus", prometheus, "--config.file=prometheus/prometheus.yml",
		"--storage.tsdb.path=prometheus/data", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		return err
	}
	listening := regexp.MustCompile(`msg="?Listening on"? address=(127\.0\.0\.1:[1-9][0-9]*)`)
	address, err := d.prometheus.until(ctx, "that Prometheus serves", func(context.Context) string {
		if m := listening.FindStringSubmatch(d.prometheus.output()); m != nil {
			return m[1]
		}
		return ""
	})
	if err != nil {
		return err
	}
	d.prometheusURL = "http://" + address
	if _, err := d.prometheus.until(ctx, "that Prometheus scrapes the server", d.scraped); err != nil {
		return err
	}
	state, err := d.prometheus.until(ctx, "that Prometheus evaluates "+demoAlert, d.ruleState)
	if err != nil {
		return err
	}
	c.show("curl -sS '" + d.prometheusURL + "/api/v1/query?query=up'")
	c.say("%s scrapes it each second; the alert %s is %s", d.prometheusURL, demoAlert, state)
	return expect(state == "inactive", demoAlert+" inactive while nothing has happened", "%s", state)
}

// scraped says when Prometheus has scraped the server, "" before.
func (d *demoRun) scraped(ctx context.Context) string {
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if d.promQuery(ctx, "/api/v1/query?query=up", &answer) != nil || len(answer.Data.Result) != 1 || answer.Data.Result[0].Value[1] != "1" {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[0])
}

// writeRules writes the rules that are shipped, and a configuration.
func (d *demoRun) writeRules() error {
	if err := os.MkdirAll(d.path("prometheus/rules"), 0o700); err != nil {
		return err
	}
	files, err := deploy.Rules.ReadDir(deploy.RulesDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := deploy.Rules.ReadFile(path.Join(deploy.RulesDir, f.Name()))
		if err != nil {
			return err
		}
		if err := d.write("prometheus/rules/"+f.Name(), data); err != nil {
			return err
		}
	}
	_, address, _ := strings.Cut(d.url, "://")
	return d.write("prometheus/prometheus.yml", fmt.Appendf(nil, watching, address))
}

// ruleState is the state of the alert, "" before the rule was evaluated.
func (d *demoRun) ruleState(ctx context.Context) string {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, State, Health string }
			}
		}
	}
	if d.promQuery(ctx, "/api/v1/rules?type=alert", &answer) != nil {
		return ""
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if r.Name == demoAlert && r.Health == "ok" {
				return r.State
			}
		}
	}
	return ""
}

// promQuery asks Prometheus, which gets ready and answers with faults until it is.
func (d *demoRun) promQuery(ctx context.Context, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.prometheusURL+path, nil)
	if err != nil {
		return err
	}
	resp, err := d.node.Do(req) // its certificate is for TLS alone
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it is only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, demoAnswer)).Decode(answer)
}

func (d *demoRun) fires(ctx context.Context, c *demoClaim) error {
	if d.prometheus != nil {
		return d.firesInPrometheus(ctx, c)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		c.Skipped = "neither prometheus nor promtool is installed, so nobody can evaluate the rule; the counters above are what it looks at"
		return nil
	}
	return d.firesInPromtool(ctx, c, promtool)
}

func (d *demoRun) firesInPrometheus(ctx context.Context, c *demoClaim) error {
	// The alert ends when the server starts again, so the command looks back.
	c.show(fmt.Sprintf("curl -sS -G %s/api/v1/query --data-urlencode 'query=last_over_time(ALERTS{alertname=%q,alertstate=\"firing\"}[1h])'", d.prometheusURL, demoAlert))
	summary, err := d.prometheus.until(ctx, "the alert "+demoAlert+" of "+demoNode+" firing in Prometheus", func(ctx context.Context) string {
		var answer struct {
			Data struct {
				Alerts []struct {
					Labels, Annotations map[string]string
					State               string
				}
			}
		}
		if d.promQuery(ctx, "/api/v1/alerts", &answer) != nil {
			return ""
		}
		for _, a := range answer.Data.Alerts {
			if a.Labels["alertname"] == demoAlert && a.Labels["node"] == demoNode && a.State == "firing" {
				return a.Annotations["summary"]
			}
		}
		return ""
	})
	if err == nil {
		c.say("%s went from inactive to firing: %s", demoAlert, summary)
	}
	return err
}
