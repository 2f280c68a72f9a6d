package activation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/release"
)

// Names below [Options.Dir]. A release lies in a directory named by the hex digits of
// its digest.
const (
	stateFile      = "active.json"
	releasesDir    = "releases"
	manifestFile   = "manifest.json"
	archiveFile    = "bundle.tar.gz"
	statementsFile = "statements.jsonl"
)

// Limits of what is read from disk in bytes.
const (
	maxState      = 1 << 20
	maxStatements = 64 << 20
)

// saved is what the state file says.
type saved struct {
	Active    string    `json:"active"` // digest of the release in force
	Previous  string    `json:"previous,omitempty"`
	Activated time.Time `json:"activated"`
	Marks     []Mark    `json:"marks"` // at most one for a channel
}

// mark returns the mark of a channel, of sequence 0 when there is none.
func (s *saved) mark(channel string) Mark {
	for _, m := range s.Marks {
		if m.Channel == channel {
			return m
		}
	}
	return Mark{Channel: channel}
}

// raise makes m the mark of its channel when it is higher.
func (s *saved) raise(m Mark) {
	i := slices.IndexFunc(s.Marks, func(old Mark) bool { return old.Channel == m.Channel })
	switch {
	case m.Channel == "" || m.Sequence <= 0:
	case i < 0:
		s.Marks = append(slices.Clip(s.Marks), m)
	case m.Sequence > s.Marks[i].Sequence:
		s.Marks = slices.Clone(s.Marks)
		s.Marks[i] = m
	}
}

// store is the directory. Files are written before the state file speaks of them.
type store struct {
	dir     string
	step    func(string)
	state   []byte // content that the state file should have
	unsaved error  // why it has not
}

func (s *store) path(digest string, file ...string) string {
	return filepath.Join(append([]string{s.dir, releasesDir, strings.TrimPrefix(digest, "sha256:")}, file...)...)
}

// envelope is the form of the state file: what a disk spoils must not be a mark.
type envelope struct {
	State  json.RawMessage `json:"state"`
	SHA256 string          `json:"sha256"` // hex, of State
}

// load reads the state file. Without one it is [fs.ErrNotExist].
func (s *store) load() (saved, error) {
	data, err := readFile(filepath.Join(s.dir, stateFile), maxState)
	if err != nil {
		return saved{}, err
	}
	var e envelope
	var state saved
	if err := json.Unmarshal(data, &e); err != nil {
		return saved{}, fmt.Errorf("%s: %w", stateFile, err)
	}
	if e.SHA256 != sum(e.State) {
		return saved{}, fmt.Errorf("%s: its content is not what was written", stateFile)
	}
	if err := json.Unmarshal(e.State, &state); err != nil {
		return saved{}, fmt.Errorf("%s: %w", stateFile, err)
	}
	return state, nil
}

func (s *store) save(state saved) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	data, err := json.Marshal(envelope{raw, sum(raw)})
	if err != nil {
		return err
	}
	s.state = append(data, '\n')
	s.unsaved = durable.WriteFile(filepath.Join(s.dir, stateFile), s.state)
	return s.unsaved
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// put writes a release, the statements last: without them it is none.
func (s *store) put(r Release, archive []byte) error {
	if err := durable.MkdirAll(s.path(r.Digest)); err != nil {
		return err
	}
	if err := durable.WriteFile(s.path(r.Digest, archiveFile), archive); err != nil {
		return err
	}
	s.step("archive")
	if err := durable.WriteFile(s.path(r.Digest, manifestFile), r.Manifest); err != nil {
		return err
	}
	s.step("manifest")
	return s.putStatements(r)
}

func (s *store) putStatements(r Release) error {
	if err := durable.WriteFile(s.path(r.Digest, statementsFile), r.Statements); err != nil {
		return err
	}
	s.step("statements")
	return nil
}

// archive returns the archive with that digest of a release, when it is there and
// sound.
func (s *store) archive(digest, layer string) ([]byte, bool) {
	data, err := readFile(s.path(digest, archiveFile), release.MaxLayer)
	return data, err == nil && release.Digest(data) == layer
}

// stored is a release as it lies on disk, not verified.
type stored struct {
	digest                        string // that the directory is named by
	manifest, archive, statements []byte
}

func (s *store) read(digest string) (stored, error) {
	r := stored{digest: digest}
	var failed error
	for _, f := range []struct {
		name  string
		into  *[]byte
		limit int64
	}{{manifestFile, &r.manifest, release.MaxManifest}, {archiveFile, &r.archive, release.MaxLayer}, {statementsFile, &r.statements, maxStatements}} {
		data, err := readFile(s.path(digest, f.name), f.limit)
		failed = errors.Join(failed, err)
		*f.into = data
	}
	if failed != nil {
		return r, failf(CodeDiskIncomplete, "the release on disk cannot be read: %w", failed)
	}
	return r, nil
}

// compare says how the disk differs from what was put there: the state file and a
// release.
func (s *store) compare(r Release, archive []byte) error {
	have, err := s.read(r.Digest)
	state, lost := readFile(filepath.Join(s.dir, stateFile), maxState)
	switch {
	case s.unsaved != nil:
		return failf(CodeStoreFailed, "what is in force is not stored: %w", s.unsaved)
	case err != nil:
		return err
	case lost != nil || !bytes.Equal(state, s.state):
		return failf(CodeMarkLost, "the file with the high-water mark is not what was written")
	case !bytes.Equal(have.manifest, r.Manifest), !bytes.Equal(have.archive, archive), !bytes.Equal(have.statements, r.Statements):
		return failf(CodeDiskTampered, "the release on disk is not what was stored")
	default:
		return nil
	}
}

// digests lists the releases on disk, sorted.
func (s *store) digests() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, releasesDir))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if digest := "sha256:" + e.Name(); e.IsDir() && release.ValidDigest(digest) {
			found = append(found, digest)
		}
	}
	return found, nil
}

// collect removes every release but those.
func (s *store) collect(keep ...string) error {
	digests, err := s.digests()
	for _, digest := range digests {
		if !slices.Contains(keep, digest) {
			err = errors.Join(err, os.RemoveAll(s.path(digest)))
		}
	}
	return err
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("not a regular file of at most %d bytes", limit)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	return data, errors.Join(err, f.Close())
}
