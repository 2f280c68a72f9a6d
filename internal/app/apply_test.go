package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// governed is a charter that is changed over HTTP; its base is beside it.
const governed = `apiVersion: charter/v1
kind: Charter
metadata: {name: village, version: 1.0.0}
extends: base.yaml
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d}
`

const governedBase = `apiVersion: charter/v1
kind: Charter
metadata: {name: base, version: 1.0.0}
access_levels: [public]
roles: [{name: auditor, reads: [public]}]
forbidden:
  - {id: privacy.location, match: ["*gps*"], severity: high, reason: People., protected: true}
`

// replaceable is a server whose charter may be replaced, by the token operator.
func replaceable(t *testing.T, change func(*Options)) *serving {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "base.yaml"), governedBase)
	o := Defaults()
	o.Charter, o.AllowApply = put(t, filepath.Join(dir, "charter.yaml"), governed), true
	o.TokenFile = put(t, filepath.Join(dir, "tokens.yaml"), "- {name: operator, sha256: "+hashed("operator-token")+", scopes: [admin]}\n"+
		"- {name: reader, sha256: "+hashed("reader-token")+", scopes: [audit]}\n")
	change(&o)
	return recording(t, o)
}

// exchangeAt sends a request about charters as the operator.
func (s *serving) exchangeAt(t *testing.T, path, match, media, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer operator-token")
	r.Header.Set("Content-Type", media)
	if match != "" {
		r.Header.Set("If-Match", `"`+match+`"`)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return res.StatusCode, answer
}

// digestOf is the digest that a charter has in the place of the one that is served.
func (s *serving) digestOf(t *testing.T, text string) string {
	t.Helper()
	read := func(name string) ([]byte, error) {
		if filepath.Base(name) == "charter.yaml" {
			return []byte(text), nil
		}
		return os.ReadFile(name)
	}
	c, findings := charter.Loader{Read: read}.Load(s.options.Charter)
	if c == nil {
		t.Fatal(findings)
	}
	return c.Digest()
}

func (s *serving) applied(t *testing.T, text string) (int, map[string]any) {
	t.Helper()
	return s.exchangeAt(t, "/v1/charters/apply?digest="+s.digestOf(t, text), s.engine.Current().Revision(), "application/yaml", text)
}

// What is applied decides from then on, is on disk with the permissions of the file
// before, and comes back with a rollback, after a restart, too.
func TestApplyAndRollback(t *testing.T) {
	s := replaceable(t, func(*Options) {})
	if err := os.Chmod(s.options.Charter, 0o640); err != nil {
		t.Fatal(err)
	}
	first := s.engine.Current().Revision()
	longer := strings.Replace(governed, "30d", "60d", 1)
	status, answer := s.applied(t, longer)
	second := s.engine.Current().Revision()
	if status != http.StatusOK || answer["previous"] != first || answer["revision"] != second || answer["changed"] != true || first == second {
		t.Fatalf("%d %v", status, answer)
	}
	info, err := os.Stat(s.options.Charter)
	if err != nil || info.Mode().Perm() != 0o640 || read(t, s.options.Charter) != longer {
		t.Errorf("%v %v %s", err, info, read(t, s.options.Charter))
	}
	if status, answer := s.applied(t, longer); status != http.StatusOK || answer["changed"] != false {
		t.Errorf("once more: %d %v", status, answer)
	}
	if s.twice(t); s.engine.Current().Revision() != second {
		t.Error("looking at the files puts another policy in force")
	}
	if source := (replacer{s.Server}).Source(); source.Previous == nil || source.Previous.Revision != first || !source.Replaceable {
		t.Errorf("%+v", source)
	}

	again := replaceable(t, func(o *Options) { o.Charter = s.options.Charter })
	if err := os.WriteFile(filepath.Join(again.options.Data, keptFile), []byte(read(t, filepath.Join(s.options.Data, keptFile))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.loadKept(); err != nil || again.kept.Load() == nil {
		t.Fatalf("what was kept is not found again: %v", err)
	}
	status, answer = again.exchangeAt(t, "/v1/charters/rollback", second, "application/json", "")
	if status != http.StatusOK || again.engine.Current().Revision() != first || read(t, s.options.Charter) != governed {
		t.Errorf("%d %v", status, answer)
	}
	status, answer = again.exchangeAt(t, "/v1/charters/rollback", first, "application/json", "")
	if status != http.StatusOK || again.engine.Current().Revision() != second {
		t.Errorf("a rollback that is undone: %d %v", status, answer)
	}
	var by []string
	for row, err := range again.keeper.relay.Find(t.Context(), ledger.Filter{Kinds: []ledger.Kind{ledger.Activation, ledger.Load}}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(row.Body), `"by":"token:operator"`) && strings.Contains(string(row.Body), `"trigger":"rollback"`) {
			by = append(by, string(row.Kind))
		}
	}
	slices.Sort(by)
	if !slices.Equal(by, []string{"activation", "activation", "charter-load", "charter-load"}) {
		t.Errorf("the ledger says who did it in %q", by)
	}
}

// What is refused changes nothing: not the policy, not the file, not what is kept.
func TestApplyRefuses(t *testing.T) {
	longer := strings.Replace(governed, "30d", "60d", 1)
	for _, c := range []struct {
		name, code string
		status     int
		change     func(*Options)
		before     func(t *testing.T, s *serving)
		text       string
		path       string // with the digest
		match      string
		media      string
	}{
		{name: "not allowed", code: codeApplyDisabled, status: 403, change: func(o *Options) { o.AllowApply = false }},
		{name: "another revision", code: codeRevisionMismatch, status: 412, match: "village-0.9.0+000000000000"},
		{name: "another digest", code: codeDigestMismatch, status: 422, path: "/v1/charters/apply?digest=sha256:00"},
		{name: "no digest", code: "invalid_request", status: 400, path: "/v1/charters/apply"},
		{name: "errors", code: "invalid_charter", status: 422, text: strings.Replace(governed, "access", "acess", 1), path: "/v1/charters/apply?digest=sha256:00"},
		{name: "a bundle", code: codeWrongSource, status: 400, media: "application/gzip"},
		{name: "not a charter", code: "unsupported_media_type", status: 415, media: "text/html"},
		{name: "another base", code: "invalid_charter", status: 422, text: strings.Replace(governed, "base.yaml", "tokens.yaml", 1), path: "/v1/charters/apply?digest=sha256:00"},
		{name: "no base", code: codeConstitutionalChange, status: 403, text: strings.Replace(governedBase, "name: base", "name: village", 1)},
		{name: "governance", code: codeConstitutionalChange, status: 403, text: governed + "enforcement: {grace: 48h}\n"},
		{name: "another name", code: codeConstitutionalChange, status: 403, text: strings.Replace(governed, "village", "city", 1)},
		{name: "nothing kept", code: codeNothingKept, status: 409, path: "/v1/charters/rollback", text: " "},
		{
			name: "somebody edits", code: codeSourceChanged, status: 409,
			before: func(t *testing.T, s *serving) { replace(t, s.options.Charter, governed+"# a remark\n") },
		},
		{
			name: "a link", code: codeSourceManaged, status: 409,
			before: func(t *testing.T, s *serving) {
				if err := os.Rename(s.options.Charter, s.options.Charter+".real"); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(s.options.Charter+".real", s.options.Charter); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "no ledger", code: codeAuditUnavailable, status: 503,
			before: func(_ *testing.T, s *serving) { s.keeper.fault.Store(&ledgerFault{err: os.ErrClosed}) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "a link" && runtime.GOOS == "windows" {
				t.Skip("links need rights there")
			}
			s := replaceable(t, func(o *Options) {
				if c.change != nil {
					c.change(o)
				}
			})
			if c.before != nil {
				c.before(t, s)
			}
			text := longer
			if c.text != "" {
				text = strings.TrimSpace(c.text)
			}
			disk, revision := read(t, s.options.Charter), s.engine.Current().Revision()
			path, match, media := c.path, c.match, c.media
			if path == "" {
				path = "/v1/charters/apply?digest=" + s.digestOf(t, text)
			}
			if match == "" {
				match = revision
			}
			if media == "" {
				media = "application/yaml"
			}
			status, answer := s.exchangeAt(t, path, match, media, text)
			if status != c.status || answer["code"] != c.code {
				t.Errorf("%d %v", status, answer)
			}
			if s.engine.Current().Revision() != revision || read(t, s.options.Charter) != disk || s.kept.Load() != nil {
				t.Error("a refusal changed something")
			}
			if _, err := os.Stat(filepath.Join(s.options.Data, keptFile)); err == nil {
				t.Error("something is kept")
			}
		})
	}
}

// A policy that is refused when it is loaded leaves the one before, everywhere.
func TestApplyIsUndone(t *testing.T) {
	s := replaceable(t, func(*Options) {})
	if status, answer := s.applied(t, strings.Replace(governed, "30d", "50d", 1)); status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	kept, revision, disk := s.kept.Load(), s.engine.Current().Revision(), read(t, s.options.Charter)
	for _, p := range s.parts {
		if p.name == partPolicy { // what was good a moment ago no longer is: a file that it extends is gone
			load := p.load
			p.load = func(ctx context.Context, from stamps) error {
				if strings.Contains(read(t, s.options.Charter), "60d") {
					return &PolicyError{Path: s.options.Charter, Code: CodeInvalidCharter, Err: os.ErrNotExist}
				}
				return load(ctx, from)
			}
		}
	}
	status, answer := s.applied(t, strings.Replace(governed, "30d", "60d", 1))
	if status != http.StatusUnprocessableEntity || answer["code"] != codeNotActivated {
		t.Errorf("%d %v", status, answer)
	}
	if s.engine.Current().Revision() != revision || read(t, s.options.Charter) != disk || s.kept.Load().Revision != kept.Revision {
		t.Errorf("not all is as before: %s, kept is %s", s.engine.Current().Revision(), s.kept.Load().Revision)
	}
	if status, code, _ := s.health(t); status != http.StatusOK || code != "" {
		t.Errorf("%d %s", status, code)
	}
}

// Bundles are replaced by bundles that are what their charter compiles to.
func TestApplyABundle(t *testing.T) {
	pack := func(t *testing.T, text string) (string, string) {
		t.Helper()
		dir := t.TempDir()
		put(t, filepath.Join(dir, "base.yaml"), governedBase)
		b := bundled(t, put(t, filepath.Join(dir, "charter.yaml"), text))
		var tar strings.Builder
		if err := b.WriteTar(&tar); err != nil {
			t.Fatal(err)
		}
		c, _ := charter.Load(filepath.Join(dir, "charter.yaml"))
		return tar.String(), c.Digest()
	}
	old, _ := pack(t, governed)
	s := replaceable(t, func(o *Options) {
		o.Bundle, o.Charter = put(t, filepath.Join(filepath.Dir(o.Charter), "bundle.tar.gz"), old), ""
	})
	next, digest := pack(t, strings.Replace(governed, "30d", "60d", 1))
	before := s.engine.Current().Revision()
	status, answer := s.exchangeAt(t, "/v1/charters/apply?digest="+digest, before, "application/gzip", next[:len(next)-20])
	if status != http.StatusUnprocessableEntity || answer["code"] != CodeInvalidBundle {
		t.Errorf("a damaged one: %d %v", status, answer)
	}
	status, answer = s.exchangeAt(t, "/v1/charters/apply?digest="+digest, before, "application/gzip", next)
	if status != http.StatusOK || answer["digest"] != digest || s.engine.Current().Charter().Digest() != digest || read(t, s.options.Bundle) != next {
		t.Errorf("%d %v", status, answer)
	}
	status, answer = s.exchangeAt(t, "/v1/charters/rollback", s.engine.Current().Revision(), "application/json", "")
	if status != http.StatusOK || s.engine.Current().Revision() != before {
		t.Errorf("%d %v", status, answer)
	}
}

// Routes of the Charter API ask for scopes that tokens can have.
func TestScopesOfCharterRoutesExist(t *testing.T) {
	s := replaceable(t, func(*Options) {})
	routes, err := s.charterRoutes()
	if err != nil || len(routes) < 25 {
		t.Fatalf("%d routes: %v", len(routes), err)
	}
	open := map[string]bool{}
	for _, r := range routes {
		for _, scope := range append([]string{r.Scope}, r.Or...) {
			if scope != wire.Public && scope != wire.AnyScope && !slices.Contains(wire.Scopes(), scope) {
				t.Errorf("%s %s asks for the scope %q", r.Method, r.Path, scope)
			}
		}
		if r.Scope == wire.Public || r.Guests {
			open[r.Method+" "+r.Path] = true
		}
	}
	if len(open) != 2 || !open["POST /v1/violations"] || !open["GET /v1/openapi.yaml"] {
		t.Errorf("open to everybody: %v", open)
	}
}
