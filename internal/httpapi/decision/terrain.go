package decisionapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/space"
)

// terrain divides all metric names into the exact names of a charter and regions
// of names that it cannot tell apart: decided for one name of a region, the
// answer holds for all of them. It is made once per charter and not changed.
type terrain struct {
	of      *charter.Charter
	names   []string // sorted
	globs   []region // most specific first
	banned  []region // names that one forbidden pattern matches, and no other
	outside region   // names that nothing matches
}

// region is the names that match a pattern and nothing of greater precedence.
type region struct {
	match string
	// witness is a name of the region; "" when there is none.
	witness string
	// exact says that the witness, or that there is none, speaks for all names of
	// the region.
	exact bool
}

// survey makes the terrain of a charter.
func survey(c *charter.Charter) (*terrain, error) {
	t := &terrain{of: c}
	var patterns []string
	owners := map[string][]string{}
	for _, clause := range c.AllClauses() {
		patterns = append(patterns, clause.Match...)
		for _, p := range clause.Match {
			owners[p] = append(owners[p], clause.ID)
		}
	}
	names, globs, err := divide(patterns)
	if err != nil {
		return nil, err
	}
	patterns = nil
	enforced := map[string]bool{}
	for i := range c.Forbidden {
		patterns = append(patterns, c.Forbidden[i].Match...)
		for _, p := range c.Forbidden[i].Match {
			enforced[p] = enforced[p] || enforces(c, &c.Forbidden[i])
		}
	}
	forbidden, banned, err := divide(patterns)
	if err != nil {
		return nil, err
	}
	t.names = slices.Compact(slices.Sorted(slices.Values(slices.Concat(names, forbidden))))
	for i, g := range globs {
		t.globs = append(t.globs, t.regionOf(g, slices.Concat(globs[:i], equals(globs[i+1:], g), banned)))
		rivals := func(o space.Glob) bool { return !slices.Equal(owners[o.String()], owners[g.String()]) && meet(o, g) }
		if slices.ContainsFunc(equals(globs, g), rivals) {
			t.globs[i].exact = false // names of both belong to either clause
		}
	}
	for _, g := range banned {
		r := t.regionOf(g, except(banned, g))
		r.exact = enforced[r.match]
		t.banned = append(t.banned, r)
	}
	anything, err := space.ParseGlob("*")
	if err != nil {
		return nil, err
	}
	t.outside = t.regionOf(anything, slices.Concat(globs, banned))
	return t, nil
}

// enforces reports whether an entry denies whatever else holds. In warn or shadow
// mode the rest of the charter decides, differently for every name.
func enforces(c *charter.Charter, f *charter.Forbidden) bool {
	mode := cmp.Or(f.Mode, c.Enforcement.Mode, decision.Enforce)
	return f.Protected || mode == decision.Enforce
}

// divide sorts patterns into exact names and globs, the latter most specific
// first, each once.
func divide(patterns []string) (names []string, globs []space.Glob, err error) {
	for _, p := range slices.Compact(slices.Sorted(slices.Values(patterns))) {
		g, err := space.ParseGlob(p)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("pattern of the charter: %w", err)
		case g.Exact():
			names = append(names, p)
		default:
			globs = append(globs, g)
		}
	}
	slices.SortStableFunc(globs, func(a, b space.Glob) int { return cmp.Compare(b.Rank(), a.Rank()) })
	return names, globs, nil
}

// equals returns the globs of the same rank as g: neither goes before the other.
func equals(globs []space.Glob, g space.Glob) []space.Glob {
	var same []space.Glob
	for _, o := range globs {
		if o.Rank() == g.Rank() {
			same = append(same, o)
		}
	}
	return same
}

func except(globs []space.Glob, g space.Glob) []space.Glob {
	return slices.DeleteFunc(slices.Clone(globs), func(o space.Glob) bool { return o.String() == g.String() })
}

func meet(a, b space.Glob) bool {
	if apart(a, b) {
		return false
	}
	_, verdict := space.Witness([]space.Glob{a, b}, nil)
	return verdict != space.Empty
}

// apart reports whether the prefixes alone show that no name matches both.
func apart(a, b space.Glob) bool {
	return !strings.HasPrefix(a.Prefix(), b.Prefix()) && !strings.HasPrefix(b.Prefix(), a.Prefix())
}

// maxTries bounds the search for a witness that is not an exact name.
const maxTries = 32

// regionOf looks for a name that g matches, none of others matches, and that the
// charter does not name exactly.
func (t *terrain) regionOf(g space.Glob, others []space.Glob) region {
	r := region{match: g.String()}
	none := slices.DeleteFunc(slices.Clone(others), func(o space.Glob) bool { return apart(o, g) })
	for range maxTries {
		name, verdict := space.Witness([]space.Glob{g}, none)
		switch verdict {
		case space.Empty:
			r.exact = true // what is left are exact names, if anything
			return r
		case space.Unknown:
			return r
		}
		if _, named := slices.BinarySearch(t.names, name); !named {
			r.witness, r.exact = name, true
			return r
		}
		other, err := space.ParseGlob(name)
		if err != nil {
			return r
		}
		none = append(none, other)
	}
	return r
}

// surveyor keeps the terrain of the active charter.
type surveyor struct {
	mu   sync.Mutex
	last *terrain // guarded by mu
}

// terrain returns the terrain of a charter. Callers wait for one another: all of
// them want the same.
func (s *surveyor) terrain(c *charter.Charter) (*terrain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.last.of == c {
		return s.last, nil
	}
	t, err := survey(c)
	if err == nil {
		s.last = t
	}
	return t, err
}
