package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// What a document may have: a value takes some fifty times the memory of its text.
const (
	maxDepth  = 64
	maxValues = 2_000_000
)

// ParseObject decodes one JSON object; numbers keep their digits. What other readers
// pass over is refused, since in a state document it could hide a revocation: a name
// given twice, of which one would win, and text that is not UTF-8.
func ParseObject(data []byte) (map[string]any, error) {
	value, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("the document must be a JSON object")
	}
	return object, nil
}

// parseJSON is [ParseObject] for any value.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not valid UTF-8")
	}
	r := strictReader{json.NewDecoder(bytes.NewReader(data)), maxValues}
	r.UseNumber()
	value, err := r.value(0)
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", r.InputOffset(), err)
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return value, nil
}

// strictReader builds values from tokens.
type strictReader struct {
	*json.Decoder
	left int // values that may still come
}

func (r *strictReader) value(depth int) (any, error) {
	token, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	if r.left--; r.left < 0 {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	switch token {
	case json.Delim('{'):
		return r.object(depth)
	case json.Delim('['):
		return r.array(depth)
	default:
		return token, nil
	}
}

func (r *strictReader) object(depth int) (any, error) {
	object := map[string]any{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder admits nothing else as a name
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("%.64q is given twice", name)
		}
		if object[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return object, r.close()
}

func (r *strictReader) array(depth int) (any, error) {
	array := []any{}
	for r.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	return array, r.close()
}

// close reads the end of an object or array.
func (r *strictReader) close() error {
	_, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
