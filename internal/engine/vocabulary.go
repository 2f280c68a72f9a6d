package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/space"
)

// vocabulary is what the tables of one bundle speak of: names, globs, labels,
// claims and times. What they do not speak of cannot make a difference. It is
// read from the very data and rules that decide, not from what a compiler says
// about them, so that the two cannot disagree.
type vocabulary struct {
	metrics, nodes *classes
	roles          map[string]role

	// numbers of texts of questions
	undeclared, purposes, retentions *numbering
	// labels holds a bit for the first 64 labels that some entry names, 0 for
	// the others.
	labels     map[string]uint64
	labelGlobs *space.Index   // nil without any
	further    interner       // sets of labels without a bit
	spoken     map[string]any // what the charter says about nodes, by name
	points     []int64        // change points of the charter
	// groupLabels are the labels of nodes that groups ask for, sorted.
	groupLabels []string
}

// role is one that the charter declares.
type role struct {
	number   uint32   // greater than maxClasses, up to which undeclared ones are numbered
	requires []string // claims, sorted
}

// errUnusual marks tables that no compiler writes.
var errUnusual = errors.New("unusual tables")

// newVocabulary reads the document below the root charter.
func newVocabulary(root any, globs patterns) (*vocabulary, error) {
	document, _ := root.(map[string]any)
	tables, ok := document["tables"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s.tables is not an object", errUnusual, bundle.Root)
	}
	r := reader{tables: tables, exactNodes: newProfiles(), globNodes: newProfiles(), labels: map[string]uint64{}, groupLabels: map[string]bool{}}
	r.read()
	if r.err != nil {
		return nil, r.err
	}
	v := &vocabulary{
		roles: r.roles, undeclared: newNumbering(valid), purposes: newNumbering(valid), retentions: newNumbering(retention),
		labels: numbered(r.labels),
		spoken: r.section("nodes"), points: r.points,
		groupLabels: slices.Sorted(maps.Keys(r.groupLabels)),
	}
	if len(r.labelGlobs) > 0 {
		v.labelGlobs = space.NewIndex(r.labelGlobs)
	}
	v.metrics = &classes{
		table: r.section("exact"), memo: newMemo[uint32](memoSize),
		globs: space.NewIndex(globs.metric), rows: numberRows(globs.metric, r.section("patterns")),
	}
	v.nodes = &classes{
		profiles: r.exactNodes.byName, memo: newMemo[uint32](memoSize),
		globs: space.NewIndex(globs.node), rows: r.globNodes.numbers(globs.node),
	}
	return v, nil
}

// numbered gives the first 64 names a bit each.
func numbered(names map[string]uint64) map[string]uint64 {
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i < maxBits {
			names[name] = 1 << i
		}
	}
	return names
}

// numberRows numbers globs by the content of their rows.
func numberRows(globs []space.Glob, rows map[string]any) []uint32 {
	known := map[string]uint32{"": 0}
	numbers := make([]uint32, len(globs))
	for i, glob := range globs {
		content := ""
		if row, ok := rows[glob.String()]; ok {
			content = string(appendContent(nil, row))
		}
		n, ok := known[content]
		if !ok {
			n = uint32(len(known))
			known[content] = n
		}
		numbers[i] = n
	}
	return numbers
}

// profiles is, by name or glob, a number for the set of selectors that list it;
// 0 stands for none.
type profiles struct {
	byName map[string]uint32
	steps  map[[2]uint32]uint32 // from a set and one more selector to a set
}

func newProfiles() profiles {
	return profiles{byName: map[string]uint32{}, steps: map[[2]uint32]uint32{}}
}

// add notes that a selector lists a name. Selectors come one after the other.
func (p profiles) add(name string, selector uint32) {
	step := [2]uint32{p.byName[name], selector}
	if p.steps[step] == 0 {
		p.steps[step] = uint32(len(p.steps) + 1)
	}
	p.byName[name] = p.steps[step]
}

func (p profiles) numbers(globs []space.Glob) []uint32 {
	numbers := make([]uint32, len(globs))
	for i, glob := range globs {
		numbers[i] = p.byName[glob.String()]
	}
	return numbers
}

