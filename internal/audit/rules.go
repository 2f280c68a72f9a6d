package audit

import (
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Rules is what is recorded, and how surely.
type Rules struct {
	// BestEffort lets denials of low severity be answered although they could not
	// be recorded in time, and without waiting for the disk to be free again.
	BestEffort bool
	// Allowed is how allowances are recorded.
	Allowed Allowances
	// Critical is how denials of critical severity are.
	Critical ledger.Level
}

// Allowances is how allowances are recorded.
type Allowances int

const (
	Counted Allowances = iota // per window; what charters have by default
	Each                      // one by one, before they are answered
	None                      // not at all
)

// RulesOf returns what a charter demands. Whatever it does not say is recorded as
// surely as can be.
func RulesOf(c *charter.Charter) Rules {
	r := Rules{BestEffort: c.Audit.Denied == "best_effort", Critical: ledger.Witnessed}
	switch c.Audit.Allowed {
	case "durable":
		r.Allowed = Each
	case "none":
		r.Allowed = None
	}
	if c.Audit.Critical == "durable" {
		r.Critical = ledger.Durable
	}
	return r
}

// optional reports whether a denial may be answered unrecorded.
func (r Rules) optional(d *decision.Decision) bool {
	return r.BestEffort && d.Severity == "low"
}

func (r Rules) level(d *decision.Decision) ledger.Level {
	if d.Severity == "critical" {
		return r.Critical
	}
	return ledger.Durable
}
