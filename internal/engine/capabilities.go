package engine

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Capabilities returns what a bundle may use: the language and the builtins of
// this OPA version without those whose result depends on anything but their
// arguments. No network, clock, randomness, environment or key generation can
// reach a decision, so two nodes with one bundle and one state agree. The
// caller owns the value.
func Capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(slices.Clone(caps.Builtins), impure)
	caps.AllowNet = []string{} // empty means no host, nil would mean any
	return caps
}

// impure reports whether a builtin is kept from bundles. OPA marks most of
// them; the named ones are families that are refused as a whole, so that a
// later member does not slip in, and builtins that read the clock unmarked.
func impure(b *ast.Builtin) bool {
	if b.Nondeterministic {
		return true
	}
	for _, family := range []string{"http.", "net.", "rand.", "uuid.", "opa."} {
		if strings.HasPrefix(b.Name, family) {
			return true
		}
	}
	switch b.Name {
	case "time.now_ns", "io.jwt.decode_verify",
		// The validity of a certificate chain is judged at the time of evaluation.
		"crypto.x509.parse_and_verify_certificates",
		"crypto.x509.parse_and_verify_certificates_with_options":
		return true
	default:
		return false
	}
}
