package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/durable"
)

// Kinds of evidence.
const (
	// SplitView is proof: the log signed two root hashes of one size.
	SplitView = "split-view"
	// NoProof is a suspicion: the log signed a larger checkpoint, and what came
	// with it does not prove that it continues the smaller one. Whoever knows both
	// checkpoints may have sent a wrong proof.
	NoProof = "no-proof"
)

// maxEvidence is how many pieces of each kind are kept of one log: the first
// ones matter, and more are as easily had as a signature by the log.
const maxEvidence = 32

const evidenceExt = ".json"

// Evidence is two checkpoints of one log that do not go together.
type Evidence struct {
	Kind   string    `json:"kind"`
	Origin string    `json:"origin"`
	Time   time.Time `json:"time"` // when the witness saw it
	// Held and Shown are signed notes: what the witness had cosigned, and what it
	// was asked to cosign.
	Held  string         `json:"held"`
	Shown string         `json:"shown"`
	Proof tlog.TreeProof `json:"proof,omitempty"` // that does not hold
}

// Check returns nil when the evidence stands for itself: both checkpoints are
// signed by keys of the log and contradict each other.
func (e Evidence) Check(keys ...note.Verifier) error {
	var both [2]checkpoint
	for i, signed := range []string{e.Held, e.Shown} {
		n, err := note.Open([]byte(signed), note.VerifierList(keys...))
		if err != nil {
			return fmt.Errorf("check evidence: %w", err)
		}
		if both[i], err = parseCheckpoint(n.Text); err != nil {
			return fmt.Errorf("check evidence: %w", err)
		}
	}
	switch held, shown := both[0], both[1]; {
	case held.origin != shown.origin:
		return errors.New("check evidence: the checkpoints are of different logs")
	case held.size != shown.size:
		return errors.New("check evidence: the checkpoints have different sizes; only the log could show whether they go together")
	case held.root == shown.root:
		return errors.New("check evidence: the checkpoints are the same")
	}
	return nil
}

// accuse keeps evidence against the log. When that fails the request is refused
// all the same. It needs w.mu.
func (s *Server) accuse(w *witnessed, e Evidence) {
	e.Origin, e.Time, e.Held = w.origin, s.Now().UTC(), string(w.signed)
	kept, err := w.keep(e)
	if err != nil {
		s.Log.Error("evidence against a log could not be kept", "origin", w.origin, "kind", e.Kind, "held", e.Held, "shown", e.Shown, "error", err)
		return
	}
	if kept {
		s.Log.Error("a log showed a checkpoint that does not go together with what it showed before", "origin", w.origin, "kind", e.Kind)
	}
}

// keep writes evidence, unless it or enough of its kind is there. The same two
// checkpoints have one name.
func (w *witnessed) keep(e Evidence) (bool, error) {
	sum := sha256.Sum256([]byte(originless(e.Held) + "\x00" + originless(e.Shown)))
	dir := filepath.Join(w.dir, evidenceDir)
	path := filepath.Join(dir, e.Kind+"-"+hex.EncodeToString(sum[:16])+evidenceExt)
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	if err := durable.MkdirAll(dir); err != nil {
		return false, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	same := 0
	for _, f := range files {
		if strings.HasPrefix(f.Name(), e.Kind+"-") && filepath.Ext(f.Name()) == evidenceExt {
			same++
		}
	}
	if same >= maxEvidence {
		return false, nil
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return false, err
	}
	return true, durable.WriteFile(path, append(data, '\n'))
}

// originless is the text of a signed note below its first line: signatures do not
// make it another one.
func originless(signed string) string {
	text, _, _ := strings.Cut(signed, "\n\n")
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// ListEvidence returns what a witness has kept in its directory, the oldest
// first. It may be called while the witness runs.
func ListEvidence(dir string) ([]Evidence, error) {
	list := []Evidence{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir { // replaced meanwhile
			return nil
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != evidenceExt || filepath.Base(filepath.Dir(path)) != evidenceDir {
			return err
		}
		var e Evidence
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list evidence: %w", err)
	}
	slices.SortStableFunc(list, func(a, b Evidence) int { return a.Time.Compare(b.Time) })
	return list, nil
}
