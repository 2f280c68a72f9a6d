// Package exportconfig turns what a charter allows one node to collect into the
// configuration of programs that know nothing of charters: Prometheus, the
// OpenTelemetry Collector, and whatever reads Telemetry Policies (OTEP 4738).
//
// Start with [Build]. The [Plan] it returns holds for one question, which is a
// node, a role, an operation and a moment, and for every metric and label there
// can be. [Plan.Prometheus], [Plan.OTelFilter], [Plan.OTelRedaction] and
// [Plan.OTEP4738] write it down for one target; [Targets] lists the nodes worth
// scraping.
//
// A configuration keeps exactly the series the engine allows, with exactly the
// labels that are left once the obligations are met. What a target cannot express
// is refused with a [*Refused] that names clause and place; nothing is
// approximated. What the charter means is asked of the engine, and the finished
// plan is compared with it again, name by name and label by label, before anything
// is written. The same charter, state and question give the same bytes.
package exportconfig

import (
	"fmt"

	"github.com/westworld-charter/charter/internal/diag"
)

// Codes of [Refused]: why a target cannot have a configuration.
const (
	CodeHash         = "hash_not_expressible"          // a keyed hash of a label
	CodeDrop         = "drop_not_expressible"          // removing a label
	CodeLabelPattern = "label_pattern_not_expressible" // a pattern over names of labels
	CodeTargetLabel  = "target_label"                  // a label that Prometheus itself adds
	CodeReserved     = "reserved_label"                // a label that the target keeps for itself
	CodeUndetermined = "undetermined"                  // the engine could not be asked, or disagrees
)

// Codes returns the closed list of codes.
func Codes() []string {
	return []string{CodeHash, CodeDrop, CodeLabelPattern, CodeTargetLabel, CodeReserved, CodeUndetermined}
}

// Refused says why there is no configuration. The findings stand where the charter
// says what the target cannot.
type Refused struct {
	Target   string
	Findings diag.List
}

func (r *Refused) Error() string {
	text := fmt.Sprintf("%s cannot express the charter", r.Target)
	for _, f := range r.Findings {
		text += fmt.Sprintf("; %s: %s", f.Code, f.Message)
	}
	return text
}

// refuse returns nil when there is nothing to complain about.
func refuse(target string, findings diag.List) error {
	if len(findings) == 0 {
		return nil
	}
	findings.Sort()
	return &Refused{Target: target, Findings: findings}
}
