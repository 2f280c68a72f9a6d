// Package conformance runs the conformance cases of OPA through Charter's
// engine. It has only tests: run go test ./tests/conformance. What is not run,
// or not under the capabilities of bundles, is listed in report.md.
package conformance
