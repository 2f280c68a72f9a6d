package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/engine"
)

// removed is every builtin that bundles cannot use. A new version of OPA that
// changes the list needs a decision by a person.
var removed = []string{
	"crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options",
	"http.send",
	"io.jwt.decode_verify", "io.jwt.encode_sign", "io.jwt.encode_sign_raw",
	"json.match_schema", "json.verify_schema",
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_expand", "net.cidr_intersects", "net.cidr_is_valid",
	"net.cidr_merge", "net.cidr_overlap", "net.lookup_ip_addr",
	"opa.runtime", "rand.intn", "time.now_ns", "uuid.parse", "uuid.rfc4122",
}

func TestCapabilities(t *testing.T) {
	caps := engine.Capabilities()
	if caps.AllowNet == nil || len(caps.AllowNet) > 0 {
		t.Errorf("AllowNet is %v: nil would mean any host", caps.AllowNet)
	}
	var gone []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if !caps.ContainsBuiltin(b.Name) {
			gone = append(gone, b.Name)
		}
	}
	slices.Sort(gone)
	if !slices.Equal(gone, removed) {
		t.Errorf("removed builtins are\n%v, want\n%v", gone, removed)
	}
	for _, b := range caps.Builtins {
		if b.Nondeterministic {
			t.Errorf("%s is left and not deterministic", b.Name)
		}
	}
	caps.Builtins[0] = nil
	if engine.Capabilities().Builtins[0] == nil {
		t.Error("a caller can change the capabilities of others")
	}
}

// A bundle that asks the network or the clock must not load, and its author must
// see where it does.
func TestRemovedBuiltinsAreRefused(t *testing.T) {
	for _, name := range removed {
		t.Run(name, func(t *testing.T) {
			arity := len(ast.BuiltinMap[name].Decl.FuncArgs().Args)
			call := name + "(" + strings.TrimSuffix(strings.Repeat("input.x, ", arity), ", ") + ")"
			m := mini{edit: func(files map[string][]byte) {
				files["charter/extra.rego"] = []byte("package charter.extra\n\nx := " + call + "\n")
			}}
			_, err := engine.Prepare(t.Context(), m.bundle(t), nil)
			e, ok := errors.AsType[*engine.Error](err)
			if !ok || e.Code != engine.CodeBadRego || len(e.Findings) == 0 {
				t.Fatalf("got %v", err)
			}
			f := e.Findings[0]
			if f.Pos.String() != "charter/extra.rego:3:6" || !strings.Contains(f.Message, "undefined function "+name) {
				t.Errorf("got %s: %s", f.Pos, f.Message)
			}
		})
	}
}