// reader takes the tables apart. Its error is that of the first place which is
// not as the compiled form has it.
type reader struct {
	tables                map[string]any
	exactNodes, globNodes profiles
	selectors             uint32
	roles                 map[string]role
	labels                map[string]uint64
	groupLabels           map[string]bool
	labelGlobs            []space.Glob
	points                []int64
	err                   error
}

func (r *reader) read() {
	for id, row := range r.each("clauses") {
		r.selector("clauses."+id+".nodes", row["nodes"])
		for label := range r.object("clauses."+id+".forbid", row["forbid"]) {
			r.label(label)
		}
	}
	for id, row := range r.each("limits") {
		r.selector("limits."+id+".nodes", row["nodes"])
	}
	for id, row := range r.each("groups") {
		r.selector("groups."+id, row) // a group has the same keys
		if labels, given := row["labels"]; given {
			for label := range r.object("groups."+id+".labels", labels) {
				r.groupLabels[label] = true
			}
		}
	}
	for clause, waivers := range r.each("waivers") {
		for id, v := range waivers {
			waiver := r.object("waivers."+clause+"."+id, v)
			r.selector("waivers."+clause+"."+id+".nodes", waiver["nodes"])
			r.point("waivers."+clause+"."+id+".from_ns", waiver["from_ns"])
			r.point("waivers."+clause+"."+id+".until_ns", waiver["until_ns"])
		}
	}
	r.point("charter.stale_ns", r.section("charter")["stale_ns"])
	r.roles = map[string]role{}
	for name, row := range r.each("roles") {
		r.roles[name] = role{
			number:   maxClasses + uint32(len(r.roles)) + 1,
			requires: slices.Sorted(maps.Keys(r.object("roles."+name+".requires", row["requires"]))),
		}
		if !valid(name) || slices.ContainsFunc(r.roles[name].requires, func(claim string) bool { return !valid(claim) }) {
			r.fail("roles." + name)
		}
	}
	r.section("nodes")
	r.section("exact")
	r.section("patterns")
	r.labelTable()
}

func (r *reader) labelTable() {
	labels := r.section("labels")
	for label := range r.object("labels.exact", labels["exact"]) {
		r.label(label)
	}
	for prefix, globs := range r.object("labels.prefixes", labels["prefixes"]) {
		for pattern := range r.object("labels.prefixes", globs) {
			glob, err := space.ParseGlob(pattern)
			if err != nil || glob.Prefix() != prefix {
				r.fail("labels.prefixes." + prefix)
				return
			}
			r.labelGlobs = append(r.labelGlobs, glob)
		}
	}
}

// label notes a label that some entry names. Those that are noted need not be checked
// when a question has them, so no question may be refused for them.
func (r *reader) label(name string) {
	if !valid(name) {
		r.fail("label " + name)
	}
	r.labels[name] = 0
}

func (r *reader) fail(place string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errUnusual, place)
	}
}

func (r *reader) object(place string, v any) map[string]any {
	object, ok := v.(map[string]any)
	if !ok {
		r.fail(place)
	}
	return object
}

func (r *reader) section(name string) map[string]any { return r.object(name, r.tables[name]) }

// each visits the rows of a table in the order of their ids.
func (r *reader) each(name string) func(yield func(string, map[string]any) bool) {
	return func(yield func(string, map[string]any) bool) {
		rows := r.section(name)
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			if !yield(id, r.object(name+"."+id, rows[id])) {
				return
			}
		}
	}
}

// selector notes which nodes and globs one selector lists.
func (r *reader) selector(place string, v any) {
	r.selectors++
	fields := r.object(place, v)
	for field, into := range map[string]profiles{"exact": r.exactNodes, "globs": r.globNodes} {
		names, given := fields[field]
		if !given {
			continue
		}
		for name, listed := range r.object(place+"."+field, names) {
			if listed != true {
				r.fail(place + "." + field)
				return
			}
			into.add(name, r.selectors)
		}
	}
}

// point notes an instant at which the charter changes by itself.
func (r *reader) point(place string, v any) {
	number, _ := v.(json.Number)
	ns, err := number.Int64()
	if err != nil {
		r.fail(place)
	}
	if ns != math.MaxInt64 {
		r.points = append(r.points, ns)
	}
}
