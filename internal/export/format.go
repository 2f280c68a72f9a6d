package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Format is how a file holds entries.
type Format string

// The formats.
const (
	JSON    Format = "json"    // one array
	NDJSON  Format = "ndjson"  // one object per line
	CSV     Format = "csv"     // RFC 4180 with a header, safe for spreadsheets
	Parquet Format = "parquet" // for column stores
)

// Formats returns all formats.
func Formats() []Format { return []Format{JSON, NDJSON, CSV, Parquet} }

// FormatOf returns the format that the name of a file stands for.
func FormatOf(file string) (Format, bool) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".json":
		return JSON, true
	case ".ndjson", ".jsonl":
		return NDJSON, true
	case ".csv":
		return CSV, true
	case ".parquet":
		return Parquet, true
	}
	return "", false
}

// ErrFormat marks a format that does not exist.
var ErrFormat = errors.New("unknown format")

// ErrContent marks a file that does not hold what its manifest says.
var ErrContent = errors.New("the export is not what was exported")

// Writer writes entries. Only Close completes the output; it leaves what is below
// open.
type Writer interface {
	// Write adds an entry. The error wraps [ledger.ErrNotFound] for a pruned one.
	Write(row ledger.Row) error
	Close() error
}

// NewWriter returns a writer of a format. It holds a bounded part of the entries
// in memory. The error wraps [ErrFormat].
func NewWriter(f Format, w io.Writer) (Writer, error) {
	switch f {
	case JSON:
		return &jsonWriter{out: bufio.NewWriter(w), array: true}, nil
	case NDJSON:
		return &jsonWriter{out: bufio.NewWriter(w)}, nil
	case CSV:
		return newCSVWriter(w), nil
	case Parquet:
		return newParquetWriter(w), nil
	}
	return nil, fmt.Errorf("%w: %q", ErrFormat, f)
}

// Read visits the entries in a file of a format. It accepts only what a [Writer]
// writes; the error wraps [ErrContent] or is that of reading.
func Read(f Format, file io.ReaderAt, size int64) iter.Seq2[Record, error] {
	in := io.NewSectionReader(file, 0, size)
	switch f {
	case JSON:
		return readJSON(in, true)
	case NDJSON:
		return readJSON(in, false)
	case CSV:
		return readCSV(in)
	case Parquet:
		return readParquet(in)
	}
	return func(yield func(Record, error) bool) { yield(Record{}, fmt.Errorf("%w: %q", ErrFormat, f)) }
}

type jsonWriter struct {
	out     *bufio.Writer
	array   bool
	entries int
	line    []byte
}

func (w *jsonWriter) Write(row ledger.Row) error {
	if row.Body == nil {
		return fmt.Errorf("entry %d was pruned: %w", row.Index, ledger.ErrNotFound)
	}
	w.line = w.line[:0]
	switch {
	case !w.array:
	case w.entries == 0:
		w.line = append(w.line, "[\n"...)
	default:
		w.line = append(w.line, ",\n"...)
	}
	w.line = AppendJSON(w.line, row.Index, row.Body)
	if !w.array {
		w.line = append(w.line, '\n')
	}
	w.entries++
	_, err := w.out.Write(w.line)
	return err
}

func (w *jsonWriter) Close() error {
	if w.array {
		end := "\n]\n"
		if w.entries == 0 {
			end = "[]\n"
		}
		if _, err := w.out.WriteString(end); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// Flush passes on what was written so far.
func (w *jsonWriter) Flush() error { return w.out.Flush() }

// maxLine is the length of the longest line: a body, its index and its address.
const maxLine = ledger.MaxBody + 256

func readJSON(in io.Reader, array bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, maxLine)
		open, more := false, true // within the array; another entry must follow
		for lines.Scan() {
			line := lines.Bytes()
			if array {
				switch {
				case !open && bytes.Equal(line, []byte("[]")):
					array, more = false, false
					continue
				case !open && bytes.Equal(line, []byte("[")):
					open = true
					continue
				case open && !more && bytes.Equal(line, []byte("]")):
					array = false
					continue
				case !open || !more:
					yield(Record{}, fmt.Errorf("%w: not the array that was exported: %.60q", ErrContent, line))
					return
				}
				line, more = bytes.CutSuffix(line, []byte(","))
			} else if open || !more {
				yield(Record{}, fmt.Errorf("%w: something follows the array: %.60q", ErrContent, line))
				return
			}
			r, err := parseJSON(line)
			if !yield(r, err) || err != nil {
				return
			}
		}
		err := lines.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("%w: a line is too long", ErrContent)
		}
		if err == nil && array {
			err = fmt.Errorf("%w: the array does not end", ErrContent)
		}
		if err != nil {
			yield(Record{}, err)
		}
	}
}
