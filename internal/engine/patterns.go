package engine

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/space"
)

// patterns is the globs of the generated module, which decide which globs match
// a name.
type patterns struct{ metric, node []space.Glob }

// readPatterns reads the generated module and makes sure that each of its rules
// says exactly that its glob matches: what it finds in Go is then what the rules
// find.
func readPatterns(text []byte) (patterns, error) {
	module, err := ast.ParseModuleWithOpts(patternsFile, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return patterns{}, fmt.Errorf("module %s: %w", patternsFile, err)
	}
	if got := module.Package.Path.String(); got != "data."+bundle.Root+".patterns" || len(module.Imports) > 0 {
		return patterns{}, fmt.Errorf("module %s: package or imports are not as generated", patternsFile)
	}
	found := map[string][]space.Glob{}
	defined, guards := map[string]bool{}, map[string][]string{}
	for _, rule := range module.Rules {
		set := rule.Head.Name.String()
		defined[set] = true
		subject := "input." + strings.TrimSuffix(set, floating)
		if subject != "input.metric" && subject != "input.node" || rule.Else != nil || rule.Default || len(rule.Head.Args) > 0 {
			return patterns{}, oddRule(rule)
		}
		if rule.Head.Key == nil { // NAME := set()
			if rule.Head.Value == nil || !rule.Head.Value.Equal(ast.SetTerm()) || countRules(module, set) > 1 {
				return patterns{}, oddRule(rule)
			}
			continue
		}
		if guard, ok := guardOf(rule, set, subject); ok {
			guards[set] = append(guards[set], guard)
			continue
		}
		pattern, ok := rule.Head.Key.Value.(ast.String)
		glob, err := space.ParseGlob(string(pattern))
		if !ok || err != nil || glob.Exact() || !slices.Equal(conditions(rule), expected(glob, subject)) {
			return patterns{}, oddRule(rule)
		}
		found[set] = append(found[set], glob)
	}
	for _, set := range []string{"metric", "node"} {
		if !defined[set] || !slices.Equal(guards[set], guardFor(found[set+floating])) {
			return patterns{}, fmt.Errorf("module %s: set %s is not as generated", patternsFile, set)
		}
	}
	return patterns{
		metric: slices.Concat(found["metric"], found["metric"+floating]),
		node:   slices.Concat(found["node"], found["node"+floating]),
	}, nil
}

// floating ends the names of the sets of globs without a literal prefix.
const floating = "_floating"

func oddRule(rule *ast.Rule) error {
	return fmt.Errorf("module %s:%d: the rule is not as generated", patternsFile, rule.Location.Row)
}

func countRules(module *ast.Module, name string) (n int) {
	for _, rule := range module.Rules {
		if rule.Head.Name.String() == name {
			n++
		}
	}
	return n
}

// guardOf is the regular expression in front of the globs without a prefix.
func guardOf(rule *ast.Rule, set, subject string) (string, bool) {
	if len(rule.Body) != 2 || rule.Head.Key.String() != "glob" || strings.HasSuffix(set, floating) {
		return "", false
	}
	call := rule.Body[0]
	if !call.IsCall() || call.Negated || call.Operator().String() != ast.RegexMatch.Name || len(call.Operands()) != 2 ||
		call.Operand(1).String() != subject || rule.Body[1].String() != "some glob in "+set+floating {
		return "", false
	}
	guard, ok := call.Operand(0).Value.(ast.String)
	return string(guard), ok
}

// guardFor is the one guard that lets through whatever one of the globs
// matches, none without globs.
func guardFor(globs []space.Glob) []string {
	if len(globs) == 0 {
		return nil
	}
	literals := map[string]bool{}
	for _, glob := range globs {
		literals[regexp.QuoteMeta(glob.Longest())] = true
	}
	return []string{strings.Join(slices.Sorted(maps.Keys(literals)), "|")}
}

// conditions writes the body of a rule as text.
func conditions(rule *ast.Rule) []string {
	texts := make([]string, len(rule.Body))
	for i, e := range rule.Body {
		texts[i] = e.String()
	}
	return texts
}

// expected is the conditions that say that a glob matches, those that the
// compiler writes, in the form that OPA prints.
func expected(glob space.Glob, subject string) []string {
	quote := func(s string) string { return ast.String(s).String() }
	segments := strings.Split(glob.String(), "*")
	first, last := segments[0], segments[len(segments)-1]
	var texts []string
	if first != "" {
		texts = append(texts, fmt.Sprintf("startswith(%s, %s)", subject, quote(first)))
	}
	if len(segments) == 2 {
		if last != "" {
			texts = append(texts, fmt.Sprintf("endswith(%s, %s)", subject, quote(last)))
		}
		if first != "" && last != "" {
			texts = append(texts, fmt.Sprintf("gte(count(%s), %d)", subject, utf8.RuneCountInString(first+last)))
		}
		if first == "" && last == "" {
			texts = append(texts, fmt.Sprintf(`neq(%s, "")`, subject))
		}
		return texts
	}
	if len(segments) == 3 && first == "" && last == "" {
		return []string{fmt.Sprintf("contains(%s, %s)", subject, quote(segments[1]))}
	}
	if first == "" {
		texts = append(texts, fmt.Sprintf("contains(%s, %s)", subject, quote(glob.Longest())))
	}
	return append(texts, fmt.Sprintf("glob.match(%s, null, %s)", quote(glob.String()), subject))
}
