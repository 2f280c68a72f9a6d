package charter

import "github.com/westworld-charter/charter/internal/decision"

// applyDefaults fills in what a charter leaves unsaid about enforcement and
// audit. Nothing else has a default: what is absent elsewhere means what the
// language says it means.
func (c *Charter) applyDefaults() {
	e, a := &c.Enforcement, &c.Audit
	for _, d := range []struct {
		field *string
		value string
	}{
		{&e.Mode, decision.Enforce},
		{&e.Unknown, "deny"},
		{&e.Grace, "24h"},
		{&e.State, "optional"},
		{&a.Denied, "durable"},
		{&a.Allowed, "aggregate"},
		{&a.Critical, "witnessed"},
		{&a.Retention, "7y"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
}
