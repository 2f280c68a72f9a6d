package plan_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// A writer draws modules of package t whose rule p0 asks everything else. Names are few,
// so that everything meets everything else. A rule refers to later ones alone: Rego has no
// recursion. Not every module compiles; those that do not are not counted.
type writer struct {
	t     *rapid.T
	rules int
	next  int // number of the next rule, what bodies may refer to
	vars  []string
	fresh int
	v2    bool
	depth int
	leaf  bool // whether what is drawn may not refer to functions and sets
}

var (
	someKeys     = []string{"a", "b", "ab", "1", "s", "ü"}
	somePrefixes = []string{"", "a", "ab", "abc", "abcd", "b", "ba", "ü", "üb", "1", "ab*", "a\\u0000"}
	someTexts    = []string{"", "a", "ab", "abc", "abcd", "abcde", "b", "bab", "ü", "über", "1", "0", "u"}
)

func (w *writer) pick(from ...string) string { return rapid.SampledFrom(from).Draw(w.t, "pick") }

func (w *writer) upTo(n int) int { return rapid.IntRange(0, n).Draw(w.t, "n") }

// one says yes in one of n cases.
func (w *writer) one(n int) bool { return w.upTo(n-1) == n-1 }

func (w *writer) key() string { return w.pick(someKeys...) }

// field is a key as a reference has it.
func (w *writer) field() string { return fmt.Sprintf("[%q]", w.key()) }

// drawModule draws a module and the query for it.
func drawModule(t *rapid.T) (module, query string) {
	w := &writer{t: t, rules: rapid.IntRange(1, 4).Draw(t, "rules"), v2: rapid.IntRange(0, 3).Draw(t, "v2") == 3}
	var b strings.Builder
	b.WriteString("package t\n\n")
	if w.v2 {
		b.WriteString("import rego.v2\n\n")
	}
	for i := range w.rules {
		w.next = i + 1
		w.rule(&b, fmt.Sprintf("p%d", i))
	}
	w.next, w.leaf = w.rules, true
	w.function(&b, "f")
	w.function(&b, "g")
	w.tree(&b)
	w.prefixed(&b, "many")
	query = w.pick("x = data.t.p0", "x = data.t.p0", "x = data.t.p0", "x = data.t", "x = data", "x = data.t.tree", "x = data.t.p0[_]", "x = data.t[_]")
	return b.String(), query
}

// drawJSON draws a value as JSON has it.
func drawJSON(t *rapid.T, depth int) any {
	n := 8
	if depth == 0 {
		n = 5
	}
	switch rapid.IntRange(0, n).Draw(t, "value") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2, 3:
		return number(rapid.SampledFrom([]string{"0", "1", "1.0", "2", "-1", "1e2", "100000000000000000000"}).Draw(t, "number"))
	case 4, 5:
		return rapid.SampledFrom(someTexts).Draw(t, "text")
	case 6:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, drawJSON(t, depth-1))
		}
		return list
	default:
		return drawObject(t, depth)
	}
}

func drawObject(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "size") {
		object[rapid.SampledFrom(someKeys).Draw(t, "key")] = drawJSON(t, depth-1)
	}
	return object
}

// scoped runs draw with variables that are forgotten after it.
func (w *writer) scoped(draw func()) {
	known := len(w.vars)
	w.depth++
	draw()
	w.depth--
	w.vars = w.vars[:known:known]
}

func (w *writer) newVar() string {
	w.fresh++
	return fmt.Sprintf("v%d", w.fresh)
}

func (w *writer) scalar() string {
	return w.pick("null", "true", "false", "0", "1", "1.0", "2", "-1", `""`, `"a"`, `"ab"`, `"abc"`, `"1"`, `"b"`, `"ü"`)
}

// constants are in the data, where the compiler knows no type of them.
var constants = map[string]any{
	"n": nil, "t": true, "f": false, "zero": number("0"), "one": number("1"), "two": number("2.0"), "e": "", "a": "a", "ab": "ab", "s": "1", "ue": "ü",
	"list": []any{"a", number("1"), "ab"}, "object": map[string]any{"a": number("1"), "b": map[string]any{"ab": "a"}}, "none": []any{}, "empty": map[string]any{},
}

