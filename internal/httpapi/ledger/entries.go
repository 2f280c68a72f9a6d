package ledgerapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// Parameters of a search that may be repeated.
const (
	kindKey     = "kind"
	severityKey = "severity"
)

// A page has at most maxPage entries, defaultPage unless the request says so, and
// ends early when its entries are larger than maxPageBytes together.
const (
	defaultPage  = 100
	maxPage      = 1000
	maxPageBytes = 4 << 20
)

const (
	// maxText is the length in bytes of the longest text that is searched for.
	maxText = 1024
	// maxNames is how many kinds and severities a search may name.
	maxNames = 64
)

// search is a request for entries.
type search struct {
	ledger.Filter

	query url.Values
	lines bool // NDJSON
}

// entries searches. A page is followed by the next one with from, or before when
// the newest entries come first.
func (a *api) entries(w http.ResponseWriter, r *http.Request) error {
	s, err := readSearch(r)
	if err != nil {
		return err
	}
	select {
	case a.searching <- struct{}{}:
		defer func() { <-a.searching }()
	default:
		return wire.TooMany("too many searches are under way, ask again", time.Second)
	}
	rows, more, err := a.page(r, s)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = s.next(w, rows[len(rows)-1].Index)
	}
	if s.lines {
		var body bytes.Buffer
		for _, row := range rows {
			writeEntry(&body, row)
			body.WriteByte('\n')
		}
		wire.Send(w, http.StatusOK, typeNDJSON, wire.NoStore, body.Bytes())
		return nil
	}
	var body bytes.Buffer
	body.WriteString(`{"entries":[`)
	for i, row := range rows {
		if i > 0 {
			body.WriteByte(',')
		}
		writeEntry(&body, row)
	}
	body.WriteByte(']')
	if more {
		fmt.Fprintf(&body, `,"next":%q`, next)
	}
	body.WriteString("}\n")
	wire.Send(w, http.StatusOK, wire.TypeJSON, wire.NoStore, body.Bytes())
	return nil
}

// page returns the entries of a page and whether there are more.
func (a *api) page(r *http.Request, s *search) (rows []ledger.Row, more bool, err error) {
	limit, bytes := s.Limit, 0
	f := s.Filter
	f.Limit++
	for row, err := range a.Reader.Find(r.Context(), f) {
		if err != nil {
			return nil, false, err
		}
		if len(rows) == limit || len(rows) > 0 && bytes+len(row.Body) > maxPageBytes {
			return rows, true, nil
		}
		row.Body = slices.Clone(row.Body) // stores may use it again
		rows = append(rows, row)
		bytes += len(row.Body)
	}
	return rows, false, nil
}

// next names the page after the one that ends with an entry.
func (s *search) next(w http.ResponseWriter, end uint64) string {
	if s.Newest {
		return wire.Next(w, entriesPath, s.query, "before", strconv.FormatUint(end, 10))
	}
	return wire.Next(w, entriesPath, s.query, "from", strconv.FormatUint(end+1, 10))
}

// one is the entry whose index follows a prefix of the path.
func (a *api) one(r *http.Request, prefix string) (ledger.Row, error) {
	if _, err := wire.Parameters(r); err != nil {
		return ledger.Row{}, err
	}
	text, err := wire.Segment(r, prefix, "")
	if err != nil {
		return ledger.Row{}, err
	}
	index, err := wire.Number("index", text, 0)
	if err != nil {
		return ledger.Row{}, err
	}
	row, err := a.Reader.Entry(r.Context(), index)
	if err == nil && row.Body == nil {
		err = &wire.Error{
			Status: http.StatusGone, Code: codePruned,
			Message: fmt.Sprintf("entry %d was exported and pruned; its hash is still in the tree", index),
		}
	}
	return row, err
}

// entry is one entry by its index.
func (a *api) entry(w http.ResponseWriter, r *http.Request) error {
	row, err := a.one(r, entriesPath)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	writeEntry(&body, row)
	body.WriteByte('\n')
	wire.Send(w, http.StatusOK, wire.TypeJSON, wire.NoStore, body.Bytes())
	return nil
}

