package exportconfig

import (
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
)

// nextChange is the first moment after that of the question at which the charter or
// the state may answer otherwise, RFC 3339; "" when neither speaks of one. It may
// name a moment at which nothing changes, never miss one. Without a time in the
// question nothing that ends holds, so nothing ends.
func nextChange(c *charter.Charter, state map[string]any, in decision.Input) string {
	now, err := charter.ParseTime(in.Time)
	if err != nil {
		return ""
	}
	var next time.Time
	note := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	text := func(s string) {
		if t, err := charter.ParseTime(s); err == nil {
			note(t)
		}
	}
	if t, err := charter.ParseTime(c.Metadata.Expires); err == nil {
		grace, _ := charter.ParseDuration(c.Enforcement.Grace)
		note(t.Add(grace))
	}
	for i := range c.Waivers {
		text(c.Waivers[i].From)
		text(c.Waivers[i].Until)
	}
	for i := range c.Nodes.Entries {
		if c.Nodes.Entries[i].Node == in.Node {
			text(c.Nodes.Entries[i].Until)
		}
	}
	for i := range c.Roles {
		if c.Roles[i].Name != in.Role || c.Roles[i].Renew == "" {
			continue
		}
		granted, _ := within(state, "grants", in.Role, in.Node)["granted"].(string)
		renew, _ := charter.ParseDuration(c.Roles[i].Renew)
		if t, err := charter.ParseTime(granted); err == nil {
			note(t)
			note(t.Add(renew))
		}
	}
	eachText(state, text)
	if next.IsZero() {
		return ""
	}
	return next.UTC().Format(time.RFC3339Nano)
}

// eachText visits every text in a document.
func eachText(value any, visit func(string)) {
	switch value := value.(type) {
	case string:
		visit(value)
	case map[string]any:
		for _, v := range value {
			eachText(v, visit)
		}
	case []any:
		for _, v := range value {
			eachText(v, visit)
		}
	}
}