// loose is a constant of unknown type.
func (w *writer) loose() string {
	return "data.c." + w.pick("n", "t", "f", "zero", "one", "two", "e", "a", "ab", "s", "ue", "list", "object", "none", "empty")
}

func (w *writer) variable() string {
	if len(w.vars) == 0 {
		return w.loose()
	}
	return rapid.SampledFrom(w.vars).Draw(w.t, "variable")
}

func (w *writer) ref() string {
	heads := []string{"input", "input" + w.field(), "data.d" + w.field(), "data.d", "data.t.tree" + w.field(), "data.t.tree", "data.d", "input"}
	for i := w.next; i < w.rules; i++ {
		heads = append(heads, fmt.Sprintf("p%d", i), fmt.Sprintf("data.t.p%d", i), fmt.Sprintf("p%d", i))
	}
	if !w.leaf && w.one(12) {
		return "many"
	}
	ref := w.pick(heads...)
	typed := !strings.HasPrefix(ref, "input") && !strings.HasPrefix(ref, "data.d")
	for range w.upTo(2) {
		switch n := w.upTo(7); {
		case n == 0 && !typed:
			ref += "[" + w.scalar() + "]"
		case n <= 3 || typed && n <= 6:
			ref += "[" + w.variable() + "]"
		default:
			ref += w.field()
		}
	}
	return ref
}

func (w *writer) terms(n int) string {
	list := make([]string, w.upTo(n))
	for i := range list {
		list[i] = w.term()
	}
	return strings.Join(list, ", ")
}

func (w *writer) term() (text string) {
	if w.depth > 2 {
		return w.variable()
	}
	w.scoped(func() {
		switch w.upTo(15) {
		case 0:
			text = w.scalar()
		case 1:
			text = w.loose()
		case 2, 3, 4:
			text = w.variable()
		case 5, 6, 7, 8:
			text = w.ref()
		case 9:
			text = "[" + w.terms(3) + "]"
		case 10:
			text = "{" + w.scalar() + ": " + w.term() + ", " + w.variable() + ": " + w.term() + "}"
		case 11:
			if text = "{" + w.terms(3) + "}"; text == "{}" {
				text = "set()"
			}
		case 12, 13:
			text = w.call()
		default:
			body := w.body(2)
			switch w.upTo(2) {
			case 0:
				text = "[" + w.term() + " | " + body + "]"
			case 1:
				text = "{" + w.term() + " | " + body + "}"
			default:
				text = "{" + w.variable() + ": " + w.term() + " | " + body + "}"
			}
		}
	})
	return text
}

// open is a term of which the compiler mostly knows no type.
func (w *writer) open() string {
	switch w.upTo(5) {
	case 0:
		return w.term()
	case 1:
		return w.loose()
	default:
		return w.ref()
	}
}

func (w *writer) call() string {
	n := w.upTo(13)
	if w.leaf && (n == 3 || n == 4) {
		n = 0
	}
	switch n {
	case 0:
		return "count(" + w.open() + ")"
	case 1:
		return "startswith(" + w.open() + ", " + w.open() + ")"
	case 2:
		return "object.get(" + w.open() + ", " + w.open() + ", " + w.open() + ")"
	case 3:
		return "f(" + w.open() + ")"
	case 4:
		return "g(" + w.open() + ")"
	case 5:
		return "object.union(" + w.open() + ", " + w.open() + ")"
	case 6:
		return "sort(" + w.open() + ")"
	case 7:
		return "(" + w.open() + w.pick(" | ", " & ", " - ", " + ", " * ", " / ") + w.open() + ")"
	case 8:
		return `sprintf("%v-%v", [` + w.open() + ", " + w.open() + "])"
	case 9:
		return w.pick("is_string", "is_object", "is_set", "is_number", "to_number", "type_name", "sum", "max", "object.keys") + "(" + w.open() + ")"
	case 10:
		return "glob.match(" + w.pick(`"a*"`, `"*b"`, w.open()) + ", null, " + w.open() + ")"
	case 11:
		return "concat(" + w.pick(`"."`, w.open()) + ", " + w.open() + ")"
	case 12:
		return "(" + w.open() + " in " + w.open() + ")"
	default:
		return "time.parse_rfc3339_ns(" + w.open() + ")"
	}
}

