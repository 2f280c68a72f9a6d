package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/westworld-charter/charter/internal/bundle"
)

// decodeData reads data.json, which must hold one object below the bundle's
// root and nothing beside it.
func decodeData(b *bundle.Bundle) (any, error) {
	text, ok := b.File(bundle.DataFile)
	if !ok {
		return nil, failure(CodeMissingFile, "the bundle has no %s", bundle.DataFile)
	}
	data, err := decodeObject(text)
	if err != nil {
		return nil, failure(CodeBadData, "decode %s: %w", bundle.DataFile, err)
	}
	tables, ok := data[bundle.Root].(map[string]any)
	if !ok || len(data) != 1 {
		return nil, failure(CodeBadData, "%s must hold one object, %q", bundle.DataFile, bundle.Root)
	}
	return tables, nil
}

// document puts the tables and a copy of the state side by side.
func document(tables any, state map[string]any) (map[string]any, error) {
	data := map[string]any{bundle.Root: tables}
	if state == nil {
		return data, nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, failure(CodeBadState, "encode state: %w", err)
	}
	if data[stateRoot], err = decodeObject(text); err != nil {
		return nil, failure(CodeBadState, "decode state: %w", err)
	}
	return data, nil
}

// decodeObject reads one JSON object with numbers as they are written.
func decodeObject(text []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var data map[string]any
	if err := dec.Decode(&data); err != nil {
		return nil, err
	}
	if data == nil {
		return nil, errors.New("not an object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return data, nil
}
