// Package policytest runs the tests of charters and of Rego, with the meaning
// that `opa test` gives them, and the case tables of charters.
//
// [Run] is the entry point: it finds the tests below directories, runs them and
// returns a [Report], which [Write] renders for people, programs and CI. What
// is promised beyond `opa test`: a failing test never hides coverage, a filter
// that matches nothing and a run without tests are failures, and results come
// in one order, by place.
//
// There are two kinds of [Suite]. A directory with a charter.yaml is one: the
// charter is checked and compiled, its *_test.rego run against the compiled
// modules and tables, and each case of its *_cases.yaml is decided by the
// engine; coverage counts clauses. Rego outside such directories is the other:
// modules and tests as they lie there; coverage counts lines.
//
// [LoadCases] reads one case table for tests that decide the cases elsewhere.
package policytest
