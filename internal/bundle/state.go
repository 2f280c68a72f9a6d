package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Names of a state bundle.
const (
	// StateRoot is the only root a state bundle owns in the data document.
	StateRoot = "charter_state"
	// ProofsFile holds what the document alone does not prove; OPA ignores it.
	ProofsFile = "proofs.json"
)

// statePrefix begins the revision of a state bundle; its sequence follows.
const statePrefix = "state-"

// MaxSequence is the largest sequence: the largest integer that JSON carries exactly.
const MaxSequence = 1<<53 - 1

// MaxProofs bounds the proofs of a state bundle.
const MaxProofs = 20_000

// State is a state bundle: an OPA bundle with the one root "charter_state", which
// stock OPA loads beside a charter's. It has no rules. The zero value is none; make one
// with [NewState] or [ReadState].
type State struct {
	sequence int64
	document map[string]any
	proofs   []json.RawMessage
	files    map[string][]byte
}

// StateLimits are those of [ReadState].
func StateLimits() Limits { return Limits{Compressed: 32 << 20, Unpacked: 128 << 20, Files: 3} }

// NewState makes a state bundle of what data.charter_state shall be, as a JSON decoder
// makes it, and of signed requests that prove parts of it. Nothing is copied. It fails
// with an [*Error].
func NewState(sequence int64, document map[string]any, proofs []json.RawMessage) (*State, error) {
	if proofs == nil {
		proofs = []json.RawMessage{}
	}
	files := map[string][]byte{}
	for path, value := range map[string]any{
		ManifestFile: stateManifest{statePrefix + strconv.FormatInt(sequence, 10), []string{StateRoot}},
		DataFile:     map[string]any{StateRoot: document},
		ProofsFile:   proofs,
	} {
		var text bytes.Buffer
		enc := json.NewEncoder(&text) // members of objects come out sorted
		enc.SetEscapeHTML(false)
		if err := enc.Encode(value); err != nil {
			return nil, newError(CodeBadState, path, "encode: %w", err)
		}
		files[path] = text.Bytes()
	}
	return takeState(files)
}

// ReadState reads a state bundle from an untrusted source, within [StateLimits] where
// lim does not say otherwise. It fails with an [*Error] for anything that
// [State.WriteTar] would not have written and that could mean something else to another
// reader: a bundle of a charter is none. What the document says is not looked at.
func ReadState(r io.Reader, lim Limits) (*State, error) {
	own := StateLimits()
	files, err := readArchive(r, Limits{first(lim.Compressed, own.Compressed), first(lim.Unpacked, own.Unpacked), first(lim.Files, own.Files)}, checkStatePath)
	if err != nil {
		return nil, err
	}
	return takeState(files)
}

func first[T int | int64](a, b T) T {
	if a > 0 {
		return a
	}
	return b
}

func checkStatePath(path string) error {
	if !slices.Contains(stateFiles(), path) {
		return newError(CodeUnexpectedFile, clip(path), "a state bundle holds %s alone", strings.Join(stateFiles(), ", "))
	}
	return nil
}

// stateFiles are all that a state bundle has, sorted.
func stateFiles() []string { return []string{ManifestFile, DataFile, ProofsFile} }

func takeState(files map[string][]byte) (*State, error) {
	for _, path := range stateFiles() {
		if _, ok := files[path]; ok {
			continue
		}
		if path == ManifestFile {
			return nil, newError(CodeMissingManifest, path, "a bundle must have a manifest")
		}
		return nil, newError(CodeBadState, path, "it is missing")
	}
	s := &State{files: files}
	var err error
	if s.sequence, err = parseStateManifest(files[ManifestFile]); err != nil {
		return nil, err
	}
	data, err := ParseObject(files[DataFile])
	if err != nil {
		return nil, newError(CodeBadState, DataFile, "%w", err)
	}
	document, ok := data[StateRoot].(map[string]any)
	if !ok || len(data) != 1 {
		return nil, newError(CodeBadState, DataFile, "it must hold one object, %q, and nothing else", StateRoot)
	}
	s.document = document
	if s.proofs, err = parseProofs(files[ProofsFile]); err != nil {
		return nil, err
	}
	return s, nil
}

type stateManifest struct {
	Revision string   `json:"revision"`
	Roots    []string `json:"roots"`
}

func parseStateManifest(data []byte) (sequence int64, err error) {
	fields, err := exactFields(data)
	if err != nil {
		return 0, newError(CodeBadManifest, ManifestFile, "%w", err)
	}
	var m stateManifest
	if len(fields) != 2 || json.Unmarshal(fields["revision"], &m.Revision) != nil || json.Unmarshal(fields["roots"], &m.Roots) != nil {
		return 0, newError(CodeBadManifest, ManifestFile, "that of a state bundle has revision and roots alone")
	}
	if !slices.Equal(m.Roots, []string{StateRoot}) {
		return 0, newError(CodeBadRoots, ManifestFile, "roots must be exactly [%q]", StateRoot)
	}
	digits, ok := strings.CutPrefix(m.Revision, statePrefix)
	sequence, err = strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || sequence < 1 || sequence > MaxSequence || digits != strconv.FormatInt(sequence, 10) {
		return 0, newError(CodeBadManifest, ManifestFile, "revision must be %s and a number from 1 to %d", statePrefix, int64(MaxSequence))
	}
	return sequence, nil
}

// parseProofs reads a list of objects.
func parseProofs(data []byte) ([]json.RawMessage, error) {
	value, err := parseJSON(data)
	if err != nil {
		return nil, newError(CodeBadState, ProofsFile, "%w", err)
	}
	list, ok := value.([]any)
	if !ok || len(list) > MaxProofs {
		return nil, newError(CodeBadState, ProofsFile, "it must be a list of at most %d requests", MaxProofs)
	}
	var proofs []json.RawMessage
	if err := json.Unmarshal(data, &proofs); err != nil {
		return nil, newError(CodeBadState, ProofsFile, "%w", err)
	}
	for i := range list {
		if _, ok := list[i].(map[string]any); !ok {
			return nil, newError(CodeBadState, ProofsFile, "item %d is no object", i)
		}
	}
	return proofs, nil
}

// Sequence returns that of the bundle, 1 to [MaxSequence]: what is newer has a larger one.
func (s *State) Sequence() int64 { return s.sequence }

// Revision returns what the manifest says: "state-" and the sequence.
func (s *State) Revision() string { return statePrefix + strconv.FormatInt(s.sequence, 10) }

// Size returns how many bytes the files of the bundle have.
func (s *State) Size() (n int64) {
	for _, data := range s.files {
		n += int64(len(data))
	}
	return n
}

// Document returns data.charter_state; numbers are of type [json.Number]. It must not be
// modified.
func (s *State) Document() map[string]any { return s.document }

// Proofs returns the signed requests, each a JSON object in which no name is there
// twice; whose they are is not looked at. They must not be modified.
func (s *State) Proofs() []json.RawMessage { return s.proofs }

// WriteTar writes the bundle as [Bundle.WriteTar] does: the bytes depend on the content
// alone.
func (s *State) WriteTar(w io.Writer) error { return writeArchive(w, stateFiles(), s.files) }

// Archive is what [State.WriteTar] writes.
func (s *State) Archive() ([]byte, error) {
	var b bytes.Buffer
	if err := s.WriteTar(&b); err != nil {
		return nil, fmt.Errorf("write state bundle: %w", err)
	}
	return b.Bytes(), nil
}
