package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// OfState returns the archive of an OPA bundle with the root "charter_state" and that
// document; with nil, there is nothing below the root. It is for programs that take
// the word of whoever gives it to them: it has no sequence and proves nothing, so that
// [ReadState] refuses it.
func OfState(document map[string]any) ([]byte, error) {
	data := map[string]any{}
	if document != nil {
		data[StateRoot] = document
	}
	files := map[string][]byte{}
	for path, value := range map[string]any{ManifestFile: stateManifest{"state", []string{StateRoot}}, DataFile: data} {
		text, err := json.Marshal(value) // members of objects come out sorted
		if err != nil {
			return nil, fmt.Errorf("write state bundle: %w", err)
		}
		files[path] = text
	}
	var b bytes.Buffer
	if err := writeArchive(&b, []string{ManifestFile, DataFile}, files); err != nil {
		return nil, fmt.Errorf("write state bundle: %w", err)
	}
	return b.Bytes(), nil
}
