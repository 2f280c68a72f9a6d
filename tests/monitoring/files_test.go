package monitoring

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
)

// deployed is the path of a file in deploy/.
func deployed(t testing.TB, name ...string) string {
	t.Helper()
	return filepath.Join(append([]string{judge.Root(t), "deploy"}, name...)...)
}

// alert is an alerting rule.
type alert struct {
	Alert       string
	Record      string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// ruleFile is a file of rules.
type ruleFile struct {
	path   string
	Groups []struct {
		Name  string
		Rules []alert
	}
}

func ruleFiles(t testing.TB) []ruleFile {
	t.Helper()
	paths, err := filepath.Glob(deployed(t, "prometheus", "rules", "*.yml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	var files []ruleFile
	for _, path := range paths {
		f := ruleFile{path: path}
		if err := yaml.Unmarshal([]byte(file.Read(t, path)), &f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		files = append(files, f)
	}
	return files
}

// rules are all of them.
func rules(t testing.TB) []alert {
	t.Helper()
	var all []alert
	for _, f := range ruleFiles(t) {
		for _, g := range f.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

// alerts are the rules that are alerts.
func alerts(t testing.TB) []alert {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(a alert) bool { return a.Alert == "" })
}

// ask runs a judge and returns what it says.
func ask(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), judge.Path(t, program), args...).CombinedOutput()
	return string(out), err
}

func TestPromtoolAcceptsConfiguration(t *testing.T) {
	if out, err := ask(t, "promtool", "check", "config", deployed(t, "prometheus", "prometheus.yml")); err != nil {
		t.Error(out)
	}
	for _, f := range ruleFiles(t) {
		if out, err := ask(t, "promtool", "check", "rules", "--lint-fatal", f.path); err != nil {
			t.Error(out)
		}
	}
}

func TestPromtoolTestsRules(t *testing.T) {
	files, err := filepath.Glob(deployed(t, "prometheus", "tests", "*_test.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if out, err := ask(t, "promtool", "test", "rules", file); err != nil {
				t.Error(out)
			}
		})
	}
}

// Every alert is shown to fire and shown not to, says what happened, and has a
// section in the runbook; and there is no section without an alert.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	type unit struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob(deployed(t, "prometheus", "tests", "*_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		var content struct{ Tests []unit }
		if err := yaml.Unmarshal([]byte(file.Read(t, name)), &content); err != nil {
			t.Fatal(err)
		}
		for _, u := range content.Tests {
			for _, a := range u.AlertRuleTest {
				fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
				quiet[a.Alertname] = quiet[a.Alertname] || len(a.ExpAlerts) == 0
			}
		}
	}
	runbook := file.Read(t, filepath.Join(judge.Root(t), "docs", "runbook.md"))
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		sections[m[1]] = true
	}
	const base = "https://github.com/westworld-charter/charter/blob/main/docs/runbook.md#"
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: a test must show that it fires (%t) and that it does not (%t)", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || a.Annotations["runbook_url"] != base+strings.ToLower(a.Alert) {
			t.Errorf("%s: needs summary, description and runbook_url: %v", a.Alert, a.Annotations)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) || !slices.Contains([]string{"security", "sre"}, a.Labels["team"]) ||
			!slices.Contains([]string{"charter", "policy", "override", "server"}, a.Labels["scope"]) {
			t.Errorf("%s: nobody would be told with %v", a.Alert, a.Labels)
		}
		if !sections[a.Alert] {
			t.Errorf("docs/runbook.md has no section for %s", a.Alert)
		}
		delete(sections, a.Alert)
	}
	for left := range sections {
		t.Errorf("docs/runbook.md has a section for %s, which is no alert", left)
	}
}

// The alerts that the community was promised.
func TestPromisedAlerts(t *testing.T) {
	have := map[string]bool{}
	for _, a := range alerts(t) {
		if have[a.Alert] {
			t.Errorf("two alerts are called %s", a.Alert)
		}
		have[a.Alert] = true
	}
	for _, name := range []string{
		"CriticalViolationDetected", "ForbiddenMetricSpike", "ValidationLatencySLAViolation", "PolicyLoadFailure", "EmergencyOverrideStayingActive",
		"CommitteeOverloaded", "CommitteeNotificationLatencySLA", "DataRevocationSLAViolation", "PolicyLoadFrequencyAnomaly",
		"HighViolationInvestigationRate", "UnusualDataRevocationActivity", "HighViolationRate",
	} {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestAmtoolAcceptsConfiguration(t *testing.T) {
	out, err := ask(t, "amtool", "check-config", deployed(t, "alertmanager", "alertmanager.yml"))
	if err != nil || !strings.Contains(out, "3 inhibit rules") || !strings.Contains(out, "5 receivers") {
		t.Error(out)
	}
}

// Every alert reaches the receiver of its severity and team; one of somebody else's
// rules reaches the default.
func TestRouting(t *testing.T) {
	receiver := func(a alert) string {
		switch {
		case a.Labels["severity"] == "critical":
			return "critical-security"
		case a.Labels["severity"] == "info":
			return "info-alerts"
		default:
			return a.Labels["team"] + "-warnings"
		}
	}
	all := alerts(t)
	for _, a := range append(all, alert{Alert: "Foreign", Labels: map[string]string{"severity": "page"}}) {
		want := receiver(a)
		if a.Alert == "Foreign" {
			want = "default"
		}
		args := []string{"config", "routes", "test", "--config.file", deployed(t, "alertmanager", "alertmanager.yml"), "--verify.receivers", want, "alertname=" + a.Alert, "cluster=production"}
		for k, v := range a.Labels {
			args = append(args, k+"="+v)
		}
		if out, err := ask(t, "amtool", args...); err != nil {
			t.Errorf("%s does not reach %s: %s", a.Alert, want, out)
		}
	}
}

// Whoever reads the shipped files must find no secret in them.
func TestSecretsAreInFiles(t *testing.T) {
	text := file.Read(t, deployed(t, "alertmanager", "alertmanager.yml"))
	for _, field := range []string{"slack_api_url:", "smtp_auth_password:", "credentials:", "routing_key:", "password:", "api_url:"} {
		if regexp.MustCompile(`(^|[\s{])` + field).MatchString(text) {
			t.Errorf("alertmanager.yml has %s; name a file instead", field)
		}
	}
}
