package charter

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// decoder fills the structs of the model from a YAML tree, strictly, and goes
// on after errors. A value with an error is left zero.
type decoder struct {
	*planner
	file    string
	list    *diag.List
	limit   int             // of findings
	section string          // the field of the charter being read
	broken  map[string]bool // fields of the charter in which errors were found
}

// charter decodes the root of a document.
func (d *decoder) charter(root *node) *Charter {
	c := new(Charter)
	if root.kind != mappingNode {
		d.wrongType(root, "a charter, which is a mapping of fields")
		return c
	}
	d.structure(d.plan(reflect.TypeFor[Charter]()), root, reflect.ValueOf(c).Elem(), true)
	return c
}

func (d *decoder) at(n *node) diag.Pos {
	return diag.Pos{File: d.file, Line: int(n.line), Col: int(n.col)}
}

// full reports whether there are so many findings that reading on is useless.
func (d *decoder) full() bool { return len(*d.list) >= d.limit }

func (d *decoder) errorf(n *node, code, format string, args ...any) *diag.Diagnostic {
	d.broken[d.section] = true
	return d.list.Errorf(d.at(n), code, format, args...)
}

// structure decodes a mapping into a struct.
func (d *decoder) structure(p *plan, n *node, v reflect.Value, root bool) {
	v.Field(p.source).Set(reflect.ValueOf(Source{file: d.file, node: n}))
	seen := make([]*node, len(p.fields))
	var meant []string // what misspelt fields were meant to be
	for i := 0; i+1 < len(n.items) && !d.full(); i += 2 {
		key, value := n.items[i], n.items[i+1]
		at := d.lookup(p, key, root, &meant)
		if at < 0 {
			continue
		}
		f := &p.fields[at]
		if first := seen[at]; first != nil {
			d.duplicate(key, first, f.name)
			continue
		}
		seen[at] = key
		d.value(f, value, v.Field(f.index))
	}
	if root {
		d.section = ""
	}
	d.missing(p, n, seen, meant)
}

// lookup returns the index of the field that key names, -1 after reporting that
// there is none.
func (d *decoder) lookup(p *plan, key *node, root bool, meant *[]string) int {
	if key.kind != scalarNode {
		d.errorf(key, codeBadKey, "a field name must be plain text, found %s", describe(key))
		return -1
	}
	if root {
		d.section = key.text
	}
	if at := p.find(key.text); at >= 0 {
		return at
	}
	diagnostic := d.errorf(key, codeUnknownField, "there is no field %q here", key.text)
	guess := diag.DidYouMean(key.text, p.names())
	switch {
	case secretWord(key.text) && p.find("url_file") >= 0:
		diagnostic.Fix = "secrets are not written into a charter: name a file or variable with url_file or url_env"
		diagnostic.Code = codeInlineSecret
	case secretWord(key.text) && p.find("secret_file") >= 0:
		diagnostic.Fix = "secrets are not written into a charter: name a file or variable with secret_file or secret_env"
		diagnostic.Code = codeInlineSecret
	case guess != "":
		diagnostic.Fix = fmt.Sprintf("did you mean %q?", guess)
		*meant = append(*meant, guess)
		if root {
			d.broken[guess] = true
		}
	default:
		diagnostic.Fix = "the fields here are " + strings.Join(p.names(), ", ")
	}
	return -1
}

// secretWord tells names of fields that people would write a secret into.
func secretWord(name string) bool {
	switch strings.ToLower(name) {
	case "url", "webhook", "webhook_url", "api_url", "password", "token", "secret", "key", "api_key", "bearer", "hmac", "auth":
		return true
	}
	return false
}

func (d *decoder) duplicate(key, first *node, name string) {
	diagnostic := d.errorf(key, codeDuplicateField, "the field %q is written twice", name)
	diagnostic.Fix = "keep one of the two"
	diagnostic.Related = []diag.Related{{Pos: d.at(first), Message: "first written here"}}
}

// missing reports required fields that are not there, unless a misspelt one was
// meant for it.
func (d *decoder) missing(p *plan, n *node, seen []*node, meant []string) {
	for i := range p.fields {
		f := &p.fields[i]
		if !f.rule.required || seen[i] != nil || slices.Contains(meant, f.name) {
			continue
		}
		diagnostic := d.errorf(n, codeMissingField, "the field %q is missing", f.name)
		diagnostic.Fix = "add " + f.name + ": " + f.placeholder()
	}
}

// placeholder shows what a value looks like.
func (f *field) placeholder() string {
	switch {
	case len(f.rule.enum) > 0 && f.shape == shapeText:
		return strings.Join(f.rule.enum, " | ")
	case f.shape == shapeTexts, f.shape == shapeEntries:
		return "[...]"
	case f.shape == shapeSection, f.shape == shapeTextMap, f.shape == shapeCategories:
		return "{...}"
	case f.shape == shapeInt, f.shape == shapeNumber:
		return "NUMBER"
	case f.rule.pattern != nil:
		return strings.ToUpper(f.name) + " (" + f.rule.pattern.help + ")"
	}
	return "TEXT"
}

