package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/poll"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// The three inhibitions of the shipped configuration, and what they leave alone,
// by a real Alertmanager.
func TestInhibitions(t *testing.T) {
	t.Parallel()
	ca := newMesh(t)
	address := process.FreeAddress(t)
	// Of the receivers nobody is reached: what counts is who would be told.
	config := strings.ReplaceAll(shorten(file.Read(t, deployed(t, "alertmanager", "alertmanager.yml"))), "/etc/prometheus/secrets", ca.dir)
	for _, secret := range []string{"slack-url", "smtp-password", "pager-token", "charter-token"} {
		file.Write(t, filepath.Join(ca.dir, secret), "http://127.0.0.1:1/")
	}
	for _, outside := range []string{"https://pager.example.org", "http://127.0.0.1:8000"} {
		config = strings.ReplaceAll(config, outside, "http://127.0.0.1:1")
	}
	config = strings.ReplaceAll(config, "mail.example.org:587", "127.0.0.1:1")
	ca.run(t, judge.Path(t, "prometheus-alertmanager"), "--config.file", file.Write(t, filepath.Join(t.TempDir(), "alertmanager.yml"), config),
		"--storage.path", t.TempDir(), "--web.listen-address", address, "--cluster.listen-address=").Ready(t, func() error {
		_, err := fetch.Get(t.Context(), "http://"+address+"/-/ready")
		return err
	})
	s := &stack{alertmanager: "http://" + address}

	known := map[string]map[string]string{}
	for _, a := range alerts(t) {
		known[a.Alert] = a.Labels
	}
	for i, tc := range []struct {
		about          string
		source, target string
		sourceLabels   string
		targetLabels   string
		want           bool
	}{
		{"a stale policy", "PolicyStale", "ForbiddenMetricSpike", "", "", true},
		{"a policy that nobody loaded", "PolicyLoadFailure", "HighViolationRate", "", "", true},
		{"a stale policy elsewhere", "PolicyStale", "ForbiddenMetricSpike", "cluster=other", "", false},
		{"a stale policy and something critical", "PolicyStale", "CriticalViolationDetected", "", "", false},
		{"a stale policy and the server", "PolicyStale", "LedgerUnavailable", "", "", false},
		{"an override", "EmergencyOverrideActive", "CommitteeOverloaded", "", "", true},
		{"an override for long", "EmergencyOverrideStayingActive", "CommitteeOverloaded", "", "", true},
		{"an override and another alert", "EmergencyOverrideActive", "InvestigationOverdue", "", "", false},
		{"an override of another mesh", "EmergencyOverrideActive", "CommitteeOverloaded", "cluster=other", "", false},
		{"the same node", "CriticalViolationDetected", "ViolationDetected", "node=edge-1", "node=edge-1", true},
		{"another node", "CriticalViolationDetected", "ViolationDetected", "node=edge-1", "node=edge-2", false},
		{"nodes that cannot be told apart", "CriticalViolationDetected", "ViolationDetected", "node=other", "node=other", false},
		{"no node at all", "LedgerUnavailable", "PolicyDegraded", "", "", false},
		{"a node of another mesh", "CriticalViolationDetected", "ViolationDetected", "node=edge-1", "node=edge-1,cluster=other", false},
	} {
		t.Run(tc.about, func(t *testing.T) {
			mesh := fmt.Sprintf("mesh-%d", i)
			labels := func(name, more string) map[string]string {
				l := map[string]string{"alertname": name, "cluster": mesh}
				for k, v := range known[name] {
					l[k] = v
				}
				for _, pair := range strings.Split(more, ",") {
					if k, v, ok := strings.Cut(pair, "="); ok {
						l[k] = v + map[bool]string{true: "-" + mesh}[k == "cluster"]
					}
				}
				return l
			}
			type fired struct {
				Labels map[string]string `json:"labels"`
				EndsAt time.Time         `json:"endsAt"`
			}
			end := time.Now().Add(time.Minute)
			body, err := json.Marshal([]fired{{labels(tc.source, tc.sourceLabels), end}, {labels(tc.target, tc.targetLabels), end}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fetch.Text(t.Context(), http.DefaultClient, "POST", s.alertmanager+"/api/v2/alerts", string(body)); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, "Alertmanager knows both", func() error {
				text, err := fetch.Get(t.Context(), s.alertmanager+"/api/v2/alerts")
				if err != nil {
					return err
				}
				var list []pending
				if err := json.Unmarshal([]byte(text), &list); err != nil {
					return err
				}
				found := 0
				for _, a := range list {
					if !strings.HasSuffix(a.Labels["cluster"], mesh) || a.Status.State == "unprocessed" {
						continue
					}
					found++
					if a.Labels["alertname"] == tc.target && len(a.Status.InhibitedBy) > 0 != tc.want {
						return fmt.Errorf("suppressed by %v, want suppressed: %t", a.Status.InhibitedBy, tc.want)
					}
				}
				if found != 2 {
					return fmt.Errorf("%d of 2 alerts", found)
				}
				return nil
			})
		})
	}
}
