package ledgerapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
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
		return &fault{status: http.StatusTooManyRequests, Code: codeTooMany, Message: "too many searches are under way, ask again"}
	}
	rows, more, err := a.page(r, s)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = s.next(rows[len(rows)-1].Index)
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", entriesPath, next))
	}
	if s.lines {
		var body bytes.Buffer
		for _, row := range rows {
			writeEntry(&body, row)
			body.WriteByte('\n')
		}
		send(w, typeNDJSON, cacheNever, body.Bytes())
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
		fmt.Fprintf(&body, `,"next":%q`, entriesPath+"?"+next)
	}
	body.WriteString("}\n")
	send(w, typeJSON, cacheNever, body.Bytes())
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

// next is the query of the page after the one that ends with an entry.
func (s *search) next(end uint64) string {
	q := url.Values{}
	for name, values := range s.query {
		q[name] = values
	}
	if s.Newest {
		q.Set("before", strconv.FormatUint(end, 10))
	} else {
		q.Set("from", strconv.FormatUint(end+1, 10))
	}
	return q.Encode()
}

// entry is one entry by its index.
func (a *api) entry(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	index, err := indexAfter(r, entriesPath)
	if err != nil {
		return err
	}
	row, err := a.Reader.Entry(r.Context(), index)
	if err != nil {
		return err
	}
	if row.Body == nil {
		return pruned(index)
	}
	var body bytes.Buffer
	writeEntry(&body, row)
	body.WriteByte('\n')
	send(w, typeJSON, cacheNever, body.Bytes())
	return nil
}

func pruned(index uint64) *fault {
	return &fault{
		status: http.StatusGone, Code: codePruned,
		Message: fmt.Sprintf("entry %d was exported and pruned; its hash is still in the tree", index),
	}
}

// receipt is the proof of an entry for those who only have the keys.
func (a *api) receipt(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	index, err := indexAfter(r, receiptPath)
	if err != nil {
		return err
	}
	row, err := a.Reader.Entry(r.Context(), index)
	if err != nil {
		return err
	}
	if row.Body == nil {
		return pruned(index)
	}
	text, err := a.Reader.Receipt(r.Context(), index)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename="entry-%d.tlog-proof"`, index))
	send(w, typeText, cacheNever, text)
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
	q, err := parameters(r, kindKey, severityKey, "node", "metric", "clause", "outcome", "since", "until", "text",
		"from", "before", "order", "limit", "format")
	if err != nil {
		return nil, err
	}
	s := &search{query: q}
	s.Node, s.Metric, s.Clause, s.Outcome, s.Text = q.Get("node"), q.Get("metric"), q.Get("clause"), q.Get("outcome"), q.Get("text")
	for _, name := range []string{"node", "metric", "clause", "outcome", "text"} {
		if len(q.Get(name)) > maxText {
			return nil, wrong(codeInvalidValue, name, "%s is longer than %d bytes", name, maxText)
		}
	}
	for _, name := range list(q[kindKey]) {
		if !slices.Contains(ledger.Kinds(), ledger.Kind(name)) {
			return nil, wrong(codeInvalidValue, kindKey, "unknown kind %.100q; there are %v", name, ledger.Kinds())
		}
		s.Kinds = append(s.Kinds, ledger.Kind(name))
	}
	for _, name := range list(q[severityKey]) {
		if known := []string{"critical", "high", "medium", "low", "none"}; !slices.Contains(known, name) {
			return nil, wrong(codeInvalidValue, severityKey, "unknown severity %.100q; there are %v", name, known)
		}
		s.Severities = append(s.Severities, name)
	}
	if len(s.Kinds)+len(s.Severities) > maxNames {
		return nil, wrong(codeInvalidValue, kindKey, "more than %d kinds and severities are given", maxNames)
	}
	if s.Since, err = moment("since", q.Get("since")); err != nil {
		return nil, err
	}
	if s.Until, err = moment("until", q.Get("until")); err != nil {
		return nil, err
	}
	if !s.Until.IsZero() && s.Until.Before(s.Since) {
		return nil, wrong(codeInvalidValue, "until", "until is before since: nothing lies between them")
	}
	if s.From, err = number("from", q.Get("from"), 0); err != nil {
		return nil, err
	}
	if s.Before, err = number("before", q.Get("before"), 0); err != nil {
		return nil, err
	}
	if q.Get("before") == "0" {
		return nil, wrong(codeInvalidValue, "before", "there is nothing before entry 0")
	}
	if s.Before != 0 && s.From > s.Before {
		return nil, wrong(codeInvalidValue, "before", "before is less than from: %d and %d", s.Before, s.From)
	}
	limit, err := number("limit", q.Get("limit"), defaultPage)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > maxPage {
		return nil, wrong(codeInvalidValue, "limit", "limit is not between 1 and %d: %d", maxPage, limit)
	}
	s.Limit = int(limit)
	return s, s.form(r)
}

// form reads in which order and form entries are wanted.
func (s *search) form(r *http.Request) error {
	switch order := s.query.Get("order"); order {
	case "", "oldest":
	case "newest":
		s.Newest = true
	default:
		return wrong(codeInvalidValue, "order", "order is oldest or newest, not %.100q", order)
	}
	switch format := s.query.Get("format"); format {
	case "json":
	case "ndjson":
		s.lines = true
	case "":
		media, _, _ := mime.ParseMediaType(r.Header.Get("Accept")) // what is no single media type is no wish
		s.lines = media == typeNDJSON || media == "application/ndjson"
	default:
		return wrong(codeInvalidValue, "format", "format is json or ndjson, not %.100q", format)
	}
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

func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, wrong(codeInvalidValue, name, "%s is not a time such as 2026-06-01T12:00:00Z: %.100q", name, text)
	}
	// Entries count nanoseconds since 1970; a time that these cannot say is brought
	// to the nearest one that they can. The zero time would select everything.
	if first, last := time.Unix(0, 1), time.Unix(0, math.MaxInt64); t.Before(first) {
		t = first
	} else if t.After(last) {
		t = last
	}
	return t, nil
}
