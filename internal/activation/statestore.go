package activation

import (
	"encoding/json"
	"fmt"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/release"
)

// Names below [Options.Dir].
const (
	stateDir        = "state"
	stateBundleFile = "state.json"
)

// maxStateFile bounds the file in bytes.
const maxStateFile = 256 << 20

// storedState is the last state bundle, as it came, with what the node holds on to. It
// is one file, so that a crash leaves one before or after a bundle, and none between.
type storedState struct {
	Holding    holding  `json:"holding"`
	Manifest   []byte   `json:"manifest"`
	Statements [][]byte `json:"statements"`
	Archive    []byte   `json:"archive"`
}

func (s *storedState) resolved() distribution.Resolved {
	return distribution.Resolved{Digest: release.Digest(s.Manifest), Manifest: s.Manifest, Statements: s.Statements}
}

func loadState(path string) (storedState, error) {
	data, err := readFile(path, maxStateFile)
	if err != nil {
		return storedState{}, err
	}
	var e envelope
	var s storedState
	if err := json.Unmarshal(data, &e); err != nil {
		return s, failf(CodeDiskTampered, "%s: %w", stateBundleFile, err)
	}
	if e.SHA256 != sum(e.State) {
		return s, failf(CodeDiskTampered, "%s: its content is not what was written", stateBundleFile)
	}
	if err := json.Unmarshal(e.State, &s); err != nil {
		return storedState{}, failf(CodeDiskTampered, "%s: %w", stateBundleFile, err)
	}
	return s, nil
}

// save writes the last bundle and the holding; it needs mu.
func (k *stateKeeper) save() error {
	k.stored.Holding = k.holding
	raw, err := json.Marshal(k.stored)
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	data, err := json.Marshal(envelope{raw, sum(raw)})
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	return durable.WriteFile(k.path, append(data, '\n'))
}