// value decodes one field.
func (d *decoder) value(f *field, n *node, v reflect.Value) {
	switch f.shape {
	case shapeText:
		if s, ok := d.text(f, n); ok {
			v.SetString(s)
		}
	case shapeBool:
		d.boolean(n, v)
	case shapeInt, shapeNumber:
		d.number(f, n, v)
	case shapeTexts:
		d.texts(f, n, v)
	case shapeSection:
		d.sectionOf(f, n, v)
	case shapeEntries:
		if d.kind(n, listNode, "a list of mappings") {
			d.entries(f, n, v)
		}
	case shapeTextMap:
		d.textMap(n, v)
	case shapeCategories:
		d.categories(f, n, v)
	}
}

func (d *decoder) sectionOf(f *field, n *node, v reflect.Value) {
	if !d.kind(n, mappingNode, "a mapping") {
		return
	}
	if len(n.items) == 0 && !f.pointer {
		d.list.Warnf(d.at(n), codeEmptyValue, "the mapping is empty").Fix = "remove the field"
	}
	if f.pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	d.structure(f.elem, n, v, false)
}

// entries decodes a list of mappings.
func (d *decoder) entries(f *field, n *node, v reflect.Value) {
	if len(n.items) == 0 {
		d.emptyList(f, n)
		return
	}
	// What is not an entry is reported once, here: the checks of meaning, which
	// run even so, must not meet an entry that nobody wrote.
	list, size := reflect.MakeSlice(v.Type(), len(n.items), len(n.items)), 0
	for _, child := range n.items {
		if d.kind(child, mappingNode, "a mapping") {
			d.structure(f.elem, child, list.Index(size), false)
			size++
		}
	}
	v.Set(list.Slice(0, size))
	if f.rule.key != "" && !f.rule.clause && len(n.items) > 1 {
		d.uniqueKeys(f, n)
	}
}

// uniqueKeys reports entries of a list that have the same key.
func (d *decoder) uniqueKeys(f *field, n *node) {
	var keys []string
	var places []*node
	for _, child := range n.items {
		if child.kind != mappingNode {
			continue
		}
		for i := 0; i+1 < len(child.items); i += 2 {
			if value := child.items[i+1]; child.items[i].text == f.rule.key && value.kind == scalarNode {
				keys = append(keys, value.text)
				places = append(places, value)
			}
		}
	}
	d.unique(keys, places, codeDuplicateEntry, "the "+f.rule.key+" %q is used twice")
}

// categories decodes the mapping of categories to clauses, in document order.
func (d *decoder) categories(f *field, n *node, v reflect.Value) {
	if !d.kind(n, mappingNode, "a mapping of categories to lists of clauses") {
		return
	}
	if len(n.items) == 0 {
		d.list.Warnf(d.at(n), codeEmptyValue, "the mapping is empty").Fix = "remove the field"
		return
	}
	name := field{rule: rule{pattern: d.patterns["name"]}}
	list := make([]Category, 0, len(n.items)/2)
	clauses := field{shape: shapeEntries, elem: f.elem, rule: rule{key: "id", clause: true, required: true}}
	seen := make(map[string]*node)
	for i := 0; i+1 < len(n.items); i += 2 {
		key, value := n.items[i], n.items[i+1]
		s, ok := d.text(&name, key)
		if !ok {
			continue
		}
		if first := seen[s]; first != nil {
			d.duplicate(key, first, s)
			continue
		}
		seen[s] = key
		category := Category{Source: Source{file: d.file, node: key}, Name: s}
		if d.kind(value, listNode, "a list of clauses") {
			d.entries(&clauses, value, reflect.ValueOf(&category).Elem().FieldByName("Clauses"))
		}
		for j := range category.Clauses {
			category.Clauses[j].Category = s
		}
		list = append(list, category)
	}
	v.Set(reflect.ValueOf(list))
}

// kind checks that a value is of a kind, which what describes.
func (d *decoder) kind(n *node, want kind, what string) bool {
	if n.kind == want {
		return true
	}
	diagnostic := d.wrongType(n, what)
	switch {
	case n.kind == scalarNode && n.tag == tagNull:
		diagnostic.Fix = "write a value, or remove the field"
	case want == listNode && n.kind == scalarNode:
		diagnostic.Fix = "put it in brackets: [" + shorten(n.text) + "]"
	case want == listNode && n.kind == mappingNode:
		diagnostic.Fix = "begin each entry with a dash"
	}
	return false
}

func (d *decoder) wrongType(n *node, want string) *diag.Diagnostic {
	return d.errorf(n, codeWrongType, "expected %s, found %s", want, describe(n))
}

// describe names a value as its author would.
func describe(n *node) string {
	switch n.kind {
	case listNode:
		return "a list"
	case mappingNode:
		return "a mapping"
	}
	switch n.tag {
	case tagNull:
		return "nothing"
	case tagInt, tagFloat:
		return "the number " + shorten(n.text)
	case tagBool:
		return "the truth value " + n.text
	case tagTime:
		return "the date " + n.text
	}
	return strconv.Quote(shorten(n.text))
}
