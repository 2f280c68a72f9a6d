package engine

import (
	"encoding/json"
	"unicode/utf8"

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
	if plain, ok := clone(state); ok {
		data[stateRoot] = plain
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

// clone copies a value that is as a decoder makes it, which is several times as fast
// as encoding it; false for any other.
func clone(v any) (copied any, ok bool) {
	switch v := v.(type) {
	case nil, bool:
		return v, true
	case json.Number:
		return v, json.Valid([]byte(v))
	case string:
		return v, utf8.ValidString(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			if list[i], ok = clone(item); !ok {
				return nil, false
			}
		}
		return list, true
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, item := range v {
			if object[key], ok = clone(item); !ok || !utf8.ValidString(key) {
				return nil, false
			}
		}
		return object, true
	default:
		return nil, false
	}
}
