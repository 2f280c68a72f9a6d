package space

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// Index finds the globs of a set that match a name, or that meet another glob.
// It looks up exact names and literal prefixes by hash, and globs without a
// prefix by three bytes of their longest literal run, so that the cost of a
// question follows the length of the name and the number of answers. It is
// immutable and safe for concurrent use.
type Index struct {
	globs  []Glob
	exact  map[string][]int32
	prefix map[string][]int32
	// lengths are the distinct lengths of the keys of prefix, ascending.
	lengths []int
	// floating are the globs that begin with a star. A gram of a name leads to
	// those that contain it; always are those without a literal to look for.
	floating []int32
	grams    map[gram][]int32
	sizes    [gramBytes + 1]bool // lengths of the keys of grams
	always   []int32
	// ordered is every glob with a prefix, sorted by it.
	ordered func() []int32
}

// gram is up to three bytes and their number.
type gram uint32

func gramOf(s string) gram {
	g := gram(len(s)) << 24
	for i := range len(s) {
		g |= gram(s[i]) << (8 * i)
	}
	return g
}

const gramBytes = 3

// fewFloating is the number of floating globs up to which trying them all is
// cheaper than taking the name apart.
const fewFloating = 12

// NewIndex builds the index of globs. Answers are positions in that slice,
// which the index keeps and nobody may change afterwards.
func NewIndex(globs []Glob) *Index {
	x := &Index{
		globs: globs, exact: make(map[string][]int32, len(globs)),
		prefix: map[string][]int32{}, grams: map[gram][]int32{},
	}
	for i, g := range globs {
		x.add(int32(i), g)
	}
	for p := range x.prefix {
		if !slices.Contains(x.lengths, len(p)) {
			x.lengths = append(x.lengths, len(p))
		}
	}
	slices.Sort(x.lengths)
	x.ordered = sync.OnceValue(x.order)
	return x
}

func (x *Index) add(i int32, g Glob) {
	if g.Exact() {
		x.exact[g.pattern] = append(x.exact[g.pattern], i)
		return
	}
	if g.Prefix() != "" {
		x.prefix[g.Prefix()] = append(x.prefix[g.Prefix()], i)
		return
	}
	x.floating = append(x.floating, i)
	if longest := g.Longest(); longest == "" {
		x.always = append(x.always, i)
	} else {
		n := min(gramBytes, len(longest))
		key := gramOf(longest[:n])
		x.grams[key], x.sizes[n] = append(x.grams[key], i), true
	}
}

func (x *Index) order() []int32 {
	var all []int32
	for i, g := range x.globs {
		if g.Prefix() != "" {
			all = append(all, int32(i))
		}
	}
	slices.SortFunc(all, func(a, b int32) int {
		return strings.Compare(x.globs[a].Prefix(), x.globs[b].Prefix())
	})
	return all
}

// Glob returns the i-th glob of the set.
func (x *Index) Glob(i int) Glob { return x.globs[i] }

// Match calls yield for every glob that matches name, exact ones first and
// otherwise in no particular order, until yield returns false. Asked with the
// text of a glob it finds the globs that this glob lies within.
func (x *Index) Match(name string, yield func(i int) bool) {
	for _, i := range x.exact[name] {
		if !yield(int(i)) {
			return
		}
	}
	matching := func(list []int32) bool {
		for _, i := range list {
			if x.globs[i].Match(name) && !yield(int(i)) {
				return false
			}
		}
		return true
	}
	for _, n := range x.lengths {
		if n > len(name) {
			break
		}
		if !matching(x.prefix[name[:n]]) {
			return
		}
	}
	if len(x.floating) <= fewFloating {
		matching(x.floating)
	} else if matching(x.always) {
		x.eachGram(name, matching)
	}
}

// eachGram visits the floating globs whose gram occurs in name, once each.
func (x *Index) eachGram(name string, visit func([]int32) bool) {
	for n := 1; n <= gramBytes; n++ {
		for at := 0; x.sizes[n] && at+n <= len(name); at++ {
			key := name[at : at+n]
			list := x.grams[gramOf(key)]
			if len(list) == 0 || strings.Contains(name[:at+n-1], key) {
				continue
			}
			if !visit(list) {
				return
			}
		}
	}
}

// Covers reports whether some glob of the set matches everything that g does;
// it is exact: a union of globs covers g only if one of them does.
func (x *Index) Covers(g Glob) bool {
	found := false
	x.Match(g.pattern, func(int) bool { found = true; return false })
	return found
}

// Intersecting calls yield for every glob that has a name in common with g, in
// no particular order, until yield returns false. It looks at the globs whose
// prefix is a prefix of g's or continues it, and at all without a prefix.
func (x *Index) Intersecting(g Glob, yield func(i int) bool) {
	if g.Exact() {
		x.Match(g.pattern, yield)
		return
	}
	meeting := func(list []int32) bool {
		for _, i := range list {
			if Intersects(x.globs[i], g) && !yield(int(i)) {
				return false
			}
		}
		return true
	}
	for _, n := range x.lengths {
		if n >= len(g.Prefix()) {
			break
		}
		if !meeting(x.prefix[g.Prefix()[:n]]) {
			return
		}
	}
	if meeting(x.continuing(g.Prefix())) {
		meeting(x.floating)
	}
}

// continuing returns the globs whose prefix begins with prefix.
func (x *Index) continuing(prefix string) []int32 {
	all := x.ordered()
	from := sort.Search(len(all), func(i int) bool { return x.globs[all[i]].Prefix() >= prefix })
	rest := all[from:]
	to := sort.Search(len(rest), func(i int) bool { return !strings.HasPrefix(x.globs[rest[i]].Prefix(), prefix) })
	return rest[:to]
}
