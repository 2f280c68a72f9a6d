package decision

// Limits of a single question; beyond them it is an invalid request. Label
// values are not bounded here: decisions read label names only.
const (
	MaxNameBytes = 512 // of a metric, node, role, purpose, claim or label name
	MaxLabels    = 128
	MaxClaims    = 64
)

// Input is the question: may Role perform Operation on Metric at Node? Metric,
// Role and Operation are required, Node to collect and export. An empty string is the
// same as an absent field.
type Input struct {
	Metric    string            `json:"metric"`
	Node      string            `json:"node,omitempty"`
	Role      string            `json:"role"`
	Operation string            `json:"operation"`
	Purpose   string            `json:"purpose,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Claims    []string          `json:"claims,omitempty"`
	// Retention is how long the caller wants to keep the series, such as "30d";
	// empty asks for the clause's maximum.
	Retention string `json:"retention,omitempty"`
	// Time is RFC 3339, or a bare date meaning 00:00Z; the server stamps it.
	Time string `json:"time,omitempty"`
}

// Fields returns the names of the input fields, sorted.
func Fields() []string {
	return []string{"claims", "labels", "metric", "node", "operation", "purpose", "retention", "role", "time"}
}