// receipt is the proof of an entry for those who only have the keys.
func (a *api) receipt(w http.ResponseWriter, r *http.Request) error {
	row, err := a.one(r, receiptPath)
	if err != nil {
		return err
	}
	text, err := a.Reader.Receipt(r.Context(), row.Index)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename="entry-%d.tlog-proof"`, row.Index))
	wire.Send(w, http.StatusOK, wire.TypeText, wire.NoStore, text)
	return nil
}

// writeEntry writes an entry as JSON. The body stands in it as it is in the tree:
// canonical JSON, byte for byte.
func writeEntry(b *bytes.Buffer, row ledger.Row) {
	fmt.Fprintf(b, `{"index":%d,"cid":%q,"leaf_hash":%q,"entry":%s}`,
		row.Index, ledger.CID(row.Body), base64.StdEncoding.EncodeToString(row.Hash[:]), row.Body)
}

// readSearch reads the parameters of a search.
func readSearch(r *http.Request) (*search, error) {
	q, err := wire.Lists(r, []string{kindKey, severityKey}, "node", "metric", "clause", "outcome", "since", "until", "text",
		"from", "before", "order", "limit", "format")
	if err != nil {
		return nil, err
	}
	s := &search{query: q}
	s.Node, s.Metric, s.Clause, s.Outcome, s.Text = q.Get("node"), q.Get("metric"), q.Get("clause"), q.Get("outcome"), q.Get("text")
	for _, name := range []string{"node", "metric", "clause", "outcome", "text"} {
		if len(q.Get(name)) > maxText {
			return nil, wire.Wrong(wire.CodeInvalidValue, name, "%s is longer than %d bytes", name, maxText)
		}
	}
	for _, name := range list(q[kindKey]) {
		if !slices.Contains(ledger.Kinds(), ledger.Kind(name)) {
			return nil, wire.Wrong(wire.CodeInvalidValue, kindKey, "unknown kind %.100q; there are %v", name, ledger.Kinds())
		}
		s.Kinds = append(s.Kinds, ledger.Kind(name))
	}
	for _, name := range list(q[severityKey]) {
		if known := []string{"critical", "high", "medium", "low", "none"}; !slices.Contains(known, name) {
			return nil, wire.Wrong(wire.CodeInvalidValue, severityKey, "unknown severity %.100q; there are %v", name, known)
		}
		s.Severities = append(s.Severities, name)
	}
	if len(s.Kinds)+len(s.Severities) > maxNames {
		return nil, wire.Wrong(wire.CodeInvalidValue, kindKey, "more than %d kinds and severities are given", maxNames)
	}
	if s.Since, err = wire.Time(q, "since"); err != nil {
		return nil, err
	}
	if s.Until, err = wire.Time(q, "until"); err != nil {
		return nil, err
	}
	if !s.Until.IsZero() && s.Until.Before(s.Since) {
		return nil, wire.Wrong(wire.CodeInvalidValue, "until", "until is before since: nothing lies between them")
	}
	if s.From, err = wire.Number("from", q.Get("from"), 0); err != nil {
		return nil, err
	}
	if s.Before, err = wire.Before(q); err != nil {
		return nil, err
	}
	if s.Before != 0 && s.From > s.Before {
		return nil, wire.Wrong(wire.CodeInvalidValue, "before", "before is less than from: %d and %d", s.Before, s.From)
	}
	if s.Limit, err = wire.Limit(q, defaultPage, maxPage); err != nil {
		return nil, err
	}
	return s, s.form(r)
}

// form reads in which order and form entries are wanted.
func (s *search) form(r *http.Request) error {
	order, err := wire.OneOf(s.query, "order", "oldest", "newest")
	if err != nil {
		return err
	}
	s.Newest = order == "newest"
	format, err := wire.OneOf(s.query, "format", "json", "ndjson")
	if err != nil {
		return err
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Accept")) // what is no single media type is no wish
	s.lines = format == "ndjson" || format == "" && (media == typeNDJSON || media == "application/ndjson")
	return nil
}

// list joins repeated values and values with commas.
func list(values []string) (all []string) {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}