func (w *writer) body(n int) string {
	list := make([]string, 1+w.upTo(n))
	for i := range list {
		list[i] = w.literal()
	}
	return strings.Join(list, "; ")
}

func (w *writer) literal() string {
	with := ""
	if w.one(5) {
		for range 1 + w.upTo(1) {
			with += " with " + w.replaced()
		}
	}
	text := w.plain()
	if strings.HasPrefix(text, "some ") {
		return text
	}
	return text + with
}

func (w *writer) replaced() string {
	switch w.upTo(9) {
	case 0, 1:
		return "input as " + w.term()
	case 2, 3:
		return "input" + w.field() + " as " + w.term()
	case 4:
		return "input" + w.field() + w.field() + " as " + w.term()
	case 5:
		return "data.d as " + w.term()
	case 6:
		return "data.d" + w.field() + " as " + w.term()
	case 7:
		return w.pick("count as f", "f as g", "f as count", "g as "+w.term(), "count as "+w.term())
	default:
		if w.next < w.rules {
			return fmt.Sprintf("data.t.p%d as %s", w.next+w.upTo(w.rules-w.next-1), w.term())
		}
		return "data.t.tree" + w.field() + " as " + w.term()
	}
}

func (w *writer) plain() string {
	switch w.upTo(17) {
	case 0:
		return w.pick(w.ref(), w.ref(), w.variable(), w.scalar())
	case 1:
		return w.call()
	case 2:
		return w.open() + w.pick(" == ", " != ", " < ", " >= ") + w.term()
	case 3, 4, 5:
		term, v := w.open(), w.newVar()
		w.vars = append(w.vars, v)
		return v + " := " + term
	case 6, 7:
		term, k, v := w.open(), w.newVar(), w.newVar()
		w.vars = append(w.vars, k, v)
		return "some " + k + ", " + v + " in " + term
	case 8:
		ref, k := w.ref(), w.newVar()
		w.vars = append(w.vars, k)
		return "some " + k + "; " + ref + "[" + k + "]"
	case 9:
		term, a, b := w.ref(), w.newVar(), w.newVar()
		w.vars = append(w.vars, a, b)
		return w.pick("["+a+", "+b+"]", `{"a": `+a+`, "b": `+b+"}", "["+a+", ["+b+"]]") + " := " + term
	case 10, 11, 12:
		return w.negation()
	case 13:
		return w.every()
	case 14:
		term, a, b := w.term(), w.newVar(), w.newVar()
		w.vars = append(w.vars, a, b)
		return "walk(" + term + ", [" + a + ", " + b + "])"
	case 15:
		return "startswith(" + w.pick("input.s", w.ref()) + ", " + w.pick(`"a"`, `"ab"`, w.ref()) + ")"
	case 16:
		if w.v2 {
			return "(" + w.ref() + w.pick(" or ", " and ") + w.ref() + ")"
		}
		return w.ref() + " == [" + w.variable() + ", " + w.term() + "]"
	default:
		return w.ref() + "[_]" + w.pick("", " == "+w.term())
	}
}

func (w *writer) negation() (text string) {
	w.scoped(func() {
		if w.v2 && w.one(2) {
			text = "not { " + w.body(2) + " }"
			return
		}
		switch w.upTo(4) {
		case 0:
			text = "not " + w.open() + " == " + w.term()
		case 1:
			text = "not " + w.call()
		default:
			text = "not " + w.ref()
		}
	})
	return text
}

func (w *writer) every() (text string) {
	domain := w.open()
	w.scoped(func() {
		k, v := w.newVar(), w.newVar()
		w.vars = append(w.vars, k, v)
		text = "every " + k + ", " + v + " in " + domain + " { " + w.body(1) + "; " + k + " != 7; " + v + " != 7 }"
	})
	return text
}
