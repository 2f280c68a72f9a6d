package compile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/space"
)

// everywhere is the group of all nodes. No group of a charter can have its name,
// which is the only one it lists.
const everywhere = "*"

// summarize fills in what follows from the rest of the tables: what the rules of
// data.charter.plain need to know at once.
func (t *tables) summarize() error {
	t.Groups[everywhere] = groupRow{Exact: set{everywhere: true}}
	for id, row := range t.Clauses {
		if len(t.Waivers[id]) == 0 {
			row.Where = row.Nodes.where()
			t.Clauses[id] = row
		}
	}
	for _, row := range t.Exact {
		if len(row.Clauses) == 1 {
			row.Only = slices.Collect(maps.Keys(row.Clauses))[0]
		}
	}
	for _, row := range t.Patterns {
		if len(row.Clauses) == 1 {
			row.Only = slices.Collect(maps.Keys(row.Clauses))[0]
		}
		row.Free = len(row.Forbidden) == 0
	}
	if err := t.free(); err != nil {
		return err
	}
	spoken, err := t.spoken()
	t.Labels.Spoken = spoken
	return err
}

// where is the groups that a selector stands for; nil when it lists anything else.
func (s selector) where() set {
	switch {
	case s.Any:
		return set{everywhere: true}
	case len(s.Exact)+len(s.Globs) == 0:
		return s.Groups
	default:
		return nil
	}
}

// free marks the exact names that nothing forbids.
func (t *tables) free() error {
	var globs []space.Glob
	for pattern, row := range t.Patterns {
		if row.Free {
			continue
		}
		glob, err := space.ParseGlob(pattern)
		if err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
		globs = append(globs, glob)
	}
	forbidden := space.NewIndex(globs)
	for name, row := range t.Exact {
		row.Free = len(row.Forbidden) == 0
		forbidden.Match(name, func(int) bool {
			row.Free = false
			return false
		})
	}
	return nil
}

// spoken is a regular expression for label names, joined by line ends, that
// matches whenever an entry of the charter speaks of one of them.
func (t *tables) spoken() (string, error) {
	patterns := set{}
	for label := range t.Labels.Exact {
		patterns[label] = true
	}
	for _, globs := range t.Labels.Prefixes {
		for pattern := range globs {
			patterns[pattern] = true
		}
	}
	for _, row := range t.Clauses {
		for label := range row.Forbid {
			patterns[label] = true
		}
	}
	var alternatives []string
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		glob, err := space.ParseGlob(pattern)
		if err != nil {
			return "", fmt.Errorf("label %q: %w", pattern, err)
		}
		alternatives = append(alternatives, expression(glob))
	}
	if len(alternatives) == 0 {
		return `[^\s\S]`, nil // nothing matches it
	}
	return strings.Join(alternatives, "|"), nil
}

// expression matches a text of lines when the glob matches one of them.
func expression(glob space.Glob) string {
	segments := strings.Split(glob.String(), "*")
	for i, segment := range segments {
		segments[i] = regexp.QuoteMeta(segment)
	}
	last := len(segments) - 1
	if segments[0] != "" {
		segments[0] = `(?:^|\n)` + segments[0]
	}
	if segments[last] != "" {
		segments[last] += `(?:\n|$)`
	}
	const any = `(?s:.*)`
	return strings.TrimPrefix(strings.TrimSuffix(strings.Join(segments, any), any), any)
}
