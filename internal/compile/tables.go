package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/space"
)

func newTables(c *charter.Charter) (*tables, error) {
	t := &tables{
		Levels:    map[string]int{},
		Purposes:  setOf(c.Purposes),
		Exact:     map[string]*nameRow{},
		Patterns:  map[string]*nameRow{},
		Clauses:   map[string]clauseRow{},
		Forbidden: map[string]forbiddenRow{},
		Labels:    labelTable{Exact: map[string]set{}, Prefixes: map[string]map[string]set{}, Lengths: map[string]int{}},
		Roles:     map[string]roleRow{},
		Waivers:   map[string]map[string]waiverRow{},
		Emergency: setOf(c.Emergency.May),
		Nodes:     map[string]nodeRow{},
		Groups:    map[string]groupRow{},
		Limits:    map[string]limitRow{},
	}
	for rank, level := range c.AccessLevels {
		t.Levels[level] = rank
	}
	for _, fill := range []func(*charter.Charter) error{
		t.addCharter, t.addRoles, t.addLimits, t.addClauses, t.addForbidden, t.addWaivers, t.addNodes,
	} {
		if err := fill(c); err != nil {
			return nil, err
		}
	}
	return t, t.summarize()
}

func (t *tables) addCharter(c *charter.Charter) error {
	t.Charter = charterRow{
		Name:     c.Metadata.Name,
		Version:  c.Metadata.Version,
		Revision: c.Revision(),
		Mode:     c.Enforcement.Mode,
		State:    c.Enforcement.State,
		StaleNS:  math.MaxInt64,
	}
	if c.Metadata.Expires == "" {
		return nil
	}
	expires, err := charter.ParseTime(c.Metadata.Expires)
	if err != nil {
		return fmt.Errorf("metadata.expires: %w", err)
	}
	grace, err := duration(c.Enforcement.Grace)
	if err != nil {
		return fmt.Errorf("enforcement.grace: %w", err)
	}
	t.Charter.StaleNS = expires.Add(grace).UnixNano()
	return nil
}

func (t *tables) addRoles(c *charter.Charter) error {
	var categories []string
	for _, category := range c.Metrics {
		categories = append(categories, category.Name)
	}
	for _, role := range c.Roles {
		renew, err := duration(role.Renew)
		if err != nil {
			return fmt.Errorf("role %s: renew: %w", role.Name, err)
		}
		t.Roles[role.Name] = roleRow{
			Reads:    expand(role.Reads, c.AccessLevels),
			Collects: expand(role.Collects, categories),
			Exports:  expand(role.Exports, c.AccessLevels),
			Requires: setOf(role.Requires),
			RenewNS:  int64(renew),
		}
	}
	return nil
}

// expand replaces "*" by all there are.
func expand(names, all []string) set {
	if slices.Contains(names, "*") {
		return setOf(all)
	}
	return setOf(names)
}

func (t *tables) addLimits(c *charter.Charter) error {
	for _, limit := range c.Limits {
		roles := setOf(limit.Roles)
		if len(limit.Roles) == 0 {
			roles = set{"*": true}
		}
		t.Limits[limit.ID] = limitRow{Rate: limit.Rate, Roles: roles, Nodes: newSelector(limit.Nodes)}
	}
	return nil
}

func (t *tables) addClauses(c *charter.Charter) error {
	for _, clause := range c.AllClauses() {
		row, err := newClauseRow(c, clause)
		if err != nil {
			return fmt.Errorf("clause %s: %w", clause.ID, err)
		}
		t.Clauses[clause.ID] = row
		for _, pattern := range clause.Match {
			name, err := t.name(pattern)
			if err != nil {
				return fmt.Errorf("clause %s: %w", clause.ID, err)
			}
			name.Clauses = add(name.Clauses, clause.ID)
		}
	}
	return nil
}

func newClauseRow(c *charter.Charter, clause *charter.Clause) (clauseRow, error) {
	keep, err := duration(clause.Retention)
	if err != nil {
		return clauseRow{}, fmt.Errorf("retention: %w", err)
	}
	row := clauseRow{
		Category:   clause.Category,
		Access:     clause.Access,
		Operations: setOf(clause.Operations),
		Purposes:   setOf(clause.Purposes),
		Retention:  int64(keep / time.Second),
		Unlimited:  clause.Retention == "",
		Nodes:      newSelector(clause.Nodes),
		Forbid:     setOf(clause.Labels.Forbid),
		Drop:       setOf(clause.Labels.Drop),
		Limits:     set{},
		Obligations: decision.Obligations{
			Retention:    clause.Retention,
			DropLabels:   sorted(clause.Labels.Drop),
			HashLabels:   sorted(clause.Labels.Hash),
			ForbidLabels: sorted(clause.Labels.Forbid),
		},
		Mode:      effectiveMode(clause.Mode, c),
		Protected: clause.Protected,
	}
	if len(clause.Operations) == 0 {
		row.Operations = set{decision.Collect: true, decision.Read: true}
	}
	// Without purposes any declared one will do, and so does none at all.
	if len(clause.Purposes) == 0 {
		row.Purposes = add(setOf(c.Purposes), "")
	}
	for _, limit := range c.Limits {
		if len(limit.Clauses) == 0 || slices.Contains(limit.Clauses, clause.ID) {
			row.Limits[limit.ID] = true
		}
	}
	return row, nil
}

