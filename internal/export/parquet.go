package export

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"

	"github.com/parquet-go/parquet-go"

	"github.com/westworld-charter/charter/internal/ledger"
)

// column is a record in a Parquet file. Body holds all of the entry, as JSON.
type column struct {
	Index      int64    `parquet:"index,delta"`
	Time       int64    `parquet:"time,timestamp(nanosecond),delta"`
	Kind       string   `parquet:"kind,dict"`
	Node       string   `parquet:"node,dict"`
	Metric     string   `parquet:"metric,dict"`
	Outcome    string   `parquet:"outcome,dict"`
	Clause     string   `parquet:"clause,dict"`
	Severity   string   `parquet:"severity,dict"`
	Mode       string   `parquet:"mode,dict"`
	Role       string   `parquet:"role,dict"`
	Operation  string   `parquet:"operation,dict"`
	Purpose    string   `parquet:"purpose,dict"`
	Labels     []string `parquet:"labels,list"`
	Claims     []string `parquet:"claims,list"`
	Retention  string   `parquet:"retention,dict"`
	Asked      string   `parquet:"asked"`
	Reasons    []string `parquet:"reasons,list"` // codes
	Principal  string   `parquet:"principal,dict"`
	RequestID  string   `parquet:"request_id"`
	DecisionID string   `parquet:"decision_id"`
	Revision   string   `parquet:"revision,dict"`
	CID        string   `parquet:"cid"`
	Body       string   `parquet:"body"`
}

func (r *Record) column() (column, error) {
	e := &r.Entry
	at, err := e.At()
	if err != nil {
		return column{}, err
	}
	c := column{
		Index: int64(r.Index), Time: at.UnixNano(), Kind: string(e.Kind), Node: e.Node, Metric: e.Metric, Outcome: e.Outcome,
		Clause: e.Clause, Severity: e.Severity, Mode: e.Mode, Role: e.Role, Operation: e.Operation, Purpose: e.Purpose,
		Labels: e.Labels, Claims: e.Claims, Retention: e.Retention, Asked: e.Asked, Principal: e.Principal,
		RequestID: e.RequestID, DecisionID: e.DecisionID, Revision: e.Revision, CID: ledger.CID(r.Body), Body: string(r.Body),
	}
	for _, reason := range e.Reasons {
		c.Reasons = append(c.Reasons, reason.Code)
	}
	return c, nil
}

// groupBytes is the size of the bodies in a row group: what is held in memory.
const groupBytes = 32 << 20

type parquetWriter struct {
	out   *parquet.GenericWriter[column]
	bytes int
}

func newParquetWriter(w io.Writer) *parquetWriter {
	return &parquetWriter{out: parquet.NewGenericWriter[column](w, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("charter", "1", ""))}
}

func (w *parquetWriter) Write(row ledger.Row) error {
	r, err := recordOf(row)
	if err != nil {
		return err
	}
	c, err := r.column()
	if err != nil {
		return err
	}
	if _, err := w.out.Write([]column{c}); err != nil {
		return err
	}
	if w.bytes += len(row.Body); w.bytes < groupBytes {
		return nil
	}
	w.bytes = 0
	return w.out.Flush()
}

func (w *parquetWriter) Close() error { return w.out.Close() }

// readParquet turns panics of the library, which bytes from outside provoke, into
// errors.
func readParquet(in *io.SectionReader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		rows, err := openParquet(in)
		if err != nil {
			yield(Record{}, fmt.Errorf("%w: %w", ErrContent, err))
			return
		}
		defer rows.Close()
		var some [64]column
		for {
			clear(some[:])
			n, err := nextColumns(rows, some[:])
			for i := range n {
				r, err := some[i].record()
				if err != nil {
					yield(Record{}, fmt.Errorf("%w: %w", ErrContent, err))
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("%w: %w", ErrContent, err))
				return
			}
		}
	}
}

func openParquet(in *io.SectionReader) (rows *parquet.GenericReader[column], err error) {
	defer recovered(&err)
	file, err := parquet.OpenFile(in, in.Size())
	if err != nil {
		return nil, err
	}
	if want := parquet.SchemaOf(column{}); !parquet.EqualNodes(file.Schema(), want) {
		return nil, errors.New("not the columns of an export")
	}
	return parquet.NewGenericReader[column](file), nil
}

func nextColumns(rows *parquet.GenericReader[column], some []column) (n int, err error) {
	defer recovered(&err)
	n, err = rows.Read(some)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged Parquet file: %v", r)
	}
}

func (c *column) record() (Record, error) {
	if c.Index < 0 {
		return Record{}, fmt.Errorf("%d is not an index", c.Index)
	}
	r, err := newRecord(uint64(c.Index), []byte(c.Body))
	if err != nil {
		return r, err
	}
	want, err := r.column()
	if err != nil {
		return r, err
	}
	for _, list := range []*[]string{&c.Labels, &c.Claims, &c.Reasons, &want.Labels, &want.Claims, &want.Reasons} {
		if len(*list) == 0 {
			*list = nil // the file does not tell empty from absent
		}
	}
	if !reflect.DeepEqual(*c, want) {
		return r, fmt.Errorf("entry %d: its columns do not follow from its body", r.Index)
	}
	return r, nil
}
