package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

func number(text string) json.Number { return json.Number(text) }

// rule writes one rule of any kind, of one to three bodies.
func (w *writer) rule(b *strings.Builder, name string) {
	kind := w.upTo(6)
	if kind <= 1 && w.one(2) {
		fmt.Fprintf(b, "default %s := %s\n\n", name, w.scalar())
	}
	for range 1 + w.upTo(2) {
		w.scoped(func() {
			body := w.body(3)
			switch kind {
			case 0:
				fmt.Fprintf(b, "%s := %s if { %s }", name, w.pick("1", "true", `"a"`, w.term()), body)
			case 1:
				fmt.Fprintf(b, "%s := %s if { %s }", name, w.term(), body)
				w.vars = nil
				for range w.upTo(2) {
					w.scoped(func() { fmt.Fprintf(b, " else := %s if { %s }", w.loose(), w.body(2)) })
				}
				if w.one(2) {
					fmt.Fprintf(b, " else := %s", w.loose())
				}
			case 2, 3:
				fmt.Fprintf(b, "%s contains %s if { %s }", name, w.term(), body)
			case 4:
				fmt.Fprintf(b, "%s[%s] := %s if { %s }", name, w.pick(`"a"`, w.variable()), w.term(), body)
			case 5:
				fmt.Fprintf(b, "%s.%s[%s] := %s if { %s }", name, w.pick("a", "b"), w.variable(), w.term(), body)
			default:
				fmt.Fprintf(b, "%s[%s] contains %s if { %s }", name, w.pick(`"a"`, w.variable()), w.term(), body)
			}
			b.WriteString("\n\n")
		})
	}
}

func (w *writer) function(b *strings.Builder, name string) {
	if w.one(3) {
		fmt.Fprintf(b, "default %s(_) := %s\n\n", name, w.scalar())
	}
	for range 1 + w.upTo(2) {
		w.scoped(func() {
			a := w.newVar()
			arg := w.pick(a, a, "["+a+", _]", `{"a": `+a+"}", w.scalar())
			if strings.Contains(arg, a) {
				w.vars = append(w.vars, a)
			}
			// A body that calls f or g does not compile; many do not.
			fmt.Fprintf(b, "%s(%s) := %s if { %s }\n\n", name, arg, w.pick("true", "1", w.variable()), w.body(1))
		})
	}
}

// tree writes rules that dynamic references meet. OPA's planner overlooks rules deeper down
// where others have variables in their heads, so there are either of them.
func (w *writer) tree(b *strings.Builder) {
	deep := w.one(2)
	for _, key := range []string{"a", "b", "ab"} {
		w.scoped(func() {
			w.depth++
			kind := w.upTo(5)
			if kind == 3 && !deep || kind == 4 && deep {
				kind = 1
			}
			switch kind {
			case 0:
			case 1:
				fmt.Fprintf(b, "tree.%s := %s\n\n", key, w.loose())
			case 2:
				fmt.Fprintf(b, "tree.%s := {%q: %s, %q: input.a}\n\n", key, w.key(), w.loose(), w.key())
			case 3:
				fmt.Fprintf(b, "tree.%s.a := input%s\n\ntree.%s.b.ab := data.d%s\n\n", key, w.field(), key, w.field())
			case 4:
				fmt.Fprintf(b, "tree.%s[k] := v if some k, v in input%s\n\n", key, w.field())
			default:
				fmt.Fprintf(b, "tree.%s contains k if some k, _ in data.d%s\n\n", key, w.field())
			}
			w.depth--
		})
	}
}

// prefixed writes a set whose bodies ask what a field of the input begins with, in a
// number that is worth an index, or not quite.
func (w *writer) prefixed(b *strings.Builder, name string) {
	field := w.pick("s", "s", "a")
	for range 6 + w.upTo(12) {
		if w.one(12) {
			field = w.pick("s", "a")
		}
		w.scoped(func() {
			key := w.pick(`"x"`, `"y"`, fmt.Sprintf("%d", w.upTo(9)))
			body := fmt.Sprintf(`startswith(input.%s, "%s")`, field, w.pick(somePrefixes...))
			if w.one(6) {
				body += "; " + w.body(1)
				if len(w.vars) > 0 {
					key = w.variable()
				}
			}
			if w.one(15) {
				body = "true; " + body
			}
			fmt.Fprintf(b, "%s contains %s if { %s }\n\n", name, key, body)
		})
	}
}
