package charterapi

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

func (a *api) violationRoutes() []wire.Route {
	report := a.post(violationsPath, a.report, maxReport, wire.AnyScope)
	report.Guests, report.Unlogged = true, true
	return []wire.Route{
		report,
		a.get(violationsPath, a.violations, wire.ScopeAudit, wire.ScopeCommittee),
		a.get(violationsPath+"/:id", a.violation, wire.ScopeAudit, wire.ScopeCommittee),
		a.get(evidencePath+"/:hash", a.evidence, wire.ScopeCommittee),
	}
}

// typeForm is the media type of a report with a file.
const typeForm = "multipart/form-data"

// evidencePath is where those who investigate read what people wrote and sent.
const evidencePath = "/v1/evidence"

// reportBody is a report as it is sent. In a form the members are its fields, and
// evidence is a file.
type reportBody struct {
	Type        string        `json:"type"`
	Node        string        `json:"node"`
	Clause      string        `json:"clause"`
	Metric      string        `json:"metric"`
	Description string        `json:"description"`
	Anonymous   bool          `json:"anonymous"` // leaves out who reports, although it is proven
	Evidence    *evidenceBody `json:"evidence"`
}

type evidenceBody struct {
	MediaType string `json:"media_type"`
	Data      []byte `json:"data"` // Base64
}

// report takes a report. What can be refused before the body is read is: an
// unwanted report costs nothing.
func (a *api) report(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	received := a.Now()
	who := a.Caller(r.Context())
	open := a.Charter() != nil && a.Charter().Reports.Anonymous
	if who.Principal == "" && !open {
		return &wire.Error{
			Status: http.StatusForbidden, Code: string(enforcement.ReportsClosed),
			Message: "the charter takes no anonymous reports (reports.anonymous); report with a token or a client certificate",
		}
	}
	if err := a.admit(r, who, received); err != nil {
		return err
	}
	select {
	case a.reading <- struct{}{}:
		defer func() { <-a.reading }()
	default:
		return wire.TooMany("too many reports arrive at once, ask again", time.Second)
	}
	b, err := readReport(w, r)
	if err != nil {
		return err
	}
	in := enforcement.Report{
		Type: b.Type, Node: b.Node, Clause: b.Clause, Metric: b.Metric, Description: b.Description,
		Reporter: who.Principal, RequestID: who.RequestID,
	}
	if b.Evidence != nil {
		in.Evidence, in.MediaType = b.Evidence.Data, b.Evidence.MediaType
	}
	if b.Anonymous {
		in.Reporter = ""
	}
	v, err := a.Enforcer.Report(r.Context(), in)
	if err != nil {
		return err
	}
	w.Header().Set("Location", violationsPath+"/"+v.ID)
	if in.Reporter == "" { // who guesses an Idempotency-Key of somebody else must not learn what they said
		return wire.SendJSON(w, http.StatusCreated, violation{ID: v.ID, Entry: v.Index, Time: v.Time.UTC(), Source: v.Source, Status: v.Status})
	}
	return wire.SendJSON(w, http.StatusCreated, violationOf(v))
}

// admit holds the budgets of reports.
func (a *api) admit(r *http.Request, who Caller, now time.Time) error {
	wait := time.Duration(0)
	if who.Principal == "" {
		wait = a.guests.take(sourceOf(r), now)
	} else {
		wait = a.known.take(who.Principal, now)
	}
	if wait == 0 {
		return nil
	}
	return &wire.Error{
		Status: http.StatusTooManyRequests, Code: string(enforcement.TooManyReports), Retry: wait,
		Message: "too many reports; nothing was recorded, ask again later",
	}
}

func readReport(w http.ResponseWriter, r *http.Request) (reportBody, error) {
	media, params, err := wire.Media(r, wire.TypeJSON, typeForm)
	if err != nil {
		return reportBody{}, err
	}
	body, err := wire.Body(w, r, maxReport)
	if err != nil {
		return reportBody{}, err
	}
	if media == typeForm {
		return parseForm(body, params["boundary"])
	}
	return parseReport(body)
}

func parseReport(body []byte) (b reportBody, err error) {
	if err := wire.Decode(body, &b); err != nil {
		return reportBody{}, err
	}
	if b.Evidence != nil && len(b.Evidence.Data) > enforcement.MaxEvidence {
		return reportBody{}, evidenceTooLarge()
	}
	return b, nil
}

func evidenceTooLarge() *wire.Error {
	return &wire.Error{
		Status: http.StatusRequestEntityTooLarge, Code: string(enforcement.EvidenceTooLarge),
		Message: "the evidence is larger than 1 MiB",
	}
}

// maxParts bounds the parts of a form.
const maxParts = 16

