package charterapi

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/wire"
)

// Policies is what decides, and how it is replaced. Errors of Apply and Rollback are
// [*wire.Error]s, or those of the context.
type Policies interface {
	Source() Source
	// Apply puts content where the policy comes from, and it is in force when Apply
	// returns nil. When it cannot be, what was there before is back.
	Apply(ctx context.Context, r Replacement) (Replaced, error)
	// Rollback puts back what the last Apply or Rollback replaced.
	Rollback(ctx context.Context, r Replacement) (Replaced, error)
}

// Source is the policy in force and where it comes from.
type Source struct {
	Charter  string `json:"charter"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"` // of the charter
	Kind     string `json:"kind"`   // charter or bundle
	// Replaceable says that it can be replaced over HTTP; if not, Code and Message say
	// why.
	Replaceable bool   `json:"replaceable"`
	Code        string `json:"code,omitempty"`
	Message     string `json:"message,omitempty"`
	Previous    *Kept  `json:"previous"` // nil when there is nothing to go back to
}

// Kept is what was replaced.
type Kept struct {
	Revision string    `json:"revision"`
	Digest   string    `json:"digest"`
	Replaced time.Time `json:"replaced"`
}

// typeGzip is the media type of a bundle that is sent.
const typeGzip = "application/gzip"

// Kinds of policies.
const (
	KindCharter = "charter" // a charter, in YAML
	KindBundle  = "bundle"  // a .tar.gz
)

// Replacement is a wish to replace the policy. A Rollback reads no Content, Kind and
// Digest.
type Replacement struct {
	Content   []byte
	Kind      string
	Digest    string // of the charter, as validating tells it
	Revision  string // that is thought to be in force; another one refuses the wish
	Principal string // who wishes it
}

// Replaced is what became of it.
type Replaced struct {
	Previous string `json:"previous"` // the revision before
	Revision string `json:"revision"` // in force now
	Digest   string `json:"digest"`
	Changed  bool   `json:"changed"` // false when it was in force already
}

func (a *api) charterRoutes() []wire.Route {
	return []wire.Route{
		a.get(chartersPath, a.active, wire.AnyScope),
		a.post(chartersPath+"/validate", a.validate, maxCharters, wire.AnyScope),
		a.post(chartersPath+"/compare", a.compare, maxCharters, wire.AnyScope),
		{
			Method: http.MethodPost, Path: chartersPath + "/apply", Scope: wire.ScopeAdmin, MaxBody: maxBundle,
			Handler: a.patient(a.apply),
		},
		{
			Method: http.MethodPost, Path: chartersPath + "/rollback", Scope: wire.ScopeAdmin, MaxBody: maxBody,
			Handler: a.patient(a.rollback),
		},
	}
}

// patient is handler without a deadline: compiling takes the time it takes, and a
// client that leaves must not stop it half-way.
func (a *api) patient(serve handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r.WithContext(context.WithoutCancel(r.Context()))); err != nil {
			a.refuse(w, err)
		}
	})
}

// active tells which policy is in force, with the tag that apply and rollback want.
func (a *api) active(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	s := a.Policies.Source()
	w.Header().Set("ETag", `"`+s.Revision+`"`)
	return wire.SendJSON(w, http.StatusOK, s)
}

// text is a charter with the files that it extends.
type text struct {
	File  string            `json:"file"`
	Files map[string]string `json:"files"`
}

// lone is the name of a charter that is the body of a request.
const lone = "charter.yaml"

// load reads a charter and checks it as validate does on the command line. It reads
// nothing but what the request brought.
func (a *api) load(t *text) (*charter.Charter, diag.List) {
	read := func(name string) ([]byte, error) {
		content, ok := t.Files[name]
		if !ok {
			return nil, &fs.PathError{Op: "read", Path: wire.Echo(name), Err: errNotBrought}
		}
		return []byte(content), nil
	}
	limits := charter.Limits{DocumentBytes: maxCharters, TotalBytes: maxCharters, Nodes: maxValues, Findings: maxFindings}
	c, findings := charter.Loader{Limits: limits, Read: read}.Load(t.File)
	if c != nil && !findings.HasErrors() {
		findings = append(findings, a.Check(c)...)
	}
	findings.Sort()
	return c, findings[:min(len(findings), maxFindings)]
}

const (
	// maxValues bounds the YAML values of a file, which is what checking costs.
	maxValues = 50_000
	// maxFindings bounds the findings of an answer.
	maxFindings = 200
)

