package yamldoc

import (
	"fmt"
	"testing"
)

func TestRoot(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: b\n", "!!map 1:1"},
		{"\n- a\n", "!!seq 2:1"},
		{"--- x\n...\n", "!!str 1:5"},
		{"", "nothing"},
		{"# a remark\n", "nothing"},
		{"a: b\n---\nc: d\n", "2:1 a second YAML document begins here"},
		{"a: b: c\n", "1:0 not YAML: mapping values are not allowed in this context"},
		{"log:\n\tlevel: info\n", "2:0 not YAML: found character that cannot start any token"},
		{"\"\"0", "1:0 not YAML: did not find expected <document start>"},
		{"a: *b\n", "1:0 not YAML: unknown anchor 'b' referenced"},
	} {
		root, bad := Root([]byte(c.text))
		got := "nothing"
		if bad != nil {
			got = fmt.Sprintf("%d:%d %s", bad.Line, bad.Col, bad)
		} else if root != nil {
			got = fmt.Sprintf("%s %d:%d", root.ShortTag(), root.Line, root.Column)
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// No input panics, and each error has a place and a reason.
func FuzzRoot(f *testing.F) {
	for _, text := range []string{"a: b", "a: &x [*x]", "\"\"0", "? :\n- ", "---\n---\n", "%YAML 1.1\n---\n!!binary x", "a: [", "\t", "\xff", "&a *a", "0: [:!00 \xef"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if root, bad := Root(text); bad != nil && (root != nil || bad.Line < 1 || bad.Col < 0 || bad.Message == "") {
			t.Fatalf("%v, %+v", root, bad)
		}
	})
}
