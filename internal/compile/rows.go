package compile

import (
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
)

// set is a Rego-friendly set: an object whose values are true.
type set map[string]bool

func setOf(names []string) set {
	s := set{}
	for _, name := range names {
		s[name] = true
	}
	return s
}

// tables is the document data.charter.tables. Whatever restricts is written
// out, also when it says "any" or "never", so that a missing entry can only
// deny.
type tables struct {
	Charter   charterRow                      `json:"charter"`
	Levels    map[string]int                  `json:"levels"`
	Purposes  set                             `json:"purposes"`
	Exact     map[string]*nameRow             `json:"exact"`
	Patterns  map[string]*nameRow             `json:"patterns"`
	Clauses   map[string]clauseRow            `json:"clauses"`
	Forbidden map[string]forbiddenRow         `json:"forbidden"`
	Labels    labelTable                      `json:"labels"`
	Roles     map[string]roleRow              `json:"roles"`
	Waivers   map[string]map[string]waiverRow `json:"waivers"`
	Emergency set                             `json:"emergency"`
	Nodes     map[string]nodeRow              `json:"nodes"`
	Groups    map[string]groupRow             `json:"groups"`
	Limits    map[string]limitRow             `json:"limits"`
}

type charterRow struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Mode     string `json:"mode"`
	State    string `json:"state"`
	// StaleNS is expires + grace, or the largest integer for never.
	StaleNS int64 `json:"stale_ns"`
}

// nameRow says which entries one exact name or glob belongs to. Only repeats the
// clause when there is but one, Free says that nothing forbids: no entry with
// this very name or glob and, for an exact name, none whose glob matches it.
type nameRow struct {
	Rank      *int   `json:"rank,omitempty"` // of globs
	Only      string `json:"only,omitempty"`
	Free      bool   `json:"free,omitempty"`
	Clauses   set    `json:"clauses,omitempty"`
	Forbidden set    `json:"forbidden,omitempty"`
}

// clauseRow is one clause. Where is the groups whose exact names are all its
// nodes; absent when they are not, or when a waiver may be in play.
type clauseRow struct {
	Category    string               `json:"category"`
	Access      string               `json:"access"`
	Operations  set                  `json:"operations"`
	Purposes    set                  `json:"purposes"`
	Retention   int64                `json:"retention_s,omitempty"`
	Unlimited   bool                 `json:"unlimited,omitempty"`
	Nodes       selector             `json:"nodes"`
	Where       set                  `json:"where,omitempty"`
	Forbid      set                  `json:"forbid"`
	Drop        set                  `json:"drop"`
	Limits      set                  `json:"limits"`
	Obligations decision.Obligations `json:"obligations"`
	Mode        string               `json:"mode"`
	Protected   bool                 `json:"protected"`
}

type forbiddenRow struct {
	Severity  string `json:"severity"`
	Reason    string `json:"reason"`
	Violation string `json:"violation,omitempty"`
	Mode      string `json:"mode"`
	Protected bool   `json:"protected"`
	Droppable bool   `json:"droppable"`
}

// labelTable is the forbidden labels. Spoken is a regular expression that finds
// any label of which this table or a clause speaks among names joined by line ends.
type labelTable struct {
	Exact    map[string]set            `json:"exact"`
	Prefixes map[string]map[string]set `json:"prefixes"`
	Lengths  map[string]int            `json:"lengths"`
	Spoken   string                    `json:"spoken"`
}

type roleRow struct {
	Reads    set   `json:"reads"`
	Collects set   `json:"collects"`
	Exports  set   `json:"exports"`
	Requires set   `json:"requires"`
	RenewNS  int64 `json:"renew_ns"`
}

type waiverRow struct {
	Nodes      selector `json:"nodes"`
	FromNS     int64    `json:"from_ns"`
	UntilNS    int64    `json:"until_ns"`
	Keep       string   `json:"retention,omitempty"`
	Retention  int64    `json:"retention_s,omitempty"`
	Purposes   set      `json:"purposes,omitempty"`
	Operations set      `json:"operations,omitempty"`
}

type nodeRow struct {
	Status string `json:"status"`
	Until  string `json:"until,omitempty"`
	Reason string `json:"reason"`
}

type groupRow struct {
	Exact  set               `json:"exact,omitempty"`
	Globs  set               `json:"globs,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

type limitRow struct {
	Rate  string   `json:"rate"`
	Roles set      `json:"roles"`
	Nodes selector `json:"nodes"`
}

// selector is a set of nodes by id, glob and group, or any.
type selector struct {
	Any    bool `json:"any,omitempty"`
	Exact  set  `json:"exact,omitempty"`
	Globs  set  `json:"globs,omitempty"`
	Groups set  `json:"groups,omitempty"`
}

const groupPrefix = "group:"

func newSelector(nodes []string) selector {
	if len(nodes) == 0 {
		return selector{Any: true}
	}
	var s selector
	for _, node := range nodes {
		group, isGroup := strings.CutPrefix(node, groupPrefix)
		switch {
		case isGroup:
			s.Groups = add(s.Groups, group)
		case strings.Contains(node, "*"):
			s.Globs = add(s.Globs, node)
		default:
			s.Exact = add(s.Exact, node)
		}
	}
	return s
}

func add(s set, name string) set {
	if s == nil {
		s = set{}
	}
	s[name] = true
	return s
}
