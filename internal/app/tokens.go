package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/internal/yamldoc"
)

// Codes of an accessError.
const (
	codeInvalidTokens = "invalid_tokens"
	codeInvalidTLS    = "invalid_tls"
)

// Limits of a token file.
const (
	maxTokenFile = 1 << 20 // bytes
	maxTokens    = 1000
	maxToken     = 512 // bytes of a token as it is presented
)

// accessError is a token file, certificate or key that cannot be used.
type accessError struct {
	code     string
	path     string
	err      error
	findings diag.List
}

func (e *accessError) Error() string {
	text := fmt.Sprintf("load %s: %v [%s]", e.path, e.err, e.code)
	if len(e.findings) > 0 {
		text += fmt.Sprintf("; first: %s: %s", e.findings[0].Pos, e.findings[0].Message)
	}
	return text
}

func (e *accessError) Unwrap() error { return e.err }

// token is one entry of a token file. The token itself is not known: it is at
// least 128 random bits, so a fast digest keeps it as well as a slow one.
type token struct {
	digest   [sha256.Size]byte
	expires  time.Time // zero never
	identity decisionapi.Identity
}

// tokens are the entries of one token file, immutable.
type tokens []token

// find returns the identity of a token. It compares with every entry in
// constant time, so that time tells nothing about digests.
func (ts tokens) find(presented string, now time.Time) (*decisionapi.Identity, error) {
	digest := sha256.Sum256([]byte(presented))
	found := -1
	for i := range ts {
		if subtle.ConstantTimeCompare(digest[:], ts[i].digest[:]) == 1 {
			found = i
		}
	}
	switch {
	case found < 0:
		return nil, errors.New("the token is not known")
	case !ts[found].expires.IsZero() && !now.Before(ts[found].expires):
		return nil, errors.New("the token has expired")
	default:
		return &ts[found].identity, nil
	}
}

// bearer returns the token of an Authorization header (RFC 6750, 2.1).
func bearer(header string) (string, error) {
	scheme, presented, _ := strings.Cut(header, " ")
	presented = strings.TrimSpace(presented)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || presented == "":
		return "", errors.New("the Authorization header must be: Bearer TOKEN")
	case len(presented) > maxToken:
		return "", fmt.Errorf("the token is longer than %d bytes", maxToken)
	}
	return presented, nil
}

// loadTokens reads a token file: a YAML list, strict in every respect, since an
// entry that is read otherwise than meant lets the wrong caller in.
func loadTokens(_ context.Context, path string, from stamps) (tokens, error) {
	from.note(path)
	data, err := readFile(path, maxTokenFile)
	if err == nil && len(data) > maxTokenFile {
		err = fmt.Errorf("larger than %d bytes", maxTokenFile)
	}
	if err != nil {
		return nil, &accessError{code: codeInvalidTokens, path: path, err: err}
	}
	r := tokenReader{path: path}
	ts := r.read(data)
	if r.findings.HasErrors() {
		r.findings.Sort()
		return nil, &accessError{code: codeInvalidTokens, path: path, err: errors.New("the token file is not valid"), findings: r.findings}
	}
	return ts, nil
}

type tokenReader struct {
	path     string
	findings diag.List
}

func (r *tokenReader) fault(n *yaml.Node, code, format string, args ...any) *diag.Diagnostic {
	return r.findings.Errorf(diag.Pos{File: r.path, Line: n.Line, Col: n.Column}, code, format, args...)
}

func (r *tokenReader) read(data []byte) tokens {
	list, bad := yamldoc.Root(data)
	if bad != nil {
		r.fault(&yaml.Node{Line: bad.Line, Column: bad.Col}, codeSyntax, "%s", bad.Message)
	}
	if list == nil { // an empty file knows no token
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		r.fault(list, codeWrongType, "the token file must be a list of tokens")
		return nil
	}
	if len(list.Content) > maxTokens {
		r.fault(list, codeInvalidValue, "more than %d tokens", maxTokens)
		return nil
	}
	ts := make(tokens, 0, len(list.Content))
	for _, n := range list.Content {
		if t, ok := r.entry(n); ok {
			r.unique(n, ts, t)
			ts = append(ts, t)
		}
	}
	return ts
}

func (r *tokenReader) unique(n *yaml.Node, ts tokens, t token) {
	for _, other := range ts {
		switch {
		case other.identity.Name == t.identity.Name:
			r.fault(n, codeDuplicate, "two tokens have the name %s", t.identity.Name)
		case other.digest == t.digest:
			r.fault(n, codeDuplicate, "%s and %s are the same token", other.identity.Name, t.identity.Name)
		}
	}
}

func tokenFields() []string {
	return []string{"name", "sha256", "scopes", "node", "roles", "claims", "expires"}
}