func (t *tables) addForbidden(c *charter.Charter) error {
	for i := range c.Forbidden {
		entry := &c.Forbidden[i]
		row := forbiddenRow{
			Severity:  entry.Severity,
			Reason:    entry.Reason,
			Violation: entry.Violation,
			Mode:      effectiveMode(entry.Mode, c),
			Protected: entry.Protected,
			Droppable: entry.Droppable,
		}
		if entry.Protected {
			row.Mode = decision.Enforce
		}
		t.Forbidden[entry.ID] = row
		for _, pattern := range entry.Match {
			name, err := t.name(pattern)
			if err != nil {
				return fmt.Errorf("forbidden %s: %w", entry.ID, err)
			}
			name.Forbidden = add(name.Forbidden, entry.ID)
		}
		for _, pattern := range entry.Labels {
			if err := t.Labels.add(pattern, entry.ID); err != nil {
				return fmt.Errorf("forbidden %s: %w", entry.ID, err)
			}
		}
	}
	return nil
}

// add files a forbidden label under its name or its literal prefix. Lengths
// count characters, as Rego's substring does.
func (l *labelTable) add(pattern, id string) error {
	glob, err := space.ParseGlob(pattern)
	if err != nil {
		return fmt.Errorf("label %q: %w", pattern, err)
	}
	if glob.Exact() {
		l.Exact[pattern] = add(l.Exact[pattern], id)
		return nil
	}
	prefix := glob.Prefix()
	if l.Prefixes[prefix] == nil {
		l.Prefixes[prefix] = map[string]set{}
	}
	l.Prefixes[prefix][pattern] = add(l.Prefixes[prefix][pattern], id)
	n := utf8.RuneCountInString(prefix)
	l.Lengths[strconv.Itoa(n)] = n
	return nil
}

// name is the row of a metric name or glob.
func (t *tables) name(pattern string) (*nameRow, error) {
	glob, err := space.ParseGlob(pattern)
	if err != nil {
		return nil, fmt.Errorf("match %q: %w", pattern, err)
	}
	rows, row := t.Exact, &nameRow{}
	if !glob.Exact() {
		rank := glob.Rank() // 0 for the glob that matches everything
		rows, row = t.Patterns, &nameRow{Rank: &rank}
	}
	if rows[pattern] == nil {
		rows[pattern] = row
	}
	return rows[pattern], nil
}

func (t *tables) addWaivers(c *charter.Charter) error {
	for i := range c.Waivers {
		waiver := &c.Waivers[i]
		row, err := newWaiverRow(waiver)
		if err != nil {
			return fmt.Errorf("waiver %s: %w", waiver.ID, err)
		}
		if t.Waivers[waiver.Clause] == nil {
			t.Waivers[waiver.Clause] = map[string]waiverRow{}
		}
		t.Waivers[waiver.Clause][waiver.ID] = row
	}
	return nil
}

func newWaiverRow(waiver *charter.Waiver) (waiverRow, error) {
	row := waiverRow{
		Nodes:      newSelector(waiver.Nodes),
		Keep:       waiver.Grants.Retention,
		Purposes:   setOf(waiver.Grants.Purposes),
		Operations: setOf(waiver.Grants.Operations),
	}
	keep, err := duration(waiver.Grants.Retention)
	if err != nil {
		return row, fmt.Errorf("retention: %w", err)
	}
	row.Retention = int64(keep / time.Second)
	until, err := charter.ParseTime(waiver.Until)
	if err != nil {
		return row, fmt.Errorf("until: %w", err)
	}
	row.UntilNS = until.UnixNano()
	if waiver.From == "" {
		return row, nil
	}
	from, err := charter.ParseTime(waiver.From)
	if err != nil {
		return row, fmt.Errorf("from: %w", err)
	}
	row.FromNS = from.UnixNano()
	return row, nil
}

func (t *tables) addNodes(c *charter.Charter) error {
	for _, entry := range c.Nodes.Entries {
		t.Nodes[entry.Node] = nodeRow{Status: entry.Status, Until: entry.Until, Reason: entry.Reason}
	}
	for _, group := range c.Nodes.Groups {
		s := newSelector(group.Match)
		t.Groups[group.Name] = groupRow{Exact: s.Exact, Globs: s.Globs, Labels: group.Labels}
	}
	return nil
}

func effectiveMode(mode string, c *charter.Charter) string {
	if mode == "" {
		return c.Enforcement.Mode
	}
	return mode
}

// duration reads an optional duration; absent is zero.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return charter.ParseDuration(text)
}

func sorted(names []string) []string {
	return slices.Sorted(slices.Values(names))
}

// encode writes the tables one entry per line, so that a change of one clause
// is a change of few lines.
func (t *tables) encode() ([]byte, error) {
	compact, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(compact, &sections); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"charter": {"tables": {`)
	for i, section := range slices.Sorted(maps.Keys(sections)) {
		var rows map[string]json.RawMessage
		if err := json.Unmarshal(sections[section], &rows); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s\n  %q: {", comma(i), section)
		for j, key := range slices.Sorted(maps.Keys(rows)) {
			name, err := json.Marshal(key)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%s\n    %s: %s", comma(j), name, rows[key])
		}
		b.WriteString("}")
	}
	b.WriteString("\n}}}\n")
	return b.Bytes(), nil
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}
