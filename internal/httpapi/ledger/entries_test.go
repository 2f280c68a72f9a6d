package ledgerapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// record is an entry as it is answered.
type record struct {
	Index    uint64
	CID      string
	LeafHash []byte          `json:"leaf_hash"`
	Entry    json.RawMessage // of its own bytes
}

type pageOf struct {
	Entries []record
	Next    string
}

func (s *site) page(path string) pageOf {
	s.t.Helper()
	var p pageOf
	if err := json.Unmarshal(s.get(path).want(s.t, 200).body, &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func indices(p pageOf) (list []uint64) {
	for _, e := range p.Entries {
		list = append(list, e.Index)
	}
	return list
}

// An entry is answered byte for byte as the tree covers it.
func TestEntry(t *testing.T) {
	s := newSite(t, 12)
	for _, index := range []int{0, 11} {
		var e record
		if err := json.Unmarshal(s.get(fmt.Sprintf("/v1/ledger/entries/%d", index)).want(t, 200).body, &e); err != nil {
			t.Fatal(err)
		}
		row := s.store.Entries[index]
		if !bytes.Equal(e.Entry, row.Body) || e.CID != ledger.CID(row.Body) || !bytes.Equal(e.LeafHash, row.Hash[:]) || e.Index != row.Index {
			t.Errorf("%+v", e)
		}
		if _, err := ledger.ParseEntry(e.Entry); err != nil {
			t.Error(err)
		}
	}
	for path, status := range map[string]int{"/12": 404, "/x": 400, "/-1": 400, "/1/2": 404, "/1?x=1": 400, "/9223372036854775807": 404, "/18446744073709551616": 400} {
		s.get("/v1/ledger/entries"+path).want(t, status)
	}
}

// Pages in both orders meet every entry once, while the ledger grows.
func TestPages(t *testing.T) {
	s := newSite(t, 47)
	for order, want := range map[string]func(i uint64) uint64{
		"oldest": func(i uint64) uint64 { return i },
		"newest": func(i uint64) uint64 { return 46 - i },
	} {
		next, seen := "/v1/ledger/entries?limit=10&before=47&order="+order, uint64(0)
		for pages := 0; next != ""; pages++ {
			p := s.page(next)
			for _, index := range indices(p) {
				if index != want(seen) {
					t.Fatalf("%s: entry %d at place %d", order, index, seen)
				}
				seen++
			}
			if pages > 5 || len(p.Entries) > 10 {
				t.Fatalf("%s: page %d of %d", order, pages, len(p.Entries))
			}
			next = p.Next
		}
		if seen != 47 {
			t.Errorf("%s: %d entries", order, seen)
		}
		// New entries do not disturb who reads from the newest backwards.
		if _, err := s.log.Append(t.Context(), ledger.Entry{Kind: ledger.Load}, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.page("/v1/ledger/entries?limit=49"); p.Next != "" || len(p.Entries) != 49 {
		t.Errorf("the last page names another: %q after %d", p.Next, len(p.Entries))
	}
}

func TestFilters(t *testing.T) {
	s := newSite(t, 120)
	if _, err := s.log.Append(t.Context(), ledger.Entry{Kind: ledger.Activation, Revision: "Next-1"}, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	at := func(i int) string {
		e, err := ledger.ParseEntry(s.store.Entries[i].Body)
		if err != nil {
			t.Fatal(err)
		}
		return url.QueryEscape(e.Time)
	}
	for query, want := range map[string][]uint64{
		"node=edge-7":                        {7, 107},
		"node=edge-7&from=8":                 {107},
		"node=edge-7&before=107":             {7},
		"node=edge-7&order=newest":           {107, 7},
		"metric=node_gps_fix_3":              {3, 53, 103},
		"metric=node_gps_fix_3&node=edge-53": {53},
		"kind=activation":                    {120},
		"kind=activation,load":               nil, // refused: there is no kind load
		"kind=activation,charter-load":       {120},
		"kind=activation&kind=gap":           {120},
		"clause=none":                        {},
		"outcome=forbidden&limit=2":          {0, 1},
		"severity=low,critical&limit=1":      {0},
		"severity=low":                       {},
		"from=2&before=2":                    {},
		// Times that no entry can have are brought to the nearest one.
		"since=0001-01-01T00:00:00Z&before=2":        {0, 1},
		"since=1500-01-01T00:00:00Z&before=2":        {0, 1},
		"since=9999-12-31T23:59:59Z":                 {},
		"until=0001-01-01T00:00:00Z":                 {},
		"until=1500-01-01T00:00:00Z":                 {},
		"until=9999-12-31T23:59:59Z&before=2":        {0, 1},
		"since=2026-01-01T00:00:00%2B14:00&before=1": {0},

		"text=NEXT-1":                                  {120},
		"text=%22node%22:%22edge-11%22":                {11, 111},
		"since=" + at(119):                             {119, 120},
		"until=" + at(2):                               {0, 1},
		"since=" + at(3) + "&until=" + at(5):           {3, 4},
		"from=121":                                     {},
		"from=1000000":                                 {},
		"text=" + url.QueryEscape("' OR 1=1 --"):       {},
		"node=" + url.QueryEscape("edge-7' OR '1'='1"): {},
		"node=edge-7&text=" + url.QueryEscape("100%_"): {},
		"kind=" + url.QueryEscape(strings.Repeat(",", 9)) + "&limit=1": {0},
	} {
		if want == nil {
			s.get("/v1/ledger/entries?"+query).want(t, 400)
			continue
		}
		if got := indices(s.page("/v1/ledger/entries?" + query)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestSearchesRefused(t *testing.T) {
	s := newSite(t, 3)
	for query, location := range map[string]string{
		"nodes=x": "nodes", "limit=1001": "limit", "from=-1": "from", "before=0": "before", "since=yesterday": "since", "until=2026-01-01": "until", "order=up": "order",
		"format=xml": "format", "kind=denails": "kind", "text=" + strings.Repeat("x", maxText+1): "text",
		"severity=fatal": "severity", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z": "until",
		"from=3&before=2": "before", "metric=" + strings.Repeat("x", maxText+1): "metric", "kind=" + strings.Repeat("gap,", maxNames+1): "kind",
	} {
		var f wire.Error
		a := s.get("/v1/ledger/entries?"+query).want(t, 400)
		if err := json.Unmarshal(a.body, &f); err != nil || f.Code != wire.CodeInvalidRequest || len(f.Errors) != 1 || f.Errors[0].Location != location {
			t.Errorf("%.80s: %s", query, a.body)
		}
		if len(a.body) > 1500 {
			t.Errorf("%.80s: an answer of %d bytes", query, len(a.body))
		}
	}
	s.do(http.MethodPost, "/v1/ledger/entries", auditor, "{}").want(t, 405)
}

func TestNDJSON(t *testing.T) {
	s := newSite(t, 25)
	for _, a := range []answer{
		s.get("/v1/ledger/entries?limit=10&format=ndjson").want(t, 200),
		s.get("/v1/ledger/entries?limit=10", "Accept", "application/x-ndjson").want(t, 200),
	} {
		count := uint64(0)
		for line := range strings.Lines(string(a.body)) {
			var e record
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Index != count {
				t.Errorf("%v: %s", err, line)
			}
			count++
		}
		if count != 10 || a.Header.Get("Content-Type") != "application/x-ndjson" || !strings.Contains(a.Header.Get("Link"), "from=10") {
			t.Errorf("%d lines, %v", count, a.Header)
		}
	}
	if a := s.get("/v1/ledger/entries?from=20&format=ndjson").want(t, 200); a.Header.Get("Link") != "" {
		t.Errorf("after the last page: %v", a.Header)
	}
	if a := s.get("/v1/ledger/entries?from=25&format=ndjson").want(t, 200); len(a.body) != 0 {
		t.Errorf("%q", a.body)
	}
}

// Large entries make short pages, not large answers.
func TestLargePages(t *testing.T) {
	s := newSite(t, 0)
	const count = 150
	for i := range count {
		e := ledger.Entry{Kind: ledger.Load, Revision: fmt.Sprint(i) + strings.Repeat("x", 60_000)}
		if _, err := s.log.Append(t.Context(), e, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	}
	next, seen, pages := "/v1/ledger/entries?limit=1000", 0, 0
	for ; next != ""; pages++ {
		a := s.get(next).want(t, 200)
		if len(a.body) > maxPageBytes+maxPageBytes/10 {
			t.Fatalf("a page of %d bytes", len(a.body))
		}
		var p pageOf
		if err := json.Unmarshal(a.body, &p); err != nil {
			t.Fatal(err)
		}
		seen += len(p.Entries)
		next = p.Next
	}
	if seen != count || pages < 2 {
		t.Errorf("%d entries on %d pages", seen, pages)
	}
}

// Searches have a deadline and take turns.
func TestSearchIsBounded(t *testing.T) {
	s := newSite(t, 5)
	a := &api{Options: Options{Reader: s.log.Reader(), Timeout: 1, Log: slog.New(slog.DiscardHandler)}, searching: make(chan struct{}, 1)}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/ledger/entries", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &recorder{header: http.Header{}}
	a.handler(a.entries).ServeHTTP(w, r)
	if !bytes.Contains(w.body, []byte(`"code":"timeout"`)) || w.header.Get("Retry-After") == "" {
		t.Errorf("%s", w.body)
	}
	a.searching <- struct{}{}
	w = &recorder{header: http.Header{}}
	a.handler(a.entries).ServeHTTP(w, r)
	if !bytes.Contains(w.body, []byte(`"code":"too_many_requests"`)) {
		t.Errorf("%s", w.body)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add("kind=denial,gap&node=x&from=3&before=9&order=newest&limit=7&format=ndjson&since=2026-01-01T00:00:00Z&text=%25", "application/json")
	f.Add("a;b", "*/*")
	f.Add("since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59.999999999%2B23:59&severity=low,critical&from=8&before=9", "")
	f.Fuzz(func(t *testing.T, query, accept string) {
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"Accept": {accept}}}
		s, err := readSearch(r)
		if err != nil {
			if f := wire.From(err, refusal); f.Status != http.StatusBadRequest || len(f.Errors) != 1 || len(f.Message) > 1000 {
				t.Fatalf("%q: %+v", query, f)
			}
			return
		}
		if s.Limit < 1 || s.Limit > maxPage {
			t.Fatalf("%q: a page of %d", query, s.Limit)
		}
		for _, at := range []time.Time{s.Since, s.Until} {
			if !at.IsZero() && !time.Unix(0, at.UnixNano()).Equal(at) {
				t.Fatalf("%q: %s has no count of nanoseconds", query, at)
			}
		}
		if len(s.Text) > maxText || len(s.Kinds)+len(s.Severities) > maxNames || s.Filter.Before != 0 && s.Filter.From > s.Filter.Before {
			t.Fatalf("%q: %+v", query, s.Filter)
		}
		if s.Filter.From >= 1<<62 || s.Filter.From == s.Filter.Before { // no ledger is that long, or nothing lies between
			return
		}
		// The next page is asked for with a query that is understood.
		if r.URL, err = url.Parse(s.next(httptest.NewRecorder(), s.Filter.From)); err != nil {
			t.Fatal(err)
		}
		if _, err := readSearch(r); err != nil {
			t.Fatalf("%q is followed by %q: %v", query, r.URL.RawQuery, err)
		}
	})
}
