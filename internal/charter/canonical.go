package charter

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Canonical is the charter as YAML in its one canonical form: flattened,
// fields in the order of the language, entries sorted wherever order has no
// meaning, comments and empty fields left out, two-space indent, every string
// written so that any YAML reader takes it for a string. Parse of these bytes has
// the same canonical form.
func (c *Charter) Canonical() []byte {
	w := canonicalWriter{}
	w.charter(c)
	return w.out
}

// Digest is "sha256:" and the hexadecimal hash of [Charter.Canonical].
func (c *Charter) Digest() string {
	w := canonicalWriter{hash: sha256.New()}
	w.charter(c)
	w.hash.Write(w.out) // a hash takes every byte
	return "sha256:" + hex.EncodeToString(w.hash.Sum(nil))
}

// Revision names this very charter: its name, version and the first 12
// hexadecimal digits of its digest, such as "production-1.2.0+ab12cd34ef56".
func (c *Charter) Revision() string {
	const prefix, digits = len("sha256:"), 12
	return c.Metadata.Name + "-" + c.Metadata.Version + "+" + c.Digest()[prefix:prefix+digits]
}

// canonicalWriter appends YAML in block style.
type canonicalWriter struct {
	out  []byte
	hash hash.Hash // takes out whenever it is full; nil keeps everything
}

func (w *canonicalWriter) charter(c *Charter) {
	w.fields(newPlanner().plan(reflect.TypeFor[Charter]()), reflect.ValueOf(c).Elem(), 0, "")
}

// line begins a line: the indent, then the lead once ("- " of a list item).
func (w *canonicalWriter) line(depth int, lead string) {
	const full = 16 << 10
	if w.hash != nil && len(w.out) >= full {
		w.hash.Write(w.out)
		w.out = w.out[:0]
	}
	const blanks = "                                "
	indent := depth*2 - len(lead)
	for ; indent > len(blanks); indent -= len(blanks) {
		w.out = append(w.out, blanks...)
	}
	w.out = append(append(w.out, blanks[:indent]...), lead...)
}

// fields writes the fields of a struct that are not empty, the first one behind
// lead.
func (w *canonicalWriter) fields(p *plan, v reflect.Value, depth int, lead string) {
	for i := range p.fields {
		f := &p.fields[i]
		value := v.Field(f.index)
		if isEmpty(f, value) {
			continue
		}
		w.line(depth, lead)
		lead = ""
		w.out = append(append(w.out, f.name...), ':')
		w.value(f, value, depth)
	}
}

// isEmpty reports whether the canonical form leaves a field out.
func isEmpty(f *field, v reflect.Value) bool {
	switch f.shape {
	case shapeTexts, shapeEntries, shapeTextMap, shapeCategories:
		return v.Len() == 0
	case shapeSection:
		return v.IsZero() || !f.pointer && !hasContent(f.elem, v)
	case shapeInt, shapeNumber:
		return v.IsZero() && !f.rule.required
	}
	return v.IsZero()
}

// hasContent reports whether any field of a section would be written.
func hasContent(p *plan, v reflect.Value) bool {
	if v.IsZero() {
		return false
	}
	for i := range p.fields {
		if f := &p.fields[i]; !v.Field(f.index).IsZero() && !isEmpty(f, v.Field(f.index)) {
			return true
		}
	}
	return false
}

func (w *canonicalWriter) value(f *field, v reflect.Value, depth int) {
	switch f.shape {
	case shapeBool:
		w.out = append(w.out, " true\n"...)
	case shapeInt:
		w.out = append(strconv.AppendInt(append(w.out, ' '), v.Int(), 10), '\n')
	case shapeNumber:
		w.out = append(strconv.AppendFloat(append(w.out, ' '), v.Float(), 'f', -1, 64), '\n')
	case shapeText:
		w.scalar(v.String())
	case shapeSection:
		w.out = append(w.out, '\n')
		if f.pointer {
			v = v.Elem()
		}
		w.fields(f.elem, v, depth+1, "")
	case shapeTexts:
		w.texts(f, v.Interface().([]string), depth)
	case shapeTextMap:
		w.out = append(w.out, '\n')
		m := v.Interface().(map[string]string)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			w.line(depth+1, "")
			w.out = append(appendText(w.out, key), ':')
			w.scalar(m[key])
		}
	case shapeEntries:
		w.out = append(w.out, '\n')
		w.entries(f.elem, v, order(f, v), depth)
	case shapeCategories:
		w.categories(f, v.Interface().([]Category), depth)
	}
}

// scalar ends a line with text.
func (w *canonicalWriter) scalar(s string) {
	w.out = append(appendText(append(w.out, ' '), s), '\n')
}

func (w *canonicalWriter) texts(f *field, items []string, depth int) {
	if f.rule.set && !slices.IsSorted(items) {
		items = slices.Sorted(slices.Values(items))
	}
	w.out = append(w.out, '\n')
	for _, s := range items {
		w.line(depth+2, "- ")
		w.out = append(appendText(w.out, s), '\n')
	}
}

func (w *canonicalWriter) entries(p *plan, list reflect.Value, order []int, depth int) {
	for _, i := range order {
		w.fields(p, list.Index(i), depth+2, "- ")
	}
}

// order is how the entries of a list are written: by key, unless their order
// means something.
func order(f *field, list reflect.Value) []int {
	order := make([]int, list.Len())
	for i := range order {
		order[i] = i
	}
	if f.rule.key == "" || f.rule.ordered {
		return order
	}
	key := &f.elem.fields[f.elem.find(f.rule.key)]
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := list.Index(a).Field(key.index), list.Index(b).Field(key.index)
		if key.shape == shapeInt {
			return cmp.Compare(x.Int(), y.Int())
		}
		return cmp.Compare(x.String(), y.String())
	})
	return order
}

func (w *canonicalWriter) categories(f *field, list []Category, depth int) {
	w.out = append(w.out, '\n')
	clauses := field{shape: shapeEntries, elem: f.elem, rule: rule{key: "id"}}
	sorted := slices.SortedFunc(slices.Values(list), func(a, b Category) int { return cmp.Compare(a.Name, b.Name) })
	for i := range sorted {
		w.line(depth+1, "")
		w.out = append(appendText(w.out, sorted[i].Name), ":\n"...)
		v := reflect.ValueOf(sorted[i].Clauses)
		w.entries(f.elem, v, order(&clauses, v), depth+1)
	}
}
