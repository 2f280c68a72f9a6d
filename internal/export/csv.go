package export

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/ledger"
)

// csvHeader names the columns. The body comes last: it holds all of the entry, as
// JSON.
func csvHeader() []string {
	return []string{
		"index", "time", "kind", "node", "metric", "outcome", "clause", "severity", "mode", "role", "operation", "purpose",
		"labels", "claims", "retention", "asked", "reasons", "principal", "request_id", "decision_id", "revision", "cid", "body",
	}
}

func (r *Record) csv() []string {
	e := &r.Entry
	var codes []string
	for _, reason := range e.Reasons {
		codes = append(codes, reason.Code)
	}
	cells := []string{
		strconv.FormatUint(r.Index, 10), e.Time, string(e.Kind), e.Node, e.Metric, e.Outcome, e.Clause, e.Severity, e.Mode,
		e.Role, e.Operation, e.Purpose, strings.Join(e.Labels, " "), strings.Join(e.Claims, " "), e.Retention, e.Asked,
		strings.Join(codes, " "), e.Principal, e.RequestID, e.DecisionID, e.Revision, ledger.CID(r.Body), string(r.Body),
	}
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	return cells
}

// harmless keeps a spreadsheet from taking a text that a caller chose for a
// formula: an apostrophe goes before what could begin one (OWASP, CSV injection).
func harmless(cell string) string {
	switch first, _ := utf8.DecodeRuneInString(cell); first {
	case '=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠':
		return "'" + cell
	}
	return cell
}

type csvWriter struct {
	out    *csv.Writer
	headed bool
}

func newCSVWriter(w io.Writer) *csvWriter { return &csvWriter{out: csv.NewWriter(w)} }

func (w *csvWriter) head() error {
	if w.headed {
		return nil
	}
	w.headed = true
	return w.out.Write(csvHeader())
}

func (w *csvWriter) Write(row ledger.Row) error {
	r, err := recordOf(row)
	if err == nil {
		err = w.head()
	}
	if err != nil {
		return err
	}
	return w.out.Write(r.csv())
}

func (w *csvWriter) Close() error { return errors.Join(w.head(), w.Flush()) }

// Flush passes on what was written so far.
func (w *csvWriter) Flush() error {
	w.out.Flush()
	return w.out.Error()
}

func readCSV(in io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		rows := csv.NewReader(in)
		rows.ReuseRecord = true
		header, err := rows.Read()
		if err != nil || !slices.Equal(header, csvHeader()) {
			yield(Record{}, fmt.Errorf("%w: not the columns of an export", ErrContent))
			return
		}
		for {
			cells, err := rows.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			var r Record
			if err == nil {
				r, err = parseCSV(cells)
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("%w: %w", ErrContent, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func parseCSV(cells []string) (Record, error) {
	index, err := strconv.ParseUint(cells[0], 10, 63)
	if err != nil {
		return Record{}, fmt.Errorf("%.40q is not an index", cells[0])
	}
	r, err := newRecord(index, []byte(cells[len(cells)-1]))
	if err != nil {
		return r, err
	}
	for i, want := range r.csv() {
		// Reading takes the line breaks of Windows for plain ones.
		if cells[i] != strings.ReplaceAll(want, "\r\n", "\n") {
			return r, fmt.Errorf("entry %d: column %s does not follow from its body", index, csvHeader()[i])
		}
	}
	return r, nil
}