var errNotBrought = fmt.Errorf("%w: it is not among the files of the request", fs.ErrNotExist)

// named is how an answer names a charter.
type named struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
}

func nameOf(c *charter.Charter) *named {
	return &named{c.Metadata.Name, c.Metadata.Version, c.Revision(), c.Digest()}
}

// validate tells what is wrong with a charter. That something is, is an answer.
func (a *api) validate(w http.ResponseWriter, r *http.Request) error {
	t, _, done, err := a.turn(w, r)
	if err != nil {
		return err
	}
	defer done()
	c, findings := a.load(t)
	errs, warnings := findings.Count()
	answer := map[string]any{"valid": errs == 0, "errors": errs, "warnings": warnings, "diagnostics": some(findings), "charter": nil}
	if c != nil && errs == 0 {
		answer["charter"] = nameOf(c)
	}
	return wire.SendJSON(w, http.StatusOK, answer)
}

// turn reads what is to be checked, and takes the turn to do so until done. It waits for
// nobody: who compiles too much at once is told so.
func (a *api) turn(w http.ResponseWriter, r *http.Request) (t, old *text, done func(), err error) {
	if _, err := wire.Parameters(r); err != nil {
		return nil, nil, nil, err
	}
	if t, old, err = readText(w, r); err != nil {
		return nil, nil, nil, err
	}
	select {
	case a.compiling <- struct{}{}:
		return t, old, func() { <-a.compiling }, nil
	default:
		return nil, nil, nil, wire.TooMany("another charter is being checked, ask again", time.Second)
	}
}

// readText reads a charter: as YAML, or as files in JSON.
func readText(w http.ResponseWriter, r *http.Request) (t *text, old *text, err error) {
	media, _, err := wire.Media(r, wire.TypeJSON, wire.TypeYAML)
	if err != nil {
		return nil, nil, err
	}
	body, err := wire.Body(w, r, maxCharters)
	if err != nil {
		return nil, nil, err
	}
	if media == wire.TypeYAML {
		return &text{lone, map[string]string{lone: string(body)}}, nil, nil
	}
	var b struct {
		text
		Old *text `json:"old"` // of a comparison; absent is the active one
	}
	if err := wire.Decode(body, &b); err != nil {
		return nil, nil, err
	}
	for _, each := range []*text{&b.text, b.Old} {
		if each != nil {
			if err := each.check(); err != nil {
				return nil, nil, err
			}
		}
	}
	if b.Old != nil && !strings.HasSuffix(r.URL.Path, "/compare") {
		return nil, nil, wire.Wrong(wire.CodeUnknownField, "old", "unknown field %q", "old")
	}
	return &b.text, b.Old, nil
}

// maxFiles bounds the files of a charter, of which it extends at most eight, and maxName
// their names, in bytes: answers repeat these.
const maxFiles, maxName = 16, 255

func (t *text) check() error {
	switch _, ok := t.Files[t.File]; {
	case t.File == "":
		return wire.Wrong(wire.CodeMissingField, "file", "file names the charter among files")
	case len(t.Files) > maxFiles:
		return wire.Wrong(wire.CodeInvalidValue, "files", "there are more than %d files", maxFiles)
	case !ok:
		return wire.Wrong(wire.CodeInvalidValue, "file", "there is no %q among files", wire.Echo(t.File))
	}
	for name := range t.Files {
		if len(name) > maxName {
			return wire.Wrong(wire.CodeInvalidValue, "files", "the name of a file is longer than %d bytes", maxName)
		}
	}
	return nil
}

// compare tells which entries and sections differ between two charters, or one and
// the active one. It compares what is written: what that means for decisions can be
// more, since the most specific clause wins, or nothing.
func (a *api) compare(w http.ResponseWriter, r *http.Request) error {
	t, old, done, err := a.turn(w, r)
	if err != nil {
		return err
	}
	defer done()
	before := a.Charter()
	if old != nil {
		if before, err = a.valid(old, "old charter"); err != nil {
			return err
		}
	}
	if before == nil {
		return wire.Missing("no policy is active; send the charter to compare with as old")
	}
	after, err := a.valid(t, "charter")
	if err != nil {
		return err
	}
	d := Compare(before, after)
	d.Constitutional = Constitutional(before, after)
	return wire.SendJSON(w, http.StatusOK, map[string]any{
		"method": "structural", "old": nameOf(before), "new": nameOf(after),
		"identical": before.Digest() == after.Digest(), "difference": d,
	})
}

