package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxStateDepth bounds how deeply a state document may be nested.
const maxStateDepth = 64

// parseState decodes one JSON object; numbers keep their digits. What other
// readers pass over is refused, since it could hide a revocation: a name given
// twice, of which one would win, and text that is not UTF-8.
func parseState(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("decode state: it is not valid UTF-8")
	}
	r := stateReader{json.NewDecoder(bytes.NewReader(data))}
	r.UseNumber()
	value, err := r.value(0)
	if err != nil {
		return nil, fmt.Errorf("decode state, byte %d: %w", r.InputOffset(), err)
	}
	state, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("decode state: the document must be a JSON object")
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode state: more than one JSON value")
	}
	return state, nil
}

// stateReader builds values from tokens.
type stateReader struct{ *json.Decoder }

func (r stateReader) value(depth int) (any, error) {
	token, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if depth >= maxStateDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxStateDepth)
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

func (r stateReader) object(depth int) (any, error) {
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

func (r stateReader) array(depth int) (any, error) {
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
func (r stateReader) close() error {
	_, err := r.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
