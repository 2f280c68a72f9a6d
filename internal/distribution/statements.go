package distribution

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/westworld-charter/charter/internal/release"
)

// ReadStatements reads the file beside an archive, from an untrusted source: Sigstore
// bundles, one per line or as any other sequence of JSON objects. Each is returned on
// one line; what is there twice is returned once. What the bundles say is not looked at.
func ReadStatements(r io.Reader, lim Limits) ([][]byte, error) {
	statements, err := readStatements(r, lim.orDefault())
	return statements, fail("statements", err)
}

func readStatements(r io.Reader, lim Limits) (statementList, error) {
	data, err := readAll(r, lim.Statements, unwatched)
	if err != nil {
		return nil, err
	}
	var list statementList
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var raw json.RawMessage
		switch err := d.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, coded(CodeBadStatements, fmt.Errorf("statement %d: %w", len(list)+1, err))
		case raw[0] != '{':
			return nil, coded(CodeBadStatements, fmt.Errorf("statement %d is not a JSON object", len(list)+1))
		}
		line, err := compact(raw, lim)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", len(list)+1, err)
		}
		if list.add(line); len(list) > lim.Referrers {
			return nil, coded(CodeTooManyStatements, fmt.Errorf("more than %d statements", lim.Referrers))
		}
		if err := list.fit(lim); err != nil {
			return nil, err
		}
	}
}

// EncodeStatements writes the file beside an archive: one statement per line.
func EncodeStatements(statements [][]byte) []byte {
	var b bytes.Buffer
	for _, s := range statements {
		b.Write(s)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// compact returns a statement on one line.
func compact(raw []byte, lim Limits) ([]byte, error) {
	if int64(len(raw)) > lim.Statement {
		return nil, coded(CodeTooLarge, fmt.Errorf("a statement of %d bytes, at most %d are read", len(raw), lim.Statement))
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, coded(CodeBadStatements, err)
	}
	return b.Bytes(), nil
}

// statementList holds different statements in the order in which they came.
type statementList [][]byte

func (l *statementList) add(statement []byte) {
	for _, have := range *l {
		if bytes.Equal(have, statement) {
			return
		}
	}
	*l = append(*l, statement)
}

// fit fails when the statements are too long for the file that [EncodeStatements] makes
// of them: who accepts them must be able to read them again.
func (l statementList) fit(lim Limits) error {
	var size int64
	for _, s := range l {
		size += int64(len(s)) + 1
	}
	if size > lim.Statements {
		return coded(CodeTooLarge, fmt.Errorf("statements of more than %d bytes", lim.Statements))
	}
	return nil
}

// sameStatements reports whether two lists hold the same statements, in any order;
// neither holds one twice.
func sameStatements(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	have := map[string]bool{}
	for _, s := range a {
		have[release.Digest(s)] = true
	}
	for _, s := range b {
		if !have[release.Digest(s)] {
			return false
		}
	}
	return true
}
