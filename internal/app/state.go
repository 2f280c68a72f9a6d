package app

import (
	"fmt"

	"github.com/westworld-charter/charter/internal/bundle"
)

// parseState decodes a state document, as strictly as nodes do.
func parseState(data []byte) (map[string]any, error) {
	state, err := bundle.ParseObject(data)
	if err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return state, nil
}
