package exportconfig

import (
	"regexp"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/space"
)

// selector says of every name whether it belongs to some treatments: the first run
// that matches decides, rest decides about what no run matches.
type selector struct {
	runs []run
	rest bool
}

type run struct {
	globs []space.Glob
	in    bool
}

// names is the selector of the treatments that want holds for, without what says
// nothing new.
func (p *Plan) names(want func(treatment int) bool) selector {
	s := selector{rest: want(p.rest)}
	var runs []run // the last one first
	for i := len(p.groups) - 1; i >= 0; i-- {
		r := run{in: want(p.groups[i].treatment)}
		for _, g := range p.groups[i].globs {
			if r.in != s.rest || meets(g, runs, !r.in) {
				r.globs = append(r.globs, g)
			}
		}
		switch last := len(runs) - 1; {
		case len(r.globs) == 0:
		case last >= 0 && runs[last].in == r.in:
			runs[last].globs = slices.Concat(runs[last].globs, r.globs)
		default:
			runs = append(runs, r)
		}
	}
	slices.Reverse(runs)
	s.runs = runs
	return s
}

// meets reports whether a glob has a name in common with a run of that kind.
func meets(g space.Glob, runs []run, in bool) bool {
	return slices.ContainsFunc(runs, func(r run) bool {
		return r.in == in && slices.ContainsFunc(r.globs, func(o space.Glob) bool { return space.Intersects(g, o) })
	})
}

func kept(treatment int) bool { return treatment != denied }

func among(treatments []int) func(int) bool {
	return func(n int) bool { return slices.Contains(treatments, n) }
}

// alternatives is the globs as one RE2 expression without anchors, sorted. Its dots
// must be read with the flag s, or a line feed in a name would hide it.
func alternatives(globs []space.Glob) string {
	var all []string
	for _, g := range globs {
		parts := strings.Split(g.String(), "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		all = append(all, strings.Join(parts, ".*"))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "|")
}

// exactGlobs makes globs of names. Names of labels hold no star.
func exactGlobs(names []string) []space.Glob {
	all := make([]space.Glob, 0, len(names))
	for _, name := range names {
		if g, err := space.ParseGlob(name); err == nil {
			all = append(all, g)
		}
	}
	return all
}
