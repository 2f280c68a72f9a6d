package charter

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// text returns the value of a scalar that is text and keeps the field's rule.
func (d *decoder) text(f *field, n *node) (string, bool) {
	r := &f.rule
	want := "text"
	if r.pattern != nil {
		want = r.pattern.what
	}
	if n.kind != scalarNode {
		d.wrongType(n, want)
		return "", false
	}
	if n.tag != tagText && (n.tag != tagTime || r.pattern == nil || r.pattern.code != "bad_time") {
		diagnostic := d.wrongType(n, want)
		switch {
		case n.tag == tagNull:
			diagnostic.Fix = "write a value, or remove the field"
		case r.pattern != nil && r.pattern.check(n.text) != "":
			diagnostic.Fix = "write " + r.pattern.help
		default:
			diagnostic.Fix = fmt.Sprintf("put it in quotes: %q", n.text)
		}
		return "", false
	}
	s := n.text
	if s == "" {
		d.errorf(n, codeEmptyValue, "the text is empty").Fix = "write a value, or remove the field"
		return "", false
	}
	if len(s) > maxText {
		d.errorf(n, codeOutOfRange, "the text is longer than %d bytes", maxText)
		return "", false
	}
	for _, c := range s {
		if (c < ' ' || c >= 0x7f) && hidden(c) && c != '\n' && c != '\t' {
			d.errorf(n, codeControl, "the text contains U+%04X, which is invisible or moves text", c).Fix = "remove the character"
			return "", false
		}
	}
	return s, d.rule(f, n, s)
}

// rule checks an enumeration or a pattern.
func (d *decoder) rule(f *field, n *node, s string) bool {
	r := &f.rule
	if len(r.enum) > 0 && !slices.Contains(r.enum, s) {
		diagnostic := d.errorf(n, codeUnknownValue, "%q is not one of %s", shorten(s), strings.Join(r.enum, ", "))
		diagnostic.Fix = f.hint
		if guess := diag.DidYouMean(s, r.enum); guess != "" {
			diagnostic.Fix = fmt.Sprintf("did you mean %q?", guess)
		}
		return false
	}
	if r.pattern == nil {
		return true
	}
	if msg := r.pattern.check(s); msg != "" {
		d.errorf(n, r.pattern.code, "%q is not %s: %s", shorten(s), r.pattern.what, msg).Fix = "write " + r.pattern.help
		return false
	}
	return true
}

// shorten keeps hostile values from filling the screen.
func shorten(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}

func (d *decoder) boolean(n *node, v reflect.Value) {
	if n.kind == scalarNode && n.tag == tagBool {
		v.SetBool(strings.EqualFold(n.text, "true"))
		return
	}
	diagnostic := d.wrongType(n, "true or false")
	if n.kind == scalarNode {
		switch strings.ToLower(n.text) {
		case "yes", "y", "on", "1", "true":
			diagnostic.Fix = "write true"
		case "no", "n", "off", "0", "false":
			diagnostic.Fix = "write false"
		}
	}
}

func (d *decoder) number(f *field, n *node, v reflect.Value) {
	want := "a number"
	if f.shape == shapeInt {
		want = "a whole number"
	}
	if n.kind != scalarNode || n.tag != tagInt && n.tag != tagFloat {
		diagnostic := d.wrongType(n, want)
		if _, err := strconv.ParseFloat(n.text, 64); err == nil && n.kind == scalarNode {
			diagnostic.Fix = "remove the quotes"
		}
		return
	}
	x, err := strconv.ParseFloat(n.text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(n.text, "_xX") {
		d.wrongType(n, want).Fix = "write a plain decimal number"
		return
	}
	if f.shape == shapeInt && (x != math.Trunc(x) || n.tag != tagInt) {
		d.wrongType(n, want)
		return
	}
	if f.rule.bounded && (x < f.rule.min || x > f.rule.max) {
		d.errorf(n, codeOutOfRange, "%s is not between %s and %s", n.text, plain(f.rule.min), plain(f.rule.max))
		return
	}
	if f.shape == shapeInt {
		v.SetInt(int64(x))
		return
	}
	v.SetFloat(x + 0) // -0 becomes 0
}

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// texts decodes a list of text.
func (d *decoder) texts(f *field, n *node, v reflect.Value) {
	if !d.kind(n, listNode, "a list") {
		return
	}
	if len(n.items) == 0 {
		d.emptyList(f, n)
		return
	}
	items := make([]string, len(n.items)) // "" where there was an error
	for i, child := range n.items {
		if s, ok := d.text(f, child); ok && !d.full() {
			items[i] = s
		}
	}
	if f.rule.unique {
		d.unique(items, n.items, codeDuplicateItem, "%q is in the list twice")
	}
	v.Set(reflect.ValueOf(items))
}

func (d *decoder) emptyList(f *field, n *node) {
	if f.rule.required || f.rule.nonempty {
		d.errorf(n, codeEmptyValue, "the list is empty").Fix = "add an item, or remove the field"
		return
	}
	d.list.Warnf(d.at(n), codeEmptyValue, "the list is empty").Fix = "remove the field"
}

// unique reports values that occur twice, the empty ones aside.
func (d *decoder) unique(values []string, places []*node, code, format string) {
	const few = 8
	if slices.IsSortedFunc(values, ascending) {
		return // as the canonical form has them
	}
	var first map[string]int
	if len(values) > few {
		first = make(map[string]int, len(values))
	}
	for i, s := range values {
		at, twice := first[s]
		if first == nil {
			at = slices.Index(values[:i], s)
			twice = at >= 0
		} else if !twice {
			first[s] = i
		}
		if !twice || s == "" {
			continue
		}
		diagnostic := d.errorf(places[i], code, format, s)
		diagnostic.Fix = "remove one of the two"
		diagnostic.Related = []diag.Related{{Pos: d.at(places[at]), Message: "first written here"}}
	}
}

// ascending orders texts so that two which are the same are out of order.
func ascending(a, b string) int {
	if a > b {
		return 1
	}
	return -1
}

// textMap decodes a mapping of label names to text.
func (d *decoder) textMap(n *node, v reflect.Value) {
	if !d.kind(n, mappingNode, "a mapping of names to text") {
		return
	}
	if len(n.items) == 0 {
		d.list.Warnf(d.at(n), codeEmptyValue, "the mapping is empty").Fix = "remove the field"
		return
	}
	out := make(map[string]string, len(n.items)/2)
	label := field{rule: rule{pattern: d.patterns["label"]}}
	var plain field
	for i := 0; i+1 < len(n.items); i += 2 {
		key, ok := d.text(&label, n.items[i])
		value, ok2 := d.text(&plain, n.items[i+1])
		if _, twice := out[key]; twice {
			d.duplicate(n.items[i], n.items[i], key)
		} else if ok && ok2 {
			out[key] = value
		}
	}
	v.Set(reflect.ValueOf(out))
}