// valid loads a charter that must have no errors.
func (a *api) valid(t *text, what string) (*charter.Charter, error) {
	c, findings := a.load(t)
	if c == nil || findings.HasErrors() {
		return nil, Invalid(what+" is not valid", findings)
	}
	return c, nil
}

// Invalid is the refusal of a charter with errors.
func Invalid(message string, findings diag.List) *wire.Error {
	e := &wire.Error{Status: http.StatusUnprocessableEntity, Code: codeInvalidCharter, Message: message}
	for _, f := range findings {
		if f.Severity != diag.Error {
			continue
		}
		text := f.Message
		if f.Fix != "" {
			text += "; " + f.Fix
		}
		e.Errors = append(e.Errors, wire.Problem{Code: f.Code, Message: text, Location: f.Pos.String()})
	}
	if len(e.Errors) > 0 {
		e.Message += "; first: " + e.Errors[0].Location + ": " + e.Errors[0].Message
	}
	return e
}

// apply puts a charter or bundle in force.
func (a *api) apply(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "digest")
	if err != nil {
		return err
	}
	media, _, err := wire.Media(r, wire.TypeYAML, typeGzip)
	if err != nil {
		return err
	}
	in := Replacement{Digest: q.Get("digest"), Kind: KindCharter}
	limit := int64(maxCharters)
	if media == typeGzip {
		in.Kind, limit = KindBundle, maxBundle
	}
	if in.Digest == "" {
		return wire.Wrong(wire.CodeMissingField, "digest", "digest names what is to be put in force: that of the charter, as /v1/charters/validate tells it")
	}
	if in.Principal, in.Revision, err = a.wish(r); err != nil {
		return err
	}
	if in.Content, err = wire.Body(w, r, limit); err != nil {
		return err
	}
	done, err := a.Policies.Apply(r.Context(), in)
	if err != nil {
		return err
	}
	return replaced(w, done)
}

// rollback puts back what was replaced last.
func (a *api) rollback(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	if err := wire.NoBody(r); err != nil {
		return err
	}
	var in Replacement
	var err error
	if in.Principal, in.Revision, err = a.wish(r); err != nil {
		return err
	}
	done, err := a.Policies.Rollback(r.Context(), in)
	if err != nil {
		return err
	}
	return replaced(w, done)
}

func replaced(w http.ResponseWriter, done Replaced) error {
	w.Header().Set("ETag", `"`+done.Revision+`"`)
	return wire.SendJSON(w, http.StatusOK, done)
}

// wish reads who wants another policy, and which one they think is in force.
func (a *api) wish(r *http.Request) (principal, revision string, err error) {
	who, err := a.proven(r)
	if err != nil {
		return "", "", err
	}
	tags := r.Header.Values("If-Match")
	if len(tags) == 0 {
		return "", "", &wire.Error{
			Status: http.StatusPreconditionRequired, Code: codePreconditionRequired,
			Message: `the header If-Match must name the revision in force, as in the ETag of GET ` + chartersPath,
		}
	}
	tag, ok := strings.CutPrefix(tags[0], `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	if len(tags) > 1 || !ok || !closed || tag == "" || strings.ContainsAny(tag, `",`) {
		return "", "", wire.Wrong(wire.CodeInvalidValue, "If-Match", `If-Match must be one revision in quotation marks, as in the ETag of GET %s`, chartersPath)
	}
	return who.Principal, tag, nil
}

// Constitutional tells which changes between two charters touch the rules of
// governance rather than decisions: sections, and ids of protected entries. Sorted.
func Constitutional(before, after *charter.Charter) []string {
	d := Compare(before, after)
	var list []string
	for _, s := range d.Sections {
		if slices.Contains([]string{"committee", "governance", "emergency", "escalation", "audit", "notify", "extends", "enforcement", "revocation"}, s) {
			list = append(list, s)
		}
	}
	for _, x := range slices.Concat(d.Added, d.Removed, d.Changed) {
		if x.Protected || slices.Contains(x.Fields, "mode") || slices.Contains(x.Fields, "protected") {
			list = append(list, x.ID)
		}
	}
	if baseOf(before) != baseOf(after) {
		list = append(list, "extends")
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// baseOf is the digest of what a charter extends; "" when that is nothing, or is not
// known since it came in a bundle.
func baseOf(c *charter.Charter) string {
	if c.Base() == nil {
		return ""
	}
	return c.Base().Digest()
}
