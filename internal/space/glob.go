package space

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of one glob. They keep every question about a handful of globs cheap.
const (
	MaxGlobBytes = 512
	MaxStars     = 8
)

// rankPrefix is the weight of one byte of literal prefix in [Glob.Rank]: more
// than all literal bytes of the longest glob together.
const rankPrefix = 4096

// Glob is a pattern over names in which '*' stands for any characters, also
// none, dots and slashes included; every other character stands for itself. It
// is immutable. The zero Glob matches only the empty string.
type Glob struct {
	pattern string
	// parts are the literal runs between the stars: stars+1 of them, the inner
	// ones never empty. An exact glob has one.
	parts    []string
	literals int
}

// Errors of [ParseGlob], wrapped with the pattern.
var (
	ErrEmpty      = errors.New("pattern is empty")
	ErrTooLong    = fmt.Errorf("pattern is longer than %d bytes", MaxGlobBytes)
	ErrStars      = fmt.Errorf("pattern has more than %d stars", MaxStars)
	ErrDoubleStar = errors.New("** says no more than *")
	ErrCharacter  = errors.New("character is not allowed in a pattern; only * is special")
	ErrEncoding   = errors.New("pattern is not valid UTF-8")
)

// ParseGlob reads a pattern. Characters that are special in other glob
// languages are refused, so that nobody relies on a meaning they do not have
// here: ? [ ] { } ! and the backslash. Control characters are refused too.
func ParseGlob(pattern string) (Glob, error) {
	if err := validate(pattern); err != nil {
		return Glob{}, fmt.Errorf("glob %.80q: %w", pattern, err)
	}
	g := Glob{pattern: pattern, parts: strings.Split(pattern, "*")}
	g.literals = len(pattern) - (len(g.parts) - 1)
	return g, nil
}

func validate(pattern string) error {
	switch {
	case pattern == "":
		return ErrEmpty
	case len(pattern) > MaxGlobBytes:
		return ErrTooLong
	case !utf8.ValidString(pattern):
		return ErrEncoding
	case strings.Contains(pattern, "**"):
		return ErrDoubleStar
	case strings.Count(pattern, "*") > MaxStars:
		return ErrStars
	}
	for _, r := range pattern {
		if strings.ContainsRune(`?[]{}!\`, r) || unicode.IsControl(r) {
			return fmt.Errorf("%q: %w", r, ErrCharacter)
		}
	}
	return nil
}

// String returns the pattern as it was written.
func (g Glob) String() string { return g.pattern }

// Exact reports whether the glob has no star and so matches one name only.
func (g Glob) Exact() bool { return len(g.parts) <= 1 }

// Prefix is the literal text before the first star; all of an exact glob.
func (g Glob) Prefix() string {
	if len(g.parts) == 0 {
		return ""
	}
	return g.parts[0]
}

// suffix is the literal text behind the last star; all of an exact glob.
func (g Glob) suffix() string {
	if len(g.parts) == 0 {
		return ""
	}
	return g.parts[len(g.parts)-1]
}

// middle returns the literal runs that have a star on both sides.
func (g Glob) middle() []string {
	if len(g.parts) <= 2 {
		return nil
	}
	return g.parts[1 : len(g.parts)-1]
}

// Literals is the number of bytes that are not stars.
func (g Glob) Literals() int { return g.literals }

// Longest is the longest literal run between stars, the first of equals. It is
// empty only for "*".
func (g Glob) Longest() string {
	longest := ""
	for _, p := range g.parts {
		if len(p) > len(longest) {
			longest = p
		}
	}
	return longest
}

// Rank is the specificity of a glob that is not exact: the longer literal
// prefix wins, then the larger number of literal bytes. An exact glob is more
// specific than any rank.
func (g Glob) Rank() int { return len(g.Prefix())*rankPrefix + g.literals }

// Match reports whether the glob matches the whole of s. It takes the leftmost
// place for every literal run, which is never worse than a later one, so there
// is no backtracking.
func (g Glob) Match(s string) bool {
	if g.Exact() {
		return s == g.pattern
	}
	prefix, suffix := g.Prefix(), g.suffix()
	if len(s) < g.literals || !strings.HasPrefix(s, prefix) || !strings.HasSuffix(s, suffix) {
		return false
	}
	rest := s[len(prefix) : len(s)-len(suffix)]
	for _, part := range g.middle() {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return true
}

// Within reports whether h matches everything that g matches.
//
// The text of g is itself a name: no glob has a literal star, so the stars in
// it can only be consumed by stars of h, and then any characters in their place
// can be too. Hence it also holds that a glob lies within a union of globs only
// if it lies within one of them.
func (g Glob) Within(h Glob) bool { return h.Match(g.pattern) }

// Intersects reports whether some name is matched by both globs. Two globs that
// both have stars meet unless their prefixes or their suffixes contradict each
// other: otherwise the longer prefix, the inner runs of one, those of the other
// and the longer suffix make a common name.
func Intersects(a, b Glob) bool {
	switch {
	case a.Exact():
		return b.Match(a.pattern)
	case b.Exact():
		return a.Match(b.pattern)
	}
	return compatible(a, b)
}

// compatible reports that neither the prefixes nor the suffixes contradict.
func compatible(a, b Glob) bool {
	p, q := a.Prefix(), b.Prefix()
	s, t := a.suffix(), b.suffix()
	return (strings.HasPrefix(p, q) || strings.HasPrefix(q, p)) &&
		(strings.HasSuffix(s, t) || strings.HasSuffix(t, s))
}
