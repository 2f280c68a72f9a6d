package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/durable"
	charterapi "github.com/westworld-charter/charter/internal/httpapi/charter"
	"github.com/westworld-charter/charter/internal/wire"
)

// Codes of answers about replacing the policy over HTTP; docs/api.md lists them.
const (
	codeApplyDisabled        = "apply_disabled"
	codeSourceManaged        = "source_managed"
	codeSourceReadOnly       = "source_read_only"
	codeSourceChanged        = "source_changed"
	codeWrongSource          = "wrong_source"
	codeRevisionMismatch     = "revision_mismatch"
	codeDigestMismatch       = "digest_mismatch"
	codeConstitutionalChange = "constitutional_change"
	codePromoted             = "promoted_candidate"
	codeNothingKept          = "nothing_kept"
	codeNotActivated         = "not_activated"
)

// keptFile is the name below Options.Data of what was replaced last.
const keptFile = "policy-previous.json"

// kept is what was replaced over HTTP, whole.
type kept struct {
	charterapi.Kept

	Source  string `json:"source"` // path that it was at
	Kind    string `json:"kind"`
	Content []byte `json:"content"`
}

// loadKept reads what was replaced, if it was at the path that is served now.
func (s *Server) loadKept() error {
	if !s.options.AllowApply {
		return nil
	}
	data, err := readFile(filepath.Join(s.options.Data, keptFile), maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return fmt.Errorf("read what was replaced: %w", err)
	}
	if path, kind := s.options.source(); k.Source == path && k.Kind == kind {
		s.kept.Store(&k)
	}
	return nil
}

// maxKept bounds that file in bytes, and maxSource what is replaced.
const (
	maxKept   = 64 << 20
	maxSource = 32 << 20
)

// source is the path of the policy, and what kind of one it is.
func (o *Options) source() (path, kind string) {
	if o.Bundle != "" {
		return o.Bundle, charterapi.KindBundle
	}
	return o.Charter, charterapi.KindCharter
}

// replacer replaces the policy over HTTP.
type replacer struct{ *Server }

var _ charterapi.Policies = replacer{}

