package cli

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// firing is a test for promtool. The series is there after 5 minutes, with the value
// that was scraped, as it is when Prometheus watches: the alert fires then, and neither
// before nor when the incident is over for a while.
const firing = `# Made by charter-admin demo from what the server says: promtool test rules FILE
rule_files: [rules/*.yml]
evaluation_interval: 15s
group_eval_order: [charter-recording]
tests:
  - interval: 1m
    input_series:
%s    promql_expr_test:
      - {eval_time: 4m, expr: 'count(%[2]s)', exp_samples: []}
      - {eval_time: 6m, expr: 'count(%[2]s)', exp_samples: [{labels: '{}', value: 1}]}
      - {eval_time: 15m, expr: 'count(%[2]s)', exp_samples: []}
`

// firesInPromtool evaluates the rule over the samples, where there is no Prometheus.
func (d *demoRun) firesInPromtool(ctx context.Context, c *demoClaim, promtool string) error {
	now, err := d.scrape(ctx)
	if err != nil {
		return err
	}
	var series strings.Builder
	for _, name := range sortedKeys(now) {
		if labels, ok := strings.CutPrefix(name, violationCounter+"{"); ok {
			fmt.Fprintf(&series, "      - {series: '%s{job=\"charter\", %s', values: '_x5 %gx20'}\n", violationCounter, labels, now[name])
		}
	}
	alert := fmt.Sprintf("ALERTS{alertname=%q, alertstate=\"firing\", node=%q}", demoAlert, demoNode)
	if err := d.write("prometheus/test.yml", fmt.Appendf(nil, firing, series.String(), alert)); err != nil {
		return err
	}
	c.show("promtool test rules prometheus/test.yml")
	cmd := exec.CommandContext(ctx, promtool, "test", "rules", "prometheus/test.yml")
	cmd.Dir = d.dir
	said, err := cmd.CombinedOutput()
	if err == nil {
		c.say("%s fires over the samples above, in promtool (prometheus is not installed), and ends after 5 minutes", demoAlert)
	}
	return expect(err == nil, "that "+demoAlert+" fires over the samples", "%v: %s", err, said)
}
