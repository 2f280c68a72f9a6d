package policytest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// Codes of the findings in a case table; the list is closed.
const (
	TableSyntax        = "table_syntax"         // not one YAML document
	TableLimit         = "table_limit"          // larger or deeper than a table may be
	TableUnknownField  = "table_unknown_field"  // a misspelt or misplaced field
	TableMissingField  = "table_missing_field"  // a field that is required
	TableDuplicate     = "table_duplicate"      // a field or a case name given twice
	TableWrongType     = "table_wrong_type"     // a text where a list is expected, and so on
	TableUnknownValue  = "table_unknown_value"  // an outcome or a reason code that does not exist
	TableNoExpectation = "table_no_expectation" // a case that cannot fail
)

// reader turns YAML nodes into Go values and collects what is wrong with them.
type reader struct {
	file  string
	what  string // "table", or what else the document is
	found diag.List
	nodes int // values read so far
}

func (r *reader) pos(n *yaml.Node) diag.Pos {
	return diag.Pos{File: r.file, Line: n.Line, Col: n.Column}
}

// maxFindings bounds what one table can say; nobody reads more.
const maxFindings = 200

func (r *reader) errorf(n *yaml.Node, code, format string, args ...any) {
	if len(r.found) >= maxFindings {
		return
	}
	r.found.Errorf(r.pos(n), code, format, args...)
}

// document parses data into its one root node, nil when it cannot.
func (r *reader) document(data []byte) *yaml.Node {
	at := diag.Pos{File: r.file}
	if len(data) > MaxTableBytes {
		r.found.Errorf(at, TableLimit, "the %s has more than %d bytes", r.what, MaxTableBytes)
		return nil
	}
	root, bad := yamldoc.Root(data)
	switch {
	case bad != nil:
		r.found.Errorf(diag.Pos{File: r.file, Line: bad.Line, Col: bad.Col}, TableSyntax, "%s", bad.Message)
	case root == nil:
		r.found.Errorf(at, TableSyntax, "the %s is empty", r.what)
	}
	return root
}

// unknown reports a word that is none of the known ones, with what was meant.
func (r *reader) unknown(n *yaml.Node, code, message, word string, known []string) {
	fix := "there are " + strings.Join(known, ", ")
	if near := diag.DidYouMean(word, known); near != "" {
		fix = "did you mean " + near + "?"
	}
	if len(r.found) < maxFindings {
		r.found.Errorf(r.pos(n), code, "%s", message).Fix = fix
	}
}

// mapping calls visit for each field of n, which must be a mapping with the
// known fields and no others; known nil admits any.
func (r *reader) mapping(n *yaml.Node, what string, known []string, visit func(name string, key, value *yaml.Node)) bool {
	n, ok := r.resolve(n, 0)
	if !ok {
		return false
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(n, TableWrongType, "%s must be a mapping, not %s", what, kindOf(n))
		return false
	}
	r.fields(n, what, known, visit)
	return true
}

// fields is mapping for a node that is known to be one.
func (r *reader) fields(n *yaml.Node, what string, known []string, visit func(name string, key, value *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			r.errorf(key, TableWrongType, "a field name in %s must be a text; put it in quotes", what)
		case seen[key.Value]:
			r.errorf(key, TableDuplicate, "%s has the field %q twice", what, key.Value)
		case known != nil && !slices.Contains(known, key.Value):
			r.unknown(key, TableUnknownField, fmt.Sprintf("%s has no field %q", what, key.Value), key.Value, known)
		default:
			visit(key.Value, key, value)
		}
		seen[key.Value] = true
	}
}

// resolve follows an alias and counts the value against the limits, so that
// aliases cannot multiply a small file into a large table.
func (r *reader) resolve(n *yaml.Node, depth int) (*yaml.Node, bool) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.nodes++
	switch {
	case r.nodes == MaxTableNodes+1:
		r.errorf(n, TableLimit, "the %s has more than %d values", r.what, MaxTableNodes)
	case depth == MaxTableDepth+1:
		r.errorf(n, TableLimit, "values are nested more than %d deep", MaxTableDepth)
	}
	return n, r.nodes <= MaxTableNodes && depth <= MaxTableDepth
}

// value converts any node to what encoding/json would make of it.
func (r *reader) value(n *yaml.Node, depth int) any {
	n, ok := r.resolve(n, depth)
	if !ok {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		r.fields(n, "a mapping", nil, func(name string, _, value *yaml.Node) {
			object[name] = r.value(value, depth+1)
		})
		return object
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			list = append(list, r.value(item, depth+1))
		}
		return list
	default:
		return r.scalar(n)
	}
}

func (r *reader) scalar(n *yaml.Node) any {
	var v any
	if err := n.Decode(&v); err != nil {
		r.errorf(n, TableWrongType, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	switch v := v.(type) {
	case nil, bool, string, int, int64, uint64:
		return v
	case time.Time: // JSON has no time: the text is meant
		return n.Value
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	}
	r.errorf(n, TableWrongType, "JSON has no value for %q", n.Value)
	return nil
}

func (r *reader) object(n *yaml.Node, what string) map[string]any {
	object := map[string]any{}
	r.mapping(n, what, nil, func(name string, key, value *yaml.Node) {
		if len(object) == MaxFields {
			r.errorf(key, TableLimit, "%s has more than %d fields", what, MaxFields)
			return
		}
		object[name] = r.value(value, 1)
	})
	return object
}

// text reads a scalar that must be a text; numbers and times need no quotes
// because they are meant as they are written.
func (r *reader) text(n *yaml.Node, what string) string {
	v, ok := r.resolve(n, 0)
	if ok && (v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null") {
		r.errorf(v, TableWrongType, "%s must be a text, not %s", what, kindOf(v))
		return ""
	}
	return v.Value
}

func (r *reader) boolean(n *yaml.Node, what string) bool {
	v, ok := r.resolve(n, 0)
	if ok && v.ShortTag() != "!!bool" {
		r.errorf(v, TableWrongType, "%s must be true or false, not %s", what, kindOf(v))
		return false
	}
	b, _ := r.scalar(v).(bool)
	return b
}

func (r *reader) list(n *yaml.Node, what string, visit func(item *yaml.Node)) {
	v, ok := r.resolve(n, 0)
	if !ok {
		return
	}
	if v.Kind != yaml.SequenceNode {
		r.errorf(v, TableWrongType, "%s must be a list, not %s", what, kindOf(v))
		return
	}
	for _, item := range v.Content {
		visit(item)
	}
}

func (r *reader) texts(n *yaml.Node, what string) []string {
	texts := []string{}
	r.list(n, what, func(item *yaml.Node) { texts = append(texts, r.text(item, "an entry of "+what)) })
	return texts
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return fmt.Sprintf("the truth value %s", n.Value)
	case "!!int", "!!float":
		return fmt.Sprintf("the number %s", n.Value)
	default:
		return "a text"
	}
}
