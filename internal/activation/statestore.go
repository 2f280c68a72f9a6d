package activation

import (
	"encoding/json"
	"fmt"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// Names below [Options.Dir].
const (
	stateDir        = "state"
	stateBundleFile = "state.json"
)

// maxStateFile bounds the file in bytes when it is read, so that also what was written
// under a larger [Options.MaxState] still restricts.
const maxStateFile = 512 << 20

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

func loadState(path string, maxState int64) (storedState, error) {
	data, err := readFile(path, max(maxStateFile, heldState*maxState))
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

// encode is the file. The error has [CodeTooManyHeld] when there is too much in it: what
// a node holds on to must not grow with each bundle of whoever has the state key.
func (s *storedState) encode(maxState int64) ([]byte, error) {
	if held, most := len(s.Holding.Standing)+len(s.Holding.Revoked), maxState/restriction; int64(held) > most {
		return nil, failf(CodeTooManyHeld, "with it there would be %d restrictions to hold on to, at most %d", held, most)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	data, err := json.Marshal(envelope{raw, sum(raw)})
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	if most := heldState * maxState; int64(len(data)) > most {
		return nil, failf(CodeTooManyHeld, "with it there would be %d bytes to hold on to, at most %d", len(data), most)
	}
	return append(data, '\n'), nil
}
