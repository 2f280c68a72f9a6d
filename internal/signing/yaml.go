package signing

import (
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// Codes of the findings in a trust policy; the list is closed.
const (
	TrustSyntax       = "trust_syntax"        // not one YAML document, or larger than a trust policy may be
	TrustUnknownField = "trust_unknown_field" // a misspelt or misplaced field
	TrustMissingField = "trust_missing_field" // a field that is required
	TrustDuplicate    = "trust_duplicate"     // a field, key or predicate type given twice
	TrustWrongType    = "trust_wrong_type"    // a text where a list is expected, and so on
	TrustInvalidValue = "trust_invalid_value" // a value that cannot be, or cannot be met
	TrustBadFile      = "trust_bad_file"      // a file that is named cannot be read or is not what it should be
)

// reader turns YAML nodes into values and collects what is wrong with them. Anchors,
// aliases and tags are not allowed: no trust policy needs them.
type reader struct {
	file  string
	found diag.List
}

// maxFindings bounds what one file can say; nobody reads more.
const maxFindings = 50

func (r *reader) errorf(n *yaml.Node, code, format string, args ...any) *diag.Diagnostic {
	if len(r.found) >= maxFindings {
		return new(diag.Diagnostic)
	}
	return r.found.Errorf(diag.Pos{File: r.file, Line: n.Line, Col: n.Column}, code, format, args...)
}

// document returns the root of the only document, nil when there is none.
func (r *reader) document(data []byte) *yaml.Node {
	start := &yaml.Node{Line: 1, Column: 1}
	if len(data) > maxTrust {
		r.errorf(start, TrustSyntax, "the file has more than %d bytes", maxTrust)
		return nil
	}
	root, bad := yamldoc.Root(data)
	switch {
	case bad != nil:
		r.errorf(&yaml.Node{Line: bad.Line, Column: bad.Col}, TrustSyntax, "%s", bad.Message)
	case root == nil:
		r.errorf(start, TrustSyntax, "the file is empty").Fix = "begin with apiVersion: charter/v1"
	}
	return root
}

// plain reports whether a node has the kind, and nothing that makes it mean something
// else than it says.
func (r *reader) plain(n *yaml.Node, kind yaml.Kind, what, want string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.errorf(n, TrustWrongType, "anchors and aliases are not allowed").Fix = "write the value out"
	case n.Style&yaml.TaggedStyle != 0:
		r.errorf(n, TrustWrongType, "the YAML tag %s is not allowed", n.Tag).Fix = "remove the tag"
	case n.Kind != kind || n.ShortTag() == "!!null":
		r.errorf(n, TrustWrongType, "%s must be %s", what, want)
	default:
		return true
	}
	return false
}

// mapping calls the function of each field of n, which must be a mapping with fields
// of these names alone. It returns the names that are there.
func (r *reader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) []string {
	if !r.plain(n, yaml.MappingNode, what, "a mapping") {
		return nil
	}
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		visit, ok := fields[key.Value]
		switch {
		case !r.plain(key, yaml.ScalarNode, "a field name", "a text"):
		case !ok:
			fix := "there are " + strings.Join(known, ", ")
			if near := diag.DidYouMean(key.Value, known); near != "" {
				fix = "did you mean " + near + "?"
			}
			r.errorf(key, TrustUnknownField, "%s has no field %s", what, clip(key.Value)).Fix = fix
		case slices.Contains(seen, key.Value):
			r.errorf(key, TrustDuplicate, "%s is given twice", key.Value)
		default:
			seen = append(seen, key.Value)
			visit(value)
		}
	}
	return seen
}

func (r *reader) list(n *yaml.Node, what string, visit func(item *yaml.Node)) {
	if !r.plain(n, yaml.SequenceNode, what, "a list") {
		return
	}
	if len(n.Content) == 0 || len(n.Content) > maxEntries {
		r.errorf(n, TrustInvalidValue, "%s must have 1 to %d entries, has %d", what, maxEntries, len(n.Content))
		return
	}
	for _, item := range n.Content {
		visit(item)
	}
}

// text reads a scalar that is not empty; numbers and dates are meant as they are
// written.
func (r *reader) text(n *yaml.Node, what string) string {
	if !r.plain(n, yaml.ScalarNode, what, "a text") {
		return ""
	}
	if n.Value == "" || len(n.Value) > maxText {
		r.errorf(n, TrustInvalidValue, "%s must have 1 to %d bytes", what, maxText)
		return ""
	}
	return n.Value
}

func (r *reader) texts(n *yaml.Node, what string) []string {
	var texts []string
	r.list(n, what, func(item *yaml.Node) { texts = append(texts, r.text(item, "an entry of "+what)) })
	return texts
}

func (r *reader) boolean(n *yaml.Node, what string) bool {
	if !r.plain(n, yaml.ScalarNode, what, "true or false") {
		return false
	}
	if n.ShortTag() != "!!bool" {
		r.errorf(n, TrustWrongType, "%s must be true or false", what)
	}
	return n.Value == "true"
}

// count reads a number from 1.
func (r *reader) count(n *yaml.Node, what string) int {
	if !r.plain(n, yaml.ScalarNode, what, "a number") {
		return 0
	}
	number, err := strconv.Atoi(n.Value)
	if err != nil || number < 1 || number > maxEntries {
		r.errorf(n, TrustInvalidValue, "%s must be a number from 1 to %d", what, maxEntries)
		return 0
	}
	return number
}
