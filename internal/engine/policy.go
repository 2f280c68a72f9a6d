package engine

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/plan"
)

const (
	// entrypoint is the document that answers a question.
	entrypoint = "data." + bundle.Root + ".decision"
	// stateRoot is where the state document lies, beside the charter's root.
	stateRoot = "charter_state"
)

// Policy is one loaded bundle with one state document: an immutable snapshot of
// everything a decision reads. It is safe for concurrent use.
type Policy struct {
	query    *Query        // the reference
	program  *plan.Program // of query; nil when there is none
	plan     *plan.Query   // program over the data of query; nil to ask the reference alone
	tables   any           // the document below the root charter
	charter  *charter.Charter
	revision string
	names    *names
	// vocabulary is what keys of the cache are made of, nil when uncached says
	// why there are none; keys is the same under this state.
	vocabulary *vocabulary
	keys       *keyer
	uncached   string
	unplanned  string // why there is no program
	// mistaken says that an answer of cache or plan was not that of the reference. It is
	// one for all snapshots of the bundle: a state does not mend either.
	mistaken *atomic.Bool
}

// Prepare loads a bundle under [Capabilities]. State is the document
// data.charter_state, copied; nil means that there is none. It fails with an
// [*Error].
//
// Not checked here: whether the rules are those that the embedded charter
// compiles to, and the lint on `not`, both of which need the compiler.
func Prepare(ctx context.Context, b *bundle.Bundle, state map[string]any) (*Policy, error) {
	c, err := embedded(b)
	if err != nil {
		return nil, err
	}
	tables, err := decodeData(b)
	if err != nil {
		return nil, err
	}
	data, err := document(tables, state)
	if err != nil {
		return nil, err
	}
	query, err := NewQuery(ctx, Source{
		Modules: modules(b), Data: data, Query: entrypoint, Capabilities: Capabilities(), Strict: true,
	})
	if err != nil {
		return nil, regoFailure(err)
	}
	if err := checkProgram(query); err != nil {
		return nil, err
	}
	p := &Policy{query: query, tables: tables, charter: c, revision: b.Manifest().Revision, names: newNames(c), mistaken: new(atomic.Bool)}
	globs, err := prove(modules(b), query.compiler.Modules)
	if err == nil {
		err = p.makePlan(ctx)
	}
	if err != nil {
		p.unplanned = err.Error()
	}
	p.vocabulary, p.uncached = p.makeVocabulary(globs)
	p.keys, p.uncached = newKeyer(p.vocabulary, p.uncached, data[stateRoot], nil)
	return p, nil
}

// makePlan makes the plan by which p decides. Only rules that are known to be planned
// rightly have one: those of the library.
func (p *Policy) makePlan(ctx context.Context) (err error) {
	if p.program, err = p.query.Plan(ctx); err != nil {
		return err
	}
	p.plan = p.query.Run(p.program)
	return nil
}

// makeVocabulary returns nil and the reason when decisions of the bundle must not be cached.
func (p *Policy) makeVocabulary(globs patterns) (*vocabulary, string) {
	if p.unplanned != "" {
		return nil, p.unplanned
	}
	v, err := newVocabulary(p.tables, globs)
	if err != nil {
		return nil, err.Error()
	}
	return v, ""
}

// WithState returns a snapshot of the same bundle with another state document,
// which is copied; nil means none. It costs no compilation of modules.
func (p *Policy) WithState(ctx context.Context, state map[string]any) (*Policy, error) {
	data, err := document(p.tables, state)
	if err != nil {
		return nil, err
	}
	query, err := p.query.WithData(ctx, data)
	if err != nil {
		return nil, regoFailure(err)
	}
	next := *p
	next.query = query
	if p.plan != nil {
		next.plan = query.Run(p.program)
	}
	if p.vocabulary != nil {
		next.keys, next.uncached = newKeyer(p.vocabulary, "", data[stateRoot], p.keys)
	}
	return &next, nil
}

// Uncached says why no decision of this policy is cached, "" when they can be.
func (p *Policy) Uncached() string { return p.uncached }

// Unplanned says why decisions of this policy are evaluated without a plan, slowly, ""
// when they are not.
func (p *Policy) Unplanned() string { return p.unplanned }

// Mistaken reports whether an engine has found an answer that was not that of the
// reference: neither cache nor plan of this bundle are used from then on.
func (p *Policy) Mistaken() bool { return p.mistaken.Load() }

// WithoutIndexing returns the same policy evaluated without OPA's rule index:
// far slower, and by definition the same answers. It is an oracle for tests.
func (p *Policy) WithoutIndexing() *Policy {
	next := *p
	next.query, next.plan = p.query.WithoutIndexing(), nil
	return &next
}

// Reference returns the same policy evaluated by OPA's topdown alone: slower, and by
// definition right.
func (p *Policy) Reference() *Policy {
	next := *p
	next.plan = nil
	return &next
}

