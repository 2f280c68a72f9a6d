package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/space"
)

// patternsModule generates package charter.patterns: the sets metric and node
// of the globs that match the question, one rule per glob.
func patternsModule(c *charter.Charter, t *tables) ([]byte, error) {
	w := &moduleWriter{}
	w.printf("# METADATA\n# title: Patterns\n# description: %s\n", quote("Generated from charter "+c.Metadata.Name+"; do not edit."))
	w.printf("package charter.patterns\n")
	titles := clauseTitles(c)
	metrics := map[string]note{}
	for pattern, row := range t.Patterns {
		metrics[pattern] = note{clauses: slices.Sorted(maps.Keys(row.Clauses)), forbidden: slices.Sorted(maps.Keys(row.Forbidden))}
	}
	if err := w.set("metric", "Globs that match the metric", metrics, titles); err != nil {
		return nil, err
	}
	if err := w.set("node", "Globs that match the node", t.nodeGlobs(), titles); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// note says whose glob it is.
type note struct{ clauses, forbidden []string }

func clauseTitles(c *charter.Charter) map[string]string {
	titles := map[string]string{}
	for _, clause := range c.AllClauses() {
		titles[clause.ID] = clause.Description
	}
	for i := range c.Forbidden {
		titles[c.Forbidden[i].ID] = c.Forbidden[i].Description
	}
	return titles
}

// nodeGlobs collects the globs of all selectors and groups.
func (t *tables) nodeGlobs() map[string]note {
	globs := map[string]note{}
	collect := func(s set) {
		for glob := range s {
			globs[glob] = note{}
		}
	}
	for _, row := range t.Clauses {
		collect(row.Nodes.Globs)
	}
	for _, row := range t.Limits {
		collect(row.Nodes.Globs)
	}
	for _, waivers := range t.Waivers {
		for _, row := range waivers {
			collect(row.Nodes.Globs)
		}
	}
	for _, row := range t.Groups {
		collect(row.Globs)
	}
	return globs
}

type moduleWriter struct{ bytes.Buffer }

func (w *moduleWriter) printf(format string, args ...any) {
	fmt.Fprintf(&w.Buffer, format, args...)
}

// set writes the rules of one set. Globs with a literal prefix are found by the
// rule index; the others are tried only when a regular expression over their
// longest literals says that one of them can match.
func (w *moduleWriter) set(name, title string, globs map[string]note, titles map[string]string) error {
	if len(globs) == 0 {
		w.printf("\n# METADATA\n# title: %s\n%s := set()\n", title, name)
		return nil
	}
	var floating []space.Glob
	for _, pattern := range slices.Sorted(maps.Keys(globs)) {
		glob, err := space.ParseGlob(pattern)
		if err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if glob.Prefix() == "" {
			floating = append(floating, glob)
			continue
		}
		w.rule(name, "input."+name, glob, globs[pattern], titles)
	}
	if len(floating) == 0 {
		return nil
	}
	w.printf("\n# METADATA\n# title: %s, those without a literal prefix\n", title)
	w.printf("%s contains glob if {\n\tregex.match(%s, input.%s)\n\tsome glob in %s_floating\n}\n", name, guard(floating), name, name)
	for _, glob := range floating {
		w.rule(name+"_floating", "input."+name, glob, globs[glob.String()], titles)
	}
	return nil
}

// guard is a regular expression that matches whenever one of the globs can.
func guard(globs []space.Glob) string {
	literals := set{}
	for _, glob := range globs {
		literals[regexp.QuoteMeta(glob.Longest())] = true
	}
	return quote(strings.Join(slices.Sorted(maps.Keys(literals)), "|"))
}

func (w *moduleWriter) rule(set, subject string, glob space.Glob, whose note, titles map[string]string) {
	w.printf("\n# METADATA\n# title: %s\n", quote(title(glob, whose, titles)))
	if len(whose.clauses)+len(whose.forbidden) > 0 {
		w.printf("# custom:\n")
	}
	if len(whose.clauses) > 0 {
		w.printf("#   clauses: %s\n", quoteList(whose.clauses))
	}
	if len(whose.forbidden) > 0 {
		w.printf("#   forbidden: %s\n", quoteList(whose.forbidden))
	}
	body := body(glob, subject)
	if len(body) == 1 {
		w.printf("%s contains %s if %s\n", set, quote(glob.String()), body[0])
		return
	}
	w.printf("%s contains %s if {\n\t%s\n}\n", set, quote(glob.String()), strings.Join(body, "\n\t"))
}

func title(glob space.Glob, whose note, titles map[string]string) string {
	for _, id := range slices.Concat(whose.forbidden, whose.clauses) {
		if titles[id] != "" {
			return titles[id]
		}
	}
	return glob.String()
}

// body is the conditions under which a glob matches: string comparisons where
// they say it all, glob.match behind them where they do not. The delimiters of
// glob.match are null, for an empty array makes it treat dots as separators.
func body(glob space.Glob, subject string) []string {
	segments := strings.Split(glob.String(), "*")
	first, last := segments[0], segments[len(segments)-1]
	var conditions []string
	if first != "" {
		conditions = append(conditions, fmt.Sprintf("startswith(%s, %s)", subject, quote(first)))
	}
	if len(segments) == 2 {
		if last != "" {
			conditions = append(conditions, fmt.Sprintf("endswith(%s, %s)", subject, quote(last)))
		}
		if first != "" && last != "" {
			conditions = append(conditions, fmt.Sprintf("count(%s) >= %d", subject, utf8.RuneCountInString(first+last)))
		}
		if first == "" && last == "" {
			conditions = append(conditions, subject+` != ""`)
		}
		return conditions
	}
	if len(segments) == 3 && first == "" && last == "" {
		return []string{fmt.Sprintf("contains(%s, %s)", subject, quote(segments[1]))}
	}
	if first == "" {
		conditions = append(conditions, fmt.Sprintf("contains(%s, %s)", subject, quote(glob.Longest())))
	}
	return append(conditions, fmt.Sprintf("glob.match(%s, null, %s)", quote(glob.String()), subject))
}

// quote writes a JSON string, which is also a Rego string and a YAML scalar.
func quote(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func quoteList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