func refusal(status int, code, format string, args ...any) *wire.Error {
	return &wire.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Source implements [charterapi.Policies].
func (s replacer) Source() charterapi.Source {
	_, kind := s.options.source()
	from := charterapi.Source{Kind: kind, Replaceable: true}
	if p := s.engine.Current(); p != nil {
		meta := p.Charter().Metadata
		from.Charter, from.Version, from.Revision, from.Digest = meta.Name, meta.Version, p.Revision(), p.Charter().Digest()
	}
	if no := s.replaceable(); no != nil {
		from.Replaceable, from.Code, from.Message = false, no.Code, no.Message
	}
	if k := s.kept.Load(); k != nil {
		from.Previous = &k.Kept
	}
	return from
}

// replaceable says why the source of the policy is not ours to replace; nil when it
// is. What somebody else keeps up to date, through links or as a directory, is theirs.
func (s replacer) replaceable() *wire.Error {
	path, _ := s.options.source()
	if !s.options.AllowApply {
		return refusal(http.StatusForbidden, codeApplyDisabled,
			"this server does not let its policy be replaced over HTTP; start it with --allow-apply, or replace the file where it runs")
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return refusal(http.StatusConflict, codeSourceManaged,
			"the policy of this server is a link, a directory, or gone: whoever put it there replaces it")
	}
	return nil
}

// Apply implements [charterapi.Policies].
func (s replacer) Apply(ctx context.Context, r charterapi.Replacement) (charterapi.Replaced, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	return s.replace(ctx, r, "apply")
}

// Rollback implements [charterapi.Policies].
func (s replacer) Rollback(ctx context.Context, r charterapi.Replacement) (charterapi.Replaced, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	k := s.kept.Load()
	if k == nil {
		return charterapi.Replaced{}, refusal(http.StatusConflict, codeNothingKept, "nothing was replaced, so there is nothing to go back to")
	}
	r.Content, r.Kind, r.Digest = k.Content, k.Kind, k.Digest
	return s.replace(ctx, r, "rollback")
}

// replace puts content where the policy comes from and has it loaded. It needs
// reloading to be held.
func (s replacer) replace(ctx context.Context, r charterapi.Replacement, trigger string) (charterapi.Replaced, error) {
	var none charterapi.Replaced
	if err := s.may(r); err != nil {
		return none, err
	}
	next, err := s.judge(r)
	if err != nil {
		return none, err
	}
	before := s.engine.Current()
	if next.Digest() == before.Charter().Digest() {
		return charterapi.Replaced{Previous: before.Revision(), Revision: before.Revision(), Digest: next.Digest()}, nil
	}
	if touched := charterapi.Constitutional(before.Charter(), next); len(touched) > 0 || next.Metadata.Name != before.Charter().Metadata.Name {
		e := refusal(http.StatusForbidden, codeConstitutionalChange,
			"the change touches how the charter itself is governed, or what it protects, which is not decided by a token: replace the file where the server runs")
		for _, what := range touched {
			e.Errors = append(e.Errors, wire.Problem{Code: codeConstitutionalChange, Message: what + " differs", Location: what})
		}
		return none, e
	}
	path, kind := s.options.source()
	old, err := readFile(path, maxSource)
	if err != nil {
		return none, refusal(http.StatusConflict, codeSourceChanged, "the file of the policy cannot be read; the log says more")
	}
	k := &kept{
		Kept:   charterapi.Kept{Revision: before.Revision(), Digest: before.Charter().Digest(), Replaced: time.Now().UTC().Truncate(time.Second)},
		Source: path, Kind: kind, Content: old,
	}
	if err := s.exchange(ctx, path, r, k, trigger); err != nil {
		return none, err
	}
	after := s.engine.Current()
	return charterapi.Replaced{Previous: before.Revision(), Revision: after.Revision(), Digest: after.Charter().Digest(), Changed: true}, nil
}

// may says whether the policy may be replaced now, whatever by.
func (s replacer) may(r charterapi.Replacement) error {
	if no := s.replaceable(); no != nil {
		return no
	}
	_, kind := s.options.source()
	current := s.engine.Current()
	now := s.active.again(time.Now())
	changed := false
	for path, st := range s.active {
		changed = changed || path != s.options.State && now[path].sum != st.sum
	}
	switch {
	case r.Kind != kind:
		return refusal(http.StatusBadRequest, codeWrongSource, "this server serves a %s and takes nothing else", kind)
	case current == nil || r.Revision != current.Revision():
		return refusal(http.StatusPreconditionFailed, codeRevisionMismatch, "%s is in force, and not what If-Match names; look at what changed and ask again", revisionOf(current))
	case s.promoted:
		return refusal(http.StatusConflict, codePromoted, "a promoted candidate is in force that is not on disk; put it there, or reload")
	case changed:
		return refusal(http.StatusConflict, codeSourceChanged, "the policy on disk is not the one in force: somebody is changing it")
	case s.keeper != nil && s.keeper.fault.Load() != nil:
		e := refusal(http.StatusServiceUnavailable, codeAuditUnavailable, "the ledger cannot be written, so nothing is replaced; ask again")
		e.Retry = 2 * time.Second
		return e
	}
	return nil
}

// judge reads what is to be put in force as the server would.
func (s replacer) judge(r charterapi.Replacement) (*charter.Charter, error) {
	path, _ := s.options.source()
	open := s.judgeCharter
	if r.Kind == charterapi.KindBundle {
		open = s.judgeBundle
	}
	c, err := open(path, r.Content)
	if err != nil {
		return nil, err
	}
	if c.Digest() != r.Digest {
		return nil, refusal(http.StatusUnprocessableEntity, codeDigestMismatch, "what was sent is %s, and not what digest names", c.Digest())
	}
	return c, nil
}

// judgeCharter reads a charter in the place of the one that is served. What it
// extends is on disk.
func (s replacer) judgeCharter(path string, content []byte) (*charter.Charter, error) {
	read := func(name string) ([]byte, error) {
		if filepath.Clean(filepath.FromSlash(name)) == filepath.Clean(path) {
			return content, nil
		}
		if _, known := s.active[filepath.FromSlash(name)]; !known {
			return nil, fmt.Errorf("%w: a charter that is sent extends what the one in force does, and nothing else", fs.ErrPermission)
		}
		return readFile(name, charter.DefaultLimits().DocumentBytes)
	}
	c, findings := charter.Loader{Read: read}.Load(path)
	if c != nil && !findings.HasErrors() {
		findings = append(findings, s.program.compiler.Check(c)...)
		findings.Sort()
	}
	if c == nil || findings.HasErrors() {
		return nil, charterapi.Invalid("the charter is not valid", findings)
	}
	return c, nil
}

func (s replacer) judgeBundle(path string, content []byte) (*charter.Charter, error) {
	b, err := bundle.Read(bytes.NewReader(content), bundle.Limits{Compressed: maxSource, Unpacked: 4 * maxSource})
	if err == nil {
		_, err = s.program.compiler.verify(path, b)
	}
	if err != nil {
		var e *wire.Error
		if own, ok := errors.AsType[*PolicyError](err); ok {
			e = charterapi.Invalid("the bundle is refused: "+own.Err.Error(), own.Findings)
			e.Code = own.Code
			return nil, e
		}
		return nil, refusal(http.StatusUnprocessableEntity, CodeInvalidBundle, "the bundle is refused: %v", err)
	}
	text, _ := b.File(bundle.CharterFile) // verify has read it
	c, findings := charter.Loader{Limits: bundledCharter()}.Parse(bundle.CharterFile, text)
	if c == nil || findings.HasErrors() {
		return nil, charterapi.Invalid("the charter in the bundle is not valid", findings)
	}
	return c, nil
}

// exchange replaces the file and has it loaded; if it cannot be, what was there
// before is back, on disk and in what is kept.
func (s replacer) exchange(ctx context.Context, path string, r charterapi.Replacement, k *kept, trigger string) error {
	before := s.kept.Load()
	if err := s.keep(k); err != nil {
		return s.unwritable("what is replaced cannot be kept", err)
	}
	err := rewrite(path, r.Content)
	if err != nil {
		err = s.unwritable("the file of the policy cannot be replaced", err)
	} else {
		err = s.load(ctx, trigger, r.Principal)
		if err == nil {
			return nil
		}
		s.log.Error("the policy that was sent is not loaded; the one before is put back", "error", err.Error())
		err = refusal(http.StatusUnprocessableEntity, codeNotActivated, "the policy was refused when it was loaded, and the one before is back; the log says more")
	}
	undo := rewrite(path, k.Content)
	if undo == nil {
		undo = s.load(ctx, trigger+"-undone", r.Principal)
	}
	if before != nil {
		undo = errors.Join(undo, s.keep(before))
	} else {
		s.kept.Store(nil)
		undo = errors.Join(undo, os.Remove(filepath.Join(s.options.Data, keptFile)))
	}
	if undo != nil {
		s.log.Error("not all of a replacement of the policy was undone", "error", undo.Error())
	}
	return err
}

// load has the policy read again.
func (s replacer) load(ctx context.Context, trigger, principal string) error {
	s.by = principal
	defer func() { s.by = "" }()
	for _, p := range s.parts {
		if p.name == partPolicy {
			return s.reloadPart(ctx, p, trigger)
		}
	}
	return errors.New("there is no policy to load")
}

// keep keeps what is about to be replaced.
func (s replacer) keep(k *kept) error {
	data, err := json.Marshal(k)
	if err == nil {
		err = durable.MkdirAll(s.options.Data)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(s.options.Data, keptFile), data)
	}
	if err == nil {
		s.kept.Store(k)
	}
	return err
}

// unwritable is the refusal of who cannot write.
func (s replacer) unwritable(what string, err error) error {
	e := refusal(http.StatusInternalServerError, wire.CodeInternal, "%s; the log says more", what)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		e = refusal(http.StatusConflict, codeSourceReadOnly, "%s: this process may not write there", what)
	}
	e.Cause = err
	s.log.Error(what, "error", err.Error())
	return e
}

// rewrite replaces the content of a file and keeps its permissions.
func rewrite(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, content); err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm())
}
