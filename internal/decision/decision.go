// Package decision is the vocabulary of the decision path: the question a
// service asks about a metric ([Input]) and the answer it gets ([Decision]),
// with the closed lists of operations, outcomes, severities and reason codes.
//
// Start with [ParseInput], which reads a question strictly: a misspelt field is
// refused by name and never becomes a silent deny. The Rego library (directory
// rego) implements the same contract for stock OPA; a test keeps both lists
// equal.
package decision

// Operations a node or a person can ask for.
const (
	Collect = "collect"
	Read    = "read"
	Export  = "export"
)

// Operations returns the closed list of operations.
func Operations() []string { return []string{Collect, Read, Export} }

// Outcomes tell decisions apart. Exactly one is in every answer.
const (
	Allowed        = "allowed"
	Denied         = "denied"
	Forbidden      = "forbidden"
	UnknownMetric  = "unknown_metric"
	Suspended      = "suspended"
	Quarantined    = "quarantined"
	StalePolicy    = "stale_policy"
	NoPolicy       = "no_policy"
	InvalidRequest = "invalid_request"
)

// Modes of a charter or clause. In warn and shadow mode a denial is reported
// but not enforced.
const (
	Enforce = "enforce"
	Warn    = "warn"
	Shadow  = "shadow"
)

// Pseudo clauses name the rules that belong to no clause of a charter, so that
// every denial names one. Charters may not use these as clause ids.
const (
	ClauseDefault  = "default"  // nothing in the charter speaks for the metric
	ClauseStanding = "standing" // the node's standing, or its revocation
	ClauseValidity = "validity" // the charter has lapsed, or required state is missing
	ClauseRequest  = "request"  // the question itself is not valid
)

// Reason codes, in order of precedence: an answer lists every reason that
// applies, sorted by this order, then by severity, then by clause id.
const (
	CodeUnknownField = "unknown_field"
	CodeMissingField = "missing_field"
	CodeWrongType    = "wrong_type"
	CodeInvalidValue = "invalid_value"

	CodeForbiddenMetric = "forbidden_metric"
	CodeForbiddenLabel  = "forbidden_label"

	CodeNodeQuarantined = "node_quarantined"
	CodeNodeSuspended   = "node_suspended"
	CodeNodeRevoked     = "node_revoked"

	CodeStalePolicy  = "stale_policy"
	CodeStateMissing = "state_missing"
	CodeStateExpired = "state_expired"

	CodeOverrideApplied = "override_applied"
	CodeWaiverApplied   = "waiver_applied"

	CodeUnknownRole           = "unknown_role"
	CodeMissingClaim          = "missing_claim"
	CodeRoleNotRenewed        = "role_not_renewed"
	CodeOperationNotPermitted = "operation_not_permitted"
	CodeCategoryNotCollected  = "category_not_collected"
	CodeLevelNotReadable      = "level_not_readable"
	CodeLevelNotExportable    = "level_not_exportable"
	CodeNodeNotCovered        = "node_not_covered"
	CodePurposeMissing        = "purpose_missing"
	CodePurposeUnknown        = "purpose_unknown"
	CodePurposeNotPermitted   = "purpose_not_permitted"
	CodeRetentionTooLong      = "retention_too_long"
	CodeLabelNotPermitted     = "label_not_permitted"

	CodeUnknownMetric = "unknown_metric"
	CodeUndetermined  = "undetermined"
)

// Codes returns the closed list of reason codes in order of precedence.
func Codes() []string {
	return []string{
		CodeUnknownField, CodeMissingField, CodeWrongType, CodeInvalidValue,
		CodeForbiddenMetric, CodeForbiddenLabel,
		CodeNodeQuarantined, CodeNodeSuspended, CodeNodeRevoked,
		CodeStalePolicy, CodeStateMissing, CodeStateExpired,
		CodeOverrideApplied, CodeWaiverApplied,
		CodeUnknownRole, CodeMissingClaim, CodeRoleNotRenewed,
		CodeOperationNotPermitted, CodeCategoryNotCollected, CodeLevelNotReadable, CodeLevelNotExportable,
		CodeNodeNotCovered, CodePurposeMissing, CodePurposeUnknown, CodePurposeNotPermitted,
		CodeRetentionTooLong, CodeLabelNotPermitted,
		CodeUnknownMetric, CodeUndetermined,
	}
}

// Decision is the answer document of data.charter.decision.
type Decision struct {
	Allow      bool   `json:"allow"`
	Outcome    string `json:"outcome"`
	DecisionID string `json:"decision_id,omitempty"`
	Revision   string `json:"revision"`
	// Clause is the id of the clause that decided; a pseudo clause when none did.
	Clause string `json:"clause"`
	// Source is where the clause is written, as FILE:LINE; "" for a pseudo clause.
	// It is added by Go, never by Rego.
	Source string `json:"source,omitempty"`
	// Severity is none, low, medium, high or critical; none when allowed.
	Severity    string      `json:"severity"`
	Reasons     []Reason    `json:"reasons"`
	Obligations Obligations `json:"obligations"`
	// Counterfactual and Suggestion are added by Go, never by Rego.
	Counterfactual string `json:"counterfactual,omitempty"`
	Suggestion     string `json:"suggestion,omitempty"`
	Mode           string `json:"mode"`
	// Enforced is false only when a denial was lifted by warn or shadow mode;
	// WouldDeny then holds what enforce mode would have answered.
	Enforced  *bool     `json:"enforced,omitempty"`
	WouldDeny *Decision `json:"would_deny,omitempty"`
}

// Reason is one rule that applied.
type Reason struct {
	Code     string `json:"code"`
	Clause   string `json:"clause"`
	Source   string `json:"source,omitempty"` // as in [Decision]
	Severity string `json:"severity"`
	Message  string `json:"message"`
	// Field names the offending input field of an invalid request.
	Field string `json:"field,omitempty"`
}

// Obligations is what the caller must do with an allowed series. Label lists
// are complete whether or not labels were sent, and sorted.
type Obligations struct {
	// Retention is the longest time the series may be kept, such as "30d".
	Retention    string   `json:"retention,omitempty"`
	DropLabels   []string `json:"drop_labels,omitempty"`
	HashLabels   []string `json:"hash_labels,omitempty"`
	ForbidLabels []string `json:"forbid_labels,omitempty"`
	// Rates are the request rates that apply, such as "100/1m".
	Rates []string `json:"rates,omitempty"`
}

// Empty reports whether nothing is left for the caller to do.
func (o Obligations) Empty() bool {
	return o.Retention == "" && len(o.DropLabels)+len(o.HashLabels)+len(o.ForbidLabels)+len(o.Rates) == 0
}
