package charterapi

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	// alertPrincipal is that of entries about alerts. Alertmanagers of one cluster tell
	// of the same alerts, and one entry is enough.
	alertPrincipal = "charter:alerts"
	// maxGroup bounds the alerts of one message; max_alerts of the webhook keeps below.
	maxGroup = 1000
	// maxAlertName and maxFingerprint bound what of an alert is recorded, in bytes.
	maxAlertName   = 200
	maxFingerprint = 64
	// maxRecent bounds the alerts that are remembered so as not to ask the ledger.
	maxRecent = 10_000
)

func (a *api) alertRoute() wire.Route {
	return a.post(alertsPath, a.alert, maxAlerts, wire.ScopeAlerts)
}

// webhook is what Alertmanager sends, in its version 4. Members that are not read
// here are passed over: later versions have more of them.
type webhook struct {
	Version string        `json:"version"`
	Alerts  []alertOfHook `json:"alerts"`
}

type alertOfHook struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// alert records what is new of a message. Alertmanager repeats itself: an alert of
// one status that began at one time is recorded once.
func (a *api) alert(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	body, err := wire.JSON(w, r, maxAlerts)
	if err != nil {
		return err
	}
	entries, err := parseAlerts(body)
	if err != nil {
		return err
	}
	recorded := 0
	if fresh := a.alerts.fresh(entries); len(fresh) > 0 {
		places, err := a.Log.AppendAll(r.Context(), fresh, ledger.Durable)
		for i := range places {
			if places[i].Size > 0 {
				a.alerts.add(fresh[i].RequestID)
				if !places[i].Duplicate {
					recorded++
				}
			}
		}
		// One that was resolved at another time than before has its place, too.
		if audit.Unrecorded(places, err, len(fresh)) > 0 {
			return &wire.Error{
				Status: http.StatusServiceUnavailable, Code: wire.CodeAuditUnavailable, Retry: 2 * time.Second, Cause: err,
				Message: "the ledger cannot be written; send the alerts again",
			}
		}
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"alerts": len(entries), "recorded": recorded})
}

// parseAlerts reads a message as the entries it stands for. Of labels, the name of
// the alert and its severity are kept, and nothing else.
func parseAlerts(body []byte) ([]ledger.Entry, error) {
	var m webhook
	if err := wire.DecodeKnown(body, &m); err != nil {
		return nil, err
	}
	switch {
	case m.Version != "4":
		return nil, wire.Wrong(wire.CodeInvalidValue, "version", "version %q of Alertmanager's messages is not known; 4 is", wire.Echo(m.Version))
	case len(m.Alerts) > maxGroup:
		return nil, wire.Wrong(wire.CodeInvalidValue, "alerts", "more than %d alerts; set max_alerts of the webhook", maxGroup)
	}
	entries := make([]ledger.Entry, 0, len(m.Alerts))
	for _, x := range m.Alerts {
		e, err := entryOf(x)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func entryOf(x alertOfHook) (ledger.Entry, error) {
	name := x.Labels["alertname"]
	switch {
	case x.Status != "firing" && x.Status != "resolved":
		return ledger.Entry{}, wire.Wrong(wire.CodeInvalidValue, "alerts.status", "status %q is neither firing nor resolved", wire.Echo(x.Status))
	case x.Fingerprint == "" || len(x.Fingerprint) > maxFingerprint || strings.Trim(x.Fingerprint, "0123456789abcdef") != "":
		return ledger.Entry{}, wire.Wrong(wire.CodeInvalidValue, "alerts.fingerprint", "fingerprint %q is not hexadecimal", wire.Echo(x.Fingerprint))
	case name == "" || len(name) > maxAlertName:
		return ledger.Entry{}, wire.Wrong(wire.CodeInvalidValue, "alerts.labels.alertname", "alertname must have 1 to %d bytes", maxAlertName)
	case x.StartsAt.IsZero():
		return ledger.Entry{}, wire.Wrong(wire.CodeMissingField, "alerts.startsAt", "startsAt is missing")
	}
	record := ledger.AlertRecord{Name: name, Status: x.Status, Fingerprint: x.Fingerprint, StartsAt: x.StartsAt.UTC().Format(time.RFC3339Nano)}
	if x.Status == "resolved" && !x.EndsAt.IsZero() {
		record.EndsAt = x.EndsAt.UTC().Format(time.RFC3339Nano)
	}
	data, err := json.Marshal(record, json.Deterministic(true))
	if err != nil {
		return ledger.Entry{}, err
	}
	return ledger.Entry{
		Kind: ledger.Alert, Severity: severityOf(x.Labels["severity"]), Data: data, Principal: alertPrincipal,
		RequestID: strings.Join([]string{"alert", x.Fingerprint, x.Status, record.StartsAt}, "/"),
	}, nil
}

// severityOf maps what alert rules say to the severities of entries.
func severityOf(label string) string {
	switch label {
	case "critical", "high", "medium", "low":
		return label
	case "warning":
		return "medium"
	case "info":
		return "low"
	default:
		return ""
	}
}

// recent remembers alerts that are in the ledger, the latest ones. The ledger knows
// all of them; this saves asking it. Safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	ids   map[string]bool // guarded by mu
	order []string        // the oldest first; guarded by mu
}

func newRecent() *recent { return &recent{ids: map[string]bool{}} }

// fresh returns the entries that are not remembered, each once.
func (r *recent) fresh(entries []ledger.Entry) []ledger.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []ledger.Entry
	seen := map[string]bool{}
	for _, e := range entries {
		if !r.ids[e.RequestID] && !seen[e.RequestID] {
			seen[e.RequestID] = true
			list = append(list, e)
		}
	}
	return list
}

func (r *recent) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id] {
		return
	}
	if len(r.order) >= maxRecent {
		delete(r.ids, r.order[0])
		r.order = r.order[1:]
	}
	r.ids[id] = true
	r.order = append(r.order, id)
}