// parseForm reads a report in a form (RFC 7578). Nothing of it is written to disk.
func parseForm(body []byte, boundary string) (b reportBody, err error) {
	if boundary == "" {
		return b, wire.Wrong(wire.CodeInvalidValue, "", "the form has no boundary")
	}
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	seen := map[string]bool{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return reportBody{}, wire.Wrong(wire.CodeInvalidValue, "", "the form is malformed, or ends too early")
		}
		name := part.FormName()
		if seen[name] || len(seen) == maxParts {
			return reportBody{}, wire.Wrong(wire.CodeInvalidValue, wire.Echo(name), "the field %q is given twice", wire.Echo(name))
		}
		seen[name] = true
		content, err := io.ReadAll(io.LimitReader(part, enforcement.MaxEvidence+1))
		if err != nil {
			return reportBody{}, wire.Wrong(wire.CodeInvalidValue, wire.Echo(name), "the form is malformed, or ends too early")
		}
		if err := b.set(name, content, part.Header.Get("Content-Type")); err != nil {
			return reportBody{}, err
		}
	}
}

// set takes a field of a form.
func (b *reportBody) set(name string, content []byte, media string) error {
	if name == "evidence" {
		if len(content) > enforcement.MaxEvidence {
			return evidenceTooLarge()
		}
		b.Evidence = &evidenceBody{MediaType: media, Data: content}
		return nil
	}
	if len(content) > maxBody {
		return wire.Wrong(wire.CodeInvalidValue, wire.Echo(name), "%s is longer than %d bytes", wire.Echo(name), maxBody)
	}
	text := string(content)
	switch name {
	case "type":
		b.Type = text
	case "node":
		b.Node = text
	case "clause":
		b.Clause = text
	case "metric":
		b.Metric = text
	case "description":
		b.Description = text
	case "anonymous":
		if text != "true" && text != "false" {
			return wire.Wrong(wire.CodeInvalidValue, name, "anonymous is true or false")
		}
		b.Anonymous = text == "true"
	default:
		return wire.Wrong(wire.CodeUnknownField, wire.Echo(name), "unknown field %q; type, node, clause, metric, description, anonymous and evidence are known", wire.Echo(name))
	}
	return nil
}

// A page has defaultPage items unless the request says so, and maxPage at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

// violations lists, the newest first. A page is followed by the next one with before.
func (a *api) violations(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "node", "clause", "severity", "type", "source", "status", "since", "until", "before", "limit")
	if err != nil {
		return err
	}
	f := enforcement.Filter{Node: q.Get("node"), Clause: q.Get("clause"), Type: q.Get("type")}
	if f.Severity, err = wire.OneOf(q, "severity", "low", "medium", "high", "critical"); err != nil {
		return err
	}
	if f.Source, err = wire.OneOf(q, "source", ledger.FromDenial, ledger.FromReport); err != nil {
		return err
	}
	f.Status, err = wire.OneOf(q, "status", enforcement.Reported, enforcement.Counted, enforcement.Confirmed, enforcement.Unfounded, enforcement.Dismissed)
	if err != nil {
		return err
	}
	limit, err := page(q, &f)
	if err != nil {
		return err
	}
	found := a.Enforcer.Violations(f)
	next := ""
	if len(found) > limit {
		found = found[:limit]
		next = follow(w, violationsPath, q, found[limit-1].Index)
	}
	list := make([]violation, len(found))
	for i, v := range found {
		list[i] = violationOf(v)
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"violations": list, "next": next})
}

func (a *api) violation(w http.ResponseWriter, r *http.Request) error {
	id, err := one(r, violationsPath, "")
	if err != nil {
		return err
	}
	v, ok := a.Enforcer.Violation(id)
	if !ok {
		return unknown(enforcement.UnknownViolation, "there is no violation %q", wire.Echo(id))
	}
	return wire.SendJSON(w, http.StatusOK, violationOf(v))
}

// evidence is what somebody sent, as it was sent: foreign bytes, which no browser may
// take for anything else.
func (a *api) evidence(w http.ResponseWriter, r *http.Request) error {
	hash, err := one(r, evidencePath, "")
	if err != nil {
		return err
	}
	if a.Evidence == nil {
		return unknown(enforcement.UnknownEvidence, "this server keeps no evidence")
	}
	content, media, err := a.Evidence.Get(r.Context(), hash)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Disposition", "attachment; filename=evidence")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Evidence-Type", strings.Map(visible, media))
	wire.Send(w, http.StatusOK, wire.TypeBytes, wire.NoStore, content)
	return nil
}

// visible drops what cannot stand in a header.
func visible(c rune) rune {
	if c < ' ' || c > '~' {
		return -1
	}
	return c
}