// entry reads one token; false after findings.
func (r *tokenReader) entry(n *yaml.Node) (token, bool) {
	before := len(r.findings)
	if n.Kind != yaml.MappingNode {
		r.fault(n, codeWrongType, "a token must be a mapping with %s", strings.Join(tokenFields(), ", "))
		return token{}, false
	}
	t := token{identity: decisionapi.Identity{Kind: decisionapi.KindToken}}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			r.fault(key, codeDuplicate, "%s is given twice", key.Value)
		}
		seen[key.Value] = true
		r.field(&t, key, val)
	}
	if len(r.findings) > before {
		return token{}, false
	}
	r.meaning(n, t, seen)
	return t, len(r.findings) == before
}

func (r *tokenReader) field(t *token, key, val *yaml.Node) {
	id := &t.identity
	switch key.Value {
	case "name":
		id.Name = r.text(key, val)
	case "node":
		id.Node = r.text(key, val)
	case "scopes":
		id.Scopes = r.texts(key, val)
		for _, scope := range id.Scopes {
			if !slices.Contains(wire.Scopes(), scope) {
				r.fault(val, codeInvalidValue, "%q is not one of the scopes %s", scope, strings.Join(wire.Scopes(), ", "))
			}
		}
	case "roles":
		id.Roles = r.texts(key, val)
	case "claims":
		id.Claims = r.texts(key, val)
	case "sha256":
		digest, err := hex.DecodeString(r.text(key, val))
		if err != nil || len(digest) != sha256.Size {
			r.fault(val, codeInvalidValue, "sha256 must be the SHA-256 of the token in 64 hexadecimal digits, as `printf %%s TOKEN | sha256sum` prints it")
			return
		}
		t.digest = [sha256.Size]byte(digest)
	case "expires":
		at, err := charter.ParseTime(r.text(key, val))
		if err != nil {
			r.fault(val, codeInvalidValue, "expires: %v", err)
		}
		t.expires = at
	default:
		f := r.fault(key, codeUnknownField, "unknown field %s", key.Value)
		if near := diag.DidYouMean(key.Value, tokenFields()); near != "" {
			f.Fix = "did you mean " + near + "?"
		}
	}
}

// meaning checks what fields say together.
func (r *tokenReader) meaning(n *yaml.Node, t token, seen map[string]bool) {
	for _, field := range []string{"name", "sha256", "scopes"} {
		if !seen[field] {
			r.fault(n, codeInvalidValue, "a token needs %s", field)
		}
	}
	id := t.identity
	asserts, asks := id.Has(wire.ScopeAssert), id.Has(wire.ScopeCheck)
	reports, uploads := id.Has(wire.ScopeReport), id.Has(wire.ScopeUpload)
	speaks := len(id.Roles) > 0 || len(id.Claims) > 0
	switch {
	case (id.Has(wire.ScopeReplay) || speaks) && !asks:
		r.fault(n, codeInvalidValue, "replay, roles and claims are about questions, and the token lacks the scope check")
	case asserts && !asks && !uploads:
		r.fault(n, codeInvalidValue, "assert is about questions and uploads, and the token has neither the scope check nor upload")
	case id.Node != "" && !asks && !uploads && !reports:
		r.fault(n, codeInvalidValue, "node is about questions, uploads and reports, and the token has none of the scopes check, upload and report")
	case reports && id.Node == "":
		r.fault(n, codeInvalidValue, "a token with the scope report speaks for one node and needs its name in node")
	case uploads && !asserts && id.Node == "":
		r.fault(n, codeInvalidValue, "a token with the scope upload needs the node of which it uploads in node, or the scope assert")
	case asserts && (speaks || id.Node != ""):
		r.fault(n, codeInvalidValue, "a token with the scope assert names any node, role and claims: leave node, roles and claims out, or assert")
	case asks && !asserts && len(id.Roles) == 0:
		r.fault(n, codeInvalidValue, "a token with the scope check needs roles that it may name, or the scope assert")
	}
}

func (r *tokenReader) text(key, val *yaml.Node) string {
	if val.Kind != yaml.ScalarNode || val.Tag == "!!null" || val.Value == "" || len(val.Value) > decision.MaxNameBytes || !printable(val.Value) {
		r.fault(val, codeWrongType, "%s must be a text of 1 to %d bytes", key.Value, decision.MaxNameBytes)
		return ""
	}
	return val.Value
}

func (r *tokenReader) texts(key, val *yaml.Node) []string {
	if val.Kind != yaml.SequenceNode || len(val.Content) == 0 || len(val.Content) > decision.MaxClaims {
		r.fault(val, codeWrongType, "%s must be a list of 1 to %d texts", key.Value, decision.MaxClaims)
		return nil
	}
	list := make([]string, len(val.Content))
	for i, n := range val.Content {
		list[i] = r.text(key, n)
	}
	return list
}
