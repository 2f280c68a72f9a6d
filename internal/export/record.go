package export

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Record is an entry in a file.
type Record struct {
	Index uint64
	Body  []byte // canonical JSON
	Entry ledger.Entry
}

// recordOf reads the body of a row to write it out; whoever checks the file looks
// closer.
func recordOf(row ledger.Row) (Record, error) {
	r := Record{Index: row.Index, Body: row.Body}
	if row.Body == nil {
		return r, fmt.Errorf("entry %d was pruned: %w", row.Index, ledger.ErrNotFound)
	}
	if err := json.Unmarshal(row.Body, &r.Entry); err != nil {
		return r, fmt.Errorf("entry %d: %w: %w", row.Index, ledger.ErrMalformed, err)
	}
	return r, nil
}

// newRecord reads a body and refuses what is not an entry.
func newRecord(index uint64, body []byte) (Record, error) {
	e, err := ledger.ParseEntry(body)
	if err != nil {
		return Record{}, fmt.Errorf("entry %d: %w", index, err)
	}
	return Record{Index: index, Body: body, Entry: e}, nil
}

const (
	indexMember = `{"index":`
	cidMember   = `,"cid":"`
)

// AppendJSON appends a record as one JSON object without line breaks: the members
// of the entry after its index and its content address.
func AppendJSON(line []byte, index uint64, body []byte) []byte {
	line = append(line, indexMember...)
	line = strconv.AppendUint(line, index, 10)
	line = append(line, cidMember...)
	line = append(line, ledger.CID(body)...)
	line = append(line, `",`...)
	return append(line, body[1:]...)
}

// parseJSON reads what AppendJSON writes, and nothing else.
func parseJSON(line []byte) (Record, error) {
	rest, ok := bytes.CutPrefix(line, []byte(indexMember))
	number, rest, ok2 := bytes.Cut(rest, []byte(cidMember))
	_, members, ok3 := bytes.Cut(rest, []byte(`",`))
	index, err := strconv.ParseUint(string(number), 10, 63)
	if !ok || !ok2 || !ok3 || err != nil {
		return Record{}, fmt.Errorf("%w: not an exported entry: %.60q", ErrContent, line)
	}
	r, err := newRecord(index, append([]byte{'{'}, members...))
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrContent, err)
	}
	if !bytes.Equal(AppendJSON(nil, index, r.Body), line) {
		return Record{}, fmt.Errorf("%w: entry %d: its address does not follow from its body", ErrContent, index)
	}
	return r, nil
}
