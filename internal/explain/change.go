package explain

import (
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
)

// Change is a change of a question. What is empty stays as it is.
type Change struct {
	Role      string `json:"role,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Purpose is another purpose, "" for none at all; nil when it stays.
	Purpose *string `json:"purpose,omitempty"`
	// Retention is the longest that would do.
	Retention    string   `json:"retention,omitempty"`
	AddClaims    []string `json:"add_claims,omitempty"`
	RemoveLabels []string `json:"remove_labels,omitempty"`
}

// Apply returns the changed question.
func (c *Change) Apply(in decision.Input) decision.Input {
	if c.Role != "" {
		in.Role = c.Role
	}
	if c.Operation != "" {
		in.Operation = c.Operation
	}
	if c.Purpose != nil {
		in.Purpose = *c.Purpose
	}
	if c.Retention != "" {
		in.Retention = c.Retention
	}
	if len(c.AddClaims) > 0 {
		in.Claims = slices.Concat(in.Claims, c.AddClaims)
	}
	if len(c.RemoveLabels) > 0 {
		in.Labels = maps.Clone(in.Labels)
		for _, label := range c.RemoveLabels {
			delete(in.Labels, label)
		}
	}
	return in
}

// String tells the change as what would be allowed.
func (c *Change) String() string {
	parts := []string{"allowed"}
	if c.Operation != "" {
		parts = append(parts, "for operation "+c.Operation)
	}
	with := "with"
	if c.Role != "" {
		parts = append(parts, "with role "+c.Role)
		with = "and"
	}
	if len(c.AddClaims) > 0 {
		parts = append(parts, with+" "+noun("claim", c.AddClaims)+listed(c.AddClaims))
	}
	switch {
	case c.Purpose == nil:
	case *c.Purpose == "":
		parts = append(parts, "without a purpose")
	default:
		parts = append(parts, "for purpose "+*c.Purpose)
	}
	if c.Retention != "" {
		parts = append(parts, "with retention "+c.Retention+" or less")
	}
	if len(c.RemoveLabels) > 0 {
		parts = append(parts, "without "+noun("label", c.RemoveLabels)+listed(c.RemoveLabels))
	}
	return strings.Join(parts, " ")
}

func noun(name string, items []string) string {
	if len(items) > 1 {
		name += "s"
	}
	return name + " "
}
