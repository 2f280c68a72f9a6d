package uploadsapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Limits of what is kept of one instance. More is cut off.
const (
	maxBundles = 16
	maxLabels  = 32
	maxText    = 255 // bytes of a label, name or code
	maxMessage = 512 // bytes of a message
	// maxStatus bounds a status in bytes, metrics included: what makes maps takes far
	// more memory than that.
	maxStatus = 4 << 20
)

// Instance is one OPA, as it described itself last.
type Instance struct {
	ID        string // its id label, which is another one after a restart
	Principal string // of who uploaded
	Node      string // of who uploaded; "" for none
	Labels    map[string]string
	Bundles   []Bundle // by name
	// LogsCode and LogsMessage are why its decision logs could not be uploaded last; ""
	// when they could.
	LogsCode, LogsMessage string
	// Dropped is how often it has given up decisions, or uploads full of them.
	Dropped uint64
	Seen    time.Time // by our clock
}

// Bundle is what an OPA says of one of its bundles. Times are of its clock.
type Bundle struct {
	Name      string // as its configuration calls it
	Revision  string // that is active; "" for none
	Activated time.Time
	Requested time.Time // the last request that was answered
	Code      string    // of its last error; "" for none
	Message   string
	HTTPCode  string // that it was answered with; "" for none, and without an error
}

// status of OPA as it uploads it (UpdateRequestV1 of its package status), as far as it
// is read here.
type status struct {
	Labels       map[string]string       `json:"labels"`
	Bundles      map[string]bundleStatus `json:"bundles"`
	DecisionLogs struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"decision_logs"`
	Metrics jsontext.Value `json:"metrics"` // of any kind
}

type bundleStatus struct {
	Revision  string         `json:"active_revision"`
	Activated time.Time      `json:"last_successful_activation"`
	Requested time.Time      `json:"last_successful_request"`
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	HTTPCode  jsontext.Value `json:"http_code"` // a number, or a text of one
}

// status takes the status of one OPA.
func (a *API) status(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := read(w, r, min(a.MaxContent, maxStatus))
	if err != nil {
		return nil, err
	}
	who := a.Caller(r.Context())
	next, err := parseStatus(body)
	if err != nil {
		return nil, err
	}
	next.Principal, next.Node, next.Seen = who.Principal, who.Node, a.Now()
	changes, err := a.recordChanges(r.Context(), a.instances.before(&next), &next)
	if err != nil {
		return nil, err // and the next status is as new as this one
	}
	a.instances.put(&next)
	return map[string]any{"bundles": len(next.Bundles), "recorded": changes}, nil
}

// parseStatus reads what can be known of an OPA.
func parseStatus(body []byte) (Instance, error) {
	var s status
	if err := wire.DecodeKnown(body, &s); err != nil {
		return Instance{}, err
	}
	in := Instance{ID: s.Labels["id"], LogsCode: cut(s.DecisionLogs.Code, maxText), LogsMessage: cut(s.DecisionLogs.Message, maxMessage), Dropped: dropped(s.Metrics)}
	if in.ID == "" || !printable(in.ID) {
		return Instance{}, wire.Wrong(wire.CodeMissingField, "labels.id", "labels.id is required, with at most %d bytes of printable text", maxID)
	}
	in.Labels = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if name != "id" && len(in.Labels) < maxLabels {
			in.Labels[cut(name, maxText)] = cut(s.Labels[name], maxText)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Bundles)) {
		b := s.Bundles[name]
		if len(in.Bundles) < maxBundles {
			in.Bundles = append(in.Bundles, Bundle{
				Name: cut(name, maxText), Revision: clip(b.Revision), Activated: b.Activated, Requested: b.Requested,
				Code: cut(b.Code, maxText), Message: cut(b.Message, maxMessage), HTTPCode: cut(strings.Trim(string(b.HTTPCode), `"`), maxText),
			})
		}
	}
	return in, nil
}

