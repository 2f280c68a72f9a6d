package report

// CollectionSchema names the form of a [Collection] in JSON. Members may be added
// to it.
const CollectionSchema = "charter/collection-report/v1"

// Collection is the data-collection report of a node.
type Collection struct {
	Schema       string       `json:"schema"`
	Node         string       `json:"node"`
	Period       Period       `json:"period"`
	Coverage     Coverage     `json:"coverage"`
	Completeness Completeness `json:"completeness"`
	Summary      Summary      `json:"summary"`
	// Allowed are the questions about the node that were allowed.
	Allowed Uses `json:"allowed"`
	// Kept is how long data may be kept, by clause and revision.
	Kept   []Kept   `json:"kept"`
	Labels []Labels `json:"labels"`
	// Denied are denials that held; Lifted those that warn or shadow mode let pass:
	// what was asked for could be had.
	Denied         Refusals          `json:"denied"`
	Lifted         Refusals          `json:"lifted"`
	Standing       NodeStanding      `json:"standing"`
	Violations     []Violation       `json:"violations"`
	Investigations []Case            `json:"investigations"`
	Revocations    []Revocation      `json:"revocations"`
	Overrides      []Override        `json:"overrides"` // in force in the period, for this node or all
	Policies       []Policy          `json:"policies"`
	NotListed      map[string]uint64 `json:"not_listed"` // by list: items that it has no room for
}

// Summary are the figures of a [Collection] in total.
type Summary struct {
	Collected Figure `json:"collected"` // allowed questions with the operation collect
	Read      Figure `json:"read"`
	Exported  Figure `json:"exported"`
	Denied    Figure `json:"denied"`
	Lifted    Figure `json:"lifted"`
	// ByRole and ByPurpose are of the allowed questions; an empty purpose is none.
	ByRole    Breakdown `json:"by_role"`
	ByPurpose Breakdown `json:"by_purpose"`
	ByClause  Breakdown `json:"by_clause"`
}

// Uses are allowed questions, by what was asked.
type Uses struct {
	Rows  []Use   `json:"rows"`
	Other *Figure `json:"other,omitempty"`
}

// Use is an allowed question, as often as it was.
type Use struct {
	Operation string `json:"operation"`
	Metric    string `json:"metric"`
	Clause    string `json:"clause"`
	Role      string `json:"role"`
	Purpose   string `json:"purpose,omitempty"`
	Outcome   string `json:"outcome"`
	Figure
}

// Kept is how long data of a clause may be kept, by a revision.
type Kept struct {
	Clause   string `json:"clause"`
	Revision string `json:"revision"`
	// Given says that the charter of the revision was at hand and has the clause. Then
	// Retention is the longest time by the clause, empty for no limit.
	Given     bool   `json:"given"`
	Retention string `json:"retention,omitempty"`
	// Asked is the retention that was asked for, and granted; empty when the question
	// named none, which gets the longest time.
	Asked string `json:"asked,omitempty"`
	Figure
}

// Labels are the label names that came with the data of a clause. Their values are
// nowhere in the ledger.
type Labels struct {
	Clause string   `json:"clause"`
	Names  []string `json:"names"` // sorted
	// More says that there are further names, which the list has no room for.
	More bool `json:"more"`
}

// Refusals are denials, by what was asked and why it was denied.
type Refusals struct {
	Rows  []Refused `json:"rows"`
	Other *Figure   `json:"other,omitempty"`
}

// Refused is a denial, as often as it was.
type Refused struct {
	Operation string   `json:"operation"`
	Metric    string   `json:"metric"`
	Role      string   `json:"role"`
	Purpose   string   `json:"purpose,omitempty"`
	Outcome   string   `json:"outcome"`
	Clause    string   `json:"clause"`
	Severity  string   `json:"severity"`
	Reasons   []string `json:"reasons"` // codes, in their order of precedence
	// Own says that the node itself asked, proven by its certificate. Others can ask
	// in its name.
	Own bool `json:"own"`
	Figure
}

// NodeStanding is the standing of a node over the period.
type NodeStanding struct {
	Before  string     `json:"before"` // at the beginning: good, warned, suspended or quarantined
	After   string     `json:"after"`  // at the end
	Changes []Standing `json:"changes"`
}
