package charter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// sameTree compares what a reader of charters can see of two trees.
func sameTree(a, b *node) error {
	if a.kind != b.kind || a.kind == scalarNode && (a.tag != b.tag || a.text != b.text) || a.line != b.line || a.col != b.col {
		return fmt.Errorf("%d:%d kind %d tag %d %q, want %d:%d kind %d tag %d %q",
			a.line, a.col, a.kind, a.tag, a.text, b.line, b.col, b.kind, b.tag, b.text)
	}
	if len(a.items) != len(b.items) {
		return fmt.Errorf("%d:%d has %d children, want %d", a.line, a.col, len(a.items), len(b.items))
	}
	for i := range a.items {
		if err := sameTree(a.items[i], b.items[i]); err != nil {
			return err
		}
	}
	return nil
}

// comparePlain fails when the plain reader accepts text that the YAML library
// refuses or reads otherwise: reviewers and nodes would see two charters.
func comparePlain(t *testing.T, data []byte) (accepted bool) {
	t.Helper()
	var list diag.List
	text, ok := checkText("f", data, &list)
	if !ok || bytes.ContainsAny(text, "\t\r") {
		return false
	}
	got, ok := parsePlain(text, DefaultLimits())
	if !ok {
		return false
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := yamldoc.Next(dec)
	if err != nil {
		t.Fatalf("accepted what the library refuses: %v\n%s", err, text)
	}
	if _, err := yamldoc.Next(dec); err == nil {
		t.Fatalf("accepted two documents\n%s", text)
	}
	in := inspector{lim: DefaultLimits(), list: &list, cols: newColumns(text)}
	want, _ := in.tree(doc.Content[0], 1)
	if list.HasErrors() {
		t.Fatalf("accepted what the limits refuse: %v\n%s", list, text)
	}
	if err := sameTree(got, want); err != nil {
		t.Fatalf("read otherwise than by the library: %v\n%s", err, text)
	}
	return true
}

func FuzzPlain(f *testing.F) {
	for _, seed := range append(seeds(f), plainSeeds()...) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) { comparePlain(t, data) })
}

func plainSeeds() [][]byte {
	var out [][]byte
	for _, s := range []string{
		"a: b\n", "a: b # c\nd:\n- x\n- y: z\n  w: 1\n", "a: {b: c, d: [e, 'f', \"g\",\n h ]}\n", "a:\n  - - b\n", "a: b\n  c\n",
		"a: 1\nb: 0x10\nc: 2026-01-01\nd: ~\ne: null\nf: .5\ng: y\n", "a: [b:c, d: e]\n", "a: https://x/y#z\n", "a: é # é\nb: {é: é}\n",
		"a:\n# c\n  b: c\n   # d\n  e: f\n", "- a\n", "a: [\n]\n", "a: {}\nb: []\n", "a: {\n---\n}\n", "a: b\n---\nc: d\n", "a: 'it''s'\n", "a: \"x\\ny\"\n",
		"a: [b, # c\n  d]\n", "a: [b,\n# c\n  d]\n", "a:    b   \n\n\n  \nb: c", "<<: b\n", "a: &x b\n", "a: b: c\n", "a: b #c\n #d\nc: d\n", "true: b\n",
		"a:\n  b:\n  - c\n  d: e\n", "a:\n- b\nc: d\n", "a: -1\n", "a: (x)\n", "a: x,y\n", "a: {b: x?, c: d}\n", "a: b:\n",
	} {
		out = append(out, []byte(s))
	}
	return out
}

// seeds are the charters of the repository.
func seeds(tb testing.TB) [][]byte {
	tb.Helper()
	files, err := filepath.Glob("../../policies/*/charter.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// Charters as people write them must take the fast way, or validation is slow
// and nobody knows why.
func TestPlainAcceptsCharters(t *testing.T) {
	for i, data := range append(seeds(t), largeCharter(10)) {
		if !comparePlain(t, data) {
			t.Errorf("charter %d is not read by the plain reader", i)
		}
	}
}

// mutate changes text the way editors and slips do.
func mutate(r *rand.Rand, data []byte) []byte {
	out := slices.Clone(data)
	bits := []string{
		" ", "  ", "\n", "\n\n", ":", ": ", "#", " #", "# x\n", "- ", "-", "[", "]", "{", "}", ",", "'", "\"", "a", "a: b\n", "*", "&a ", "!", "|", ">", "?", "? ", "~",
		"1", ".", "---\n", "...\n", "%", "é", "null", "\\", "\t", "\r\n", "<<: a\n", "- b\n", "  - c\n", ":\n", ": |\n", ": >-\n", "      x\n",
	}
	for range 1 + r.IntN(4) {
		at := r.IntN(len(out) + 1)
		switch r.IntN(6) {
		case 0, 1:
			out = slices.Insert(out, at, []byte(bits[r.IntN(len(bits))])...)
		case 2:
			out = slices.Delete(out, at, min(len(out), at+1+r.IntN(3)))
		case 3: // drop or repeat a line, or change its indent
			lines := bytes.SplitAfter(out, []byte("\n"))
			i := r.IntN(len(lines))
			switch r.IntN(3) {
			case 0:
				lines = slices.Delete(lines, i, i+1)
			case 1:
				lines = slices.Insert(lines, i, lines[r.IntN(len(lines))])
			default:
				lines[i] = append([]byte(strings.Repeat(" ", r.IntN(4))), bytes.TrimLeft(lines[i], " ")...)
			}
			out = bytes.Join(lines, nil)
		case 4:
			if at < len(out) {
				out[at] = bits[r.IntN(len(bits))][0]
			}
		case 5:
			end := min(len(out), at+r.IntN(20))
			out = slices.Insert(out, r.IntN(len(out)+1), slices.Clone(out[at:end])...)
		}
	}
	return out
}

// newRand is a source that repeats itself, so that failures do; the environment
// variable CHARTER_SEED changes it.
func newRand() *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("CHARTER_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	return rand.New(rand.NewPCG(seed, 1))
}

func TestPlainAgreesOnMutations(t *testing.T) {
	rounds := 4000
	if s := os.Getenv("CHARTER_MUTATIONS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	r := newRand()
	all := plainSeeds()
	for _, data := range seeds(t) {
		lines := bytes.SplitAfter(data, []byte("\n"))
		for i := 0; i+12 < len(lines); i += 12 { // pieces with the root mapping's indent
			all = append(all, append([]byte("root:\n"), bytes.Join(lines[i:i+12], nil)...))
		}
		all = append(all, data)
	}
	accepted := 0
	for range rounds {
		if comparePlain(t, mutate(r, all[r.IntN(len(all))])) {
			accepted++
		}
	}
	if accepted < rounds/20 {
		t.Errorf("only %d of %d texts were read by the plain reader: the comparison says little", accepted, rounds)
	}
}