// dropped adds up the counters of OPA of decisions that it will never upload.
func dropped(metrics jsontext.Value) (n uint64) {
	for _, provider := range objectOf(metrics) {
		counters := objectOf(provider)
		for _, name := range []string{"dropped_rate_limit_exceeded", "dropped_buffer_size_limit_exceeded", "encoding_failure"} {
			var count uint32
			if json.Unmarshal(counters["counter_decision_logs_"+name], &count) == nil {
				n += uint64(count)
			}
		}
	}
	return n
}

// recordChanges appends an entry for each bundle of which another revision is active
// than before, or which has another error, and for decisions that were dropped, and
// returns how many entries these are.
func (a *API) recordChanges(ctx context.Context, before, now *Instance) (int, error) {
	var entries []ledger.Entry
	for i := range now.Bundles {
		b := &now.Bundles[i]
		var old Bundle
		if before != nil {
			if j := slices.IndexFunc(before.Bundles, func(o Bundle) bool { return o.Name == b.Name }); j >= 0 {
				old = before.Bundles[j]
			}
			if old.Revision == b.Revision && old.Code == b.Code && old.HTTPCode == b.HTTPCode {
				continue
			}
		}
		e, err := changeOf(old.Revision, now, b)
		if err != nil {
			return 0, err
		}
		if before != nil { // it has changed, even to what it was once
			e.RequestID += "/" + now.Seen.UTC().Format(time.RFC3339Nano)
		}
		entries = append(entries, e)
	}
	if now.Dropped > 0 && (before == nil || now.Dropped > before.Dropped) {
		e, err := gapOf(now)
		if err != nil {
			return 0, err
		}
		entries = append(entries, e)
		more := now.Dropped
		if before != nil {
			more -= before.Dropped
		}
		a.Observer.DecisionsReported("dropped", more)
	}
	if len(entries) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), audit.DefaultDeadline)
	defer cancel()
	places, err := a.Log.AppendAll(ctx, entries, ledger.Durable)
	if audit.Unrecorded(places, err, len(entries)) > 0 {
		return 0, fmt.Errorf("%w: %w", audit.ErrUnavailable, err)
	}
	recorded := 0
	for i := range places {
		if !places[i].Duplicate {
			recorded++
		}
	}
	return recorded, nil
}

// changeOf is the entry about a bundle of an instance. Its id is that of what it says, so
// that after our restart the same is not recorded again.
func changeOf(before string, in *Instance, b *Bundle) (ledger.Entry, error) {
	change := ledger.InstanceChange{Instance: in.ID, Bundle: b.Name, Code: b.Code, HTTPCode: b.HTTPCode, Before: before}
	if !b.Activated.IsZero() {
		change.Activated = b.Activated.UTC().Format(time.RFC3339Nano)
	}
	data, err := json.Marshal(change, json.Deterministic(true))
	if err != nil {
		return ledger.Entry{}, err
	}
	sum := sha256.Sum256(append(data, b.Revision...))
	return ledger.Entry{
		Kind: ledger.Instance, Node: in.Node, Revision: b.Revision, Data: data,
		Principal: audit.Reporter{Principal: in.Principal}.Name(), RequestID: "status/" + hex.EncodeToString(sum[:16]),
	}, nil
}

// gapOf is the entry about decisions that an instance has dropped.
func gapOf(in *Instance) (ledger.Entry, error) {
	data, err := json.Marshal(ledger.Missing{Reason: ledger.ReasonDropped, AtLeast: 1, Reported: in.ID, Dropped: in.Dropped}, json.Deterministic(true))
	return ledger.Entry{
		Kind: ledger.Gap, Node: in.Node, Data: data,
		Principal: audit.Reporter{Principal: in.Principal}.Name(), RequestID: fmt.Sprintf("dropped/%s/%d", in.ID, in.Dropped),
	}, err
}

// compareInstances orders instances for those who look at them.
func compareInstances(a, b Instance) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Principal, b.Principal))
}