// Revision returns the revision of the bundle, such as
// "production-1.2.0+ab12cd34ef56".
func (p *Policy) Revision() string { return p.revision }

// Charter returns the charter that the bundle carries. It must not be modified.
func (p *Policy) Charter() *charter.Charter { return p.charter }

// Decide answers one question. Without in.Time every time-limited grant has
// lapsed and every restriction holds: stamping the time is the caller's part.
//
// It fails closed. Whenever no valid answer comes out of the evaluation, because
// ctx ended, rules conflict or the document is malformed, the decision denies
// with the reason code undetermined, and the error, for the log, says why.
func (p *Policy) Decide(ctx context.Context, in decision.Input) (decision.Decision, error) {
	if !encodable(in) {
		return p.refuse(in), nil
	}
	value, err := p.Eval(ctx, p.query.fields.value(in))
	if err != nil {
		return decision.Undetermined(p.revision, wording(err)), err
	}
	d, err := answer(value, p.revision)
	if err != nil {
		return decision.Undetermined(p.revision, wording(err)), err
	}
	if d.Allow && in.Validate() != nil {
		return p.refuse(in), nil
	}
	return d, nil
}

// refuse answers a question that is not valid.
func (p *Policy) refuse(in decision.Input) decision.Decision {
	if fe, ok := in.Validate().(*decision.FieldError); ok { //nolint:errorlint // what Validate documents
		return decision.Invalid(fe, p.revision)
	}
	return decision.Undetermined(p.revision, "the question cannot be read")
}

// Eval evaluates data.charter.decision for any input, as OPA-compatible
// endpoints need it, and returns the document as the rules made it; it belongs
// to the caller but must not be modified. A nil input is an undefined one. The
// error is [ErrUndefined] when there is no document.
func (p *Policy) Eval(ctx context.Context, input ast.Value) (ast.Value, error) {
	if p.plan != nil && !p.mistaken.Load() {
		switch results, err := p.plan.Eval(ctx, input); {
		case err == nil:
			return onlyValue(results)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("evaluate %s: %w", entrypoint, context.Cause(ctx))
		}
		// Rules that fail are rare. What then holds, the reference knows.
	}
	results, err := p.query.Eval(ctx, input)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, ErrUndefined
	}
	term, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return nil, ErrUndefined
	}
	return term.Value, nil
}

// bundled are the limits of a charter in a bundle. They are wider than those for
// files: a bundle has its own limits and the compiler wrote the charter in it.
func bundled() charter.Limits {
	return charter.Limits{DocumentBytes: 64 << 20, TotalBytes: 64 << 20, Nodes: 8_000_000}
}

// embedded parses the charter that the bundle carries and checks that the
// manifest speaks of the same one.
func embedded(b *bundle.Bundle) (*charter.Charter, error) {
	text, ok := b.File(bundle.CharterFile)
	if !ok {
		return nil, failure(CodeMissingFile, "the bundle has no %s", bundle.CharterFile)
	}
	c, findings := charter.Loader{Limits: bundled()}.Parse(bundle.CharterFile, text)
	if c == nil || findings.HasErrors() {
		return nil, blame(CodeBadCharter, findings)
	}
	if got, want := b.Manifest().Revision, c.Revision(); got != want {
		return nil, failure(CodeRevisionMismatch, "the manifest says revision %s, the embedded charter is %s", got, want)
	}
	return c, nil
}

func modules(b *bundle.Bundle) map[string][]byte {
	texts := map[string][]byte{}
	for _, path := range b.Modules() {
		texts[path], _ = b.File(path)
	}
	return texts
}

// checkProgram makes sure that the modules stay in their package, so that a
// bundle can neither define the state document nor shadow anything else, and
// that they define a decision.
func checkProgram(q *Query) error {
	var findings diag.List
	for name, module := range q.compiler.Modules {
		path := module.Package.Path.String()
		if path != "data."+bundle.Root && !strings.HasPrefix(path, "data."+bundle.Root+".") {
			loc := module.Package.Location
			findings.Errorf(diag.Pos{File: name, Line: loc.Row, Col: loc.Col}, CodeBadPackage,
				"module of package %s, only package %s and below is allowed", path, bundle.Root)
		}
	}
	if len(findings) > 0 {
		return blame(CodeBadPackage, findings)
	}
	if !q.defines(entrypoint) {
		return failure(CodeNoEntrypoint, "no rule defines %s", entrypoint)
	}
	return nil
}

// encodable reports whether all text of the question is UTF-8. Rego cannot see
// otherwise, and two different names must not look the same.
func encodable(in decision.Input) bool {
	for _, s := range [...]string{in.Metric, in.Node, in.Role, in.Operation, in.Purpose, in.Retention, in.Time} {
		if !utf8.ValidString(s) {
			return false
		}
	}
	for _, s := range in.Claims {
		if !utf8.ValidString(s) {
			return false
		}
	}
	for name, value := range in.Labels {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	return true
}
