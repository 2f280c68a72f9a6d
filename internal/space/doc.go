// Package space is the algebra of names: which names a glob matches, whether
// one glob lies within another, and whether anything is left of some globs when
// others are taken away.
//
// Start with [ParseGlob]. [Witness] is the question everything else in the
// compiler reduces to: a concrete name that all of some globs match and none of
// others do, or the proof that there is none. [Index] finds the globs of a
// large set that match a name or meet another glob, without looking at all of
// them.
//
// The universe is every non-empty UTF-8 string. Answers are exact: [Found]
// carries a name that was checked against every glob, [Empty] is a proof over
// all names, and a search that would cost too much says [Unknown], never a
// guess. No call panics, and none takes more than a fixed number of steps beyond
// passes over its arguments.
package space
