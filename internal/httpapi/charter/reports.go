package charterapi

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/report"
	"github.com/westworld-charter/charter/internal/wire"
)

// Paths of reports.
const (
	auditReportPath      = "/v1/reports/audit"
	collectionReportPath = "/v1/reports/collection"
)

const (
	// reportRows bounds tables and lists of a report over HTTP; totals stay exact.
	reportRows = 1000
	// reportTimeout bounds the reading for one: a million entries take seconds.
	reportTimeout = 2 * time.Minute
	// reporters is how many reports are made at the same time.
	reporters = 1
)

func (a *api) reportRoutes() []wire.Route {
	return []wire.Route{
		a.long(auditReportPath, a.auditReport, wire.ScopeAudit),
		a.long(collectionReportPath+"/:id", a.collectionReport, wire.AnyScope),
	}
}

// long is a route that reads for longer than others may.
func (a *api) long(path string, serve handler, scope string) wire.Route {
	patient := *a
	patient.Timeout = reportTimeout
	return wire.Route{Method: http.MethodGet, Path: path, Scope: scope, MaxBody: maxBody, Handler: patient.handler(serve)}
}

// auditReport is the periodic report.
func (a *api) auditReport(w http.ResponseWriter, r *http.Request) error {
	return a.reportOn(w, r, report.NewAudit)
}

// collectionReport is what one node collected, for auditors and for itself.
func (a *api) collectionReport(w http.ResponseWriter, r *http.Request) error {
	id, err := wire.Segment(r, collectionReportPath, "")
	if err != nil {
		return err
	}
	who := a.Caller(r.Context())
	if !who.has(wire.ScopeAudit, wire.ScopeAdmin) && (who.Node == "" || who.Node != id) {
		return notYours("the report on a node is shown to itself, and to the scope audit")
	}
	return a.reportOn(w, r, func(o report.Options) report.Builder { return report.NewCollection(id, o) })
}

// reportOn makes a report from the ledger that this server keeps, and says that nobody
// verified it: who does not trust the server makes it of what it verifies, with
// `charter-admin audit report`.
func (a *api) reportOn(w http.ResponseWriter, r *http.Request, of func(report.Options) report.Builder) error {
	q, err := wire.Parameters(r, "quarter", "from", "to", "format")
	if err != nil {
		return err
	}
	o := report.Options{Rows: reportRows}
	if o.Period, err = period(q); err != nil {
		return err
	}
	format, err := wire.OneOf(q, "format", string(report.JSON), string(report.Markdown), string(report.HTML))
	if err != nil {
		return err
	}
	if format == "" {
		format = string(report.JSON)
	}
	if c := a.Charter(); c != nil {
		o.Charters = []*charter.Charter{c}
	}
	// The server's own bound would cut off what may take longer; a writer that cannot
	// move it (a test's) has none.
	_ = http.NewResponseController(w).SetWriteDeadline(a.Now().Add(reportTimeout + a.Timeout))
	text, err := a.write(r.Context(), report.Format(format), of(o))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	wire.Send(w, http.StatusOK, report.Format(format).MediaType(), wire.NoStore, text)
	return nil
}

// write makes a report unless another is being made: who asks for too much at once is
// told so.
func (a *api) write(ctx context.Context, f report.Format, b report.Builder) ([]byte, error) {
	select {
	case a.reporting <- struct{}{}:
		defer func() { <-a.reporting }()
	default:
		return nil, wire.TooMany("another report is being made, ask again", time.Second)
	}
	document, err := report.Make(ctx, a.History, b, report.Assurance{Level: report.Unverified})
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = report.Write(&text, f, document)
	return text.Bytes(), err
}

// period is a quarter, or what lies between two times.
func period(q url.Values) (report.Period, error) {
	quarter := q.Get("quarter")
	from, err := wire.Time(q, "from")
	if err != nil {
		return report.Period{}, err
	}
	to, err := wire.Time(q, "to")
	if err != nil {
		return report.Period{}, err
	}
	switch {
	case quarter != "" && from.IsZero() && to.IsZero():
		p, err := report.ParseQuarter(quarter)
		if err != nil {
			return p, wire.Wrong(wire.CodeInvalidValue, "quarter", "%s", wire.Cut(err.Error(), wire.MaxMessage))
		}
		return p, nil
	case quarter == "" && !from.IsZero() && !to.IsZero():
		p, err := report.NewPeriod(from, to)
		if err != nil {
			return p, wire.Wrong(wire.CodeInvalidValue, "from", "%s", err)
		}
		return p, nil
	default:
		return report.Period{}, wire.Wrong(wire.CodeMissingField, "quarter", "name the time of the report: either quarter, such as 2026Q4, or both from and to")
	}
}
