package enforcement

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Limits of a [Report] in bytes.
const (
	MaxDescription       = 16 << 10
	MaxEvidence          = 1 << 20
	MaxAnonymousEvidence = 64 << 10 // of one without a reporter
	maxShort             = 256      // of names, clauses, media types and request ids
)

// Types returns the closed list of types of violations.
func Types() []string {
	return []string{"silent_collection", "behavioral_prediction", "data_extraction", "unauthorized_override", "algorithm_manipulation", "exploitation"}
}

// Report is what somebody says that a node did.
type Report struct {
	Type        string // one of [Types]
	Node        string
	Clause      string // that was violated; may be ""
	Metric      string // may be ""
	Description string
	Evidence    []byte
	MediaType   string // of the evidence; "" is application/octet-stream
	Reporter    string // principal; "" is anonymous
	RequestID   string // chosen by the reporter, the same in a retry; may be ""
}

func (r *Report) check(c *charter.Charter) error {
	evidence := MaxEvidence
	if r.Reporter == "" {
		evidence = MaxAnonymousEvidence
		if !c.Reports.Anonymous {
			return refuse(ReportsClosed, "the charter takes no anonymous reports; say who you are, with a token or a certificate")
		}
	}
	switch {
	case !slices.Contains(Types(), r.Type):
		return refuse(InvalidReport, "type: it is one of %v", Types())
	case r.Node == "" || len(r.Node) > decision.MaxNameBytes || !utf8.ValidString(r.Node):
		return refuse(InvalidReport, "node: it must name a node, in %d bytes at most", decision.MaxNameBytes)
	case len(r.Metric) > decision.MaxNameBytes || !utf8.ValidString(r.Metric):
		return refuse(InvalidReport, "metric: it must be a name of %d bytes at most", decision.MaxNameBytes)
	case len(r.Description) > MaxDescription || !utf8.ValidString(r.Description):
		return refuse(InvalidReport, "description: it must be UTF-8 of %d bytes at most", MaxDescription)
	case len(r.Evidence) > evidence:
		return refuse(EvidenceTooLarge, "evidence: it must be of %d bytes at most", evidence)
	case len(r.MediaType) > maxShort || !utf8.ValidString(r.MediaType):
		return refuse(InvalidReport, "media_type: it must be of %d bytes at most", maxShort)
	case len(r.RequestID) > maxShort || len(r.Reporter) > 2*maxShort || !utf8.ValidString(r.RequestID):
		return refuse(InvalidReport, "request_id: it must be of %d bytes at most", maxShort)
	case r.Clause != "" && severityOf(c, r.Clause) == "":
		return refuse(UnknownClause, "clause: the charter has no clause %q", r.Clause)
	}
	return nil
}

// severityOf is how grave a violation of a clause is; "" when there is no such clause.
func severityOf(c *charter.Charter, id string) string {
	if f := forbidden(c, id); f != nil {
		return f.Severity
	}
	for _, clause := range c.AllClauses() {
		if clause.ID == id {
			return "medium"
		}
	}
	return ""
}

// content is what is kept as evidence: the description as it is, or a document of
// both.
func (r *Report) content() (content []byte, mediaType string, err error) {
	if len(r.Evidence) == 0 {
		return []byte(r.Description), "text/plain; charset=utf-8", nil
	}
	kind := r.MediaType
	if kind == "" {
		kind = "application/octet-stream"
	}
	if r.Description == "" {
		return r.Evidence, kind, nil
	}
	content, err = json.Marshal(struct {
		Description string `json:"description"`
		MediaType   string `json:"media_type"`
		Evidence    []byte `json:"evidence"`
	}{r.Description, kind, r.Evidence})
	return content, "application/json", err
}

// Report records what somebody reports. It counts for nothing until an investigation
// confirms it. A repeated request returns what it returned before.
func (e *Enforcer) Report(ctx context.Context, r Report) (Violation, error) {
	start := time.Now()
	c := e.Charter()
	if c == nil {
		return Violation{}, refuse(Unavailable, "there is no charter")
	}
	if err := r.check(c); err != nil {
		return Violation{}, err
	}
	id := "r" + digest(rand.Text())
	if r.RequestID != "" {
		id = "r" + digest(r.Reporter, r.RequestID)
	}
	if v, known := e.Violation(id); known {
		return v, nil
	}
	if !e.reports.allow(r.Reporter, start) {
		return Violation{}, refuse(TooManyReports, "too many reports; try again in a minute")
	}
	kept, err := e.keep(ctx, r.content)
	if err != nil {
		return Violation{}, err
	}
	err = e.command(ctx, ledger.Durable, func(_ *state, now time.Time) (ledger.Entry, error) {
		record := ledger.ViolationRecord{ID: id, Source: ledger.FromReport, At: textOf(now), Type: r.Type, Reporter: r.Reporter, Evidence: kept}
		if f := forbidden(c, r.Clause); f != nil {
			record.Penalty = f.Penalty
		}
		entry, err := entryOf(ledger.Violation, r.Node, "report/"+id, record)
		entry.Clause, entry.Metric, entry.Severity = r.Clause, r.Metric, severityOf(c, r.Clause)
		if entry.Severity == "" {
			entry.Severity = "medium"
		}
		return entry, err
	})
	v, known := e.Violation(id)
	if err != nil && !known {
		e.drop(ctx, kept)
		return Violation{}, err
	}
	e.Observer.ReportLatency(time.Since(start))
	return v, nil
}

// keep keeps a content; nil when there is nothing to keep, or nowhere.
func (e *Enforcer) keep(ctx context.Context, content func() ([]byte, string, error)) (*ledger.EvidenceRef, error) {
	data, mediaType, err := content()
	if err != nil || len(data) == 0 {
		return nil, err
	}
	if e.Evidence == nil {
		return nil, refuse(Unavailable, "there is no place to keep what was written")
	}
	ref, err := e.Evidence.Put(ctx, data, mediaType)
	if err != nil {
		return nil, err
	}
	return &ref, nil
}

// drop forgets what no entry refers to.
func (e *Enforcer) drop(ctx context.Context, ref *ledger.EvidenceRef) {
	if ref == nil {
		return
	}
	if err := e.Evidence.Erase(context.WithoutCancel(ctx), ref.Hash); err != nil {
		e.Logger.Warn("evidence that no entry refers to is left", "hash", ref.Hash, "error", err.Error())
	}
}
