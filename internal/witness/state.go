package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
)

// What a witness keeps of a log lies in the directory DIR/HASH, HASH being the
// SHA-256 of the origin: the latest checkpoint, and evidence/*.json.
const (
	checkpointFile = "checkpoint"
	evidenceDir    = "evidence"
)

func hashOrigin(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func logDir(dir, origin string) string { return filepath.Join(dir, hashOrigin(origin)) }

// load reads the latest checkpoint. It must be one that this witness has cosigned
// or, after its key was replaced, one that the log has signed: anything else
// could make it forget. It needs w.mu, or w to be unshared.
func (w *witnessed) load(own note.Verifier) error {
	path := filepath.Join(w.dir, checkpointFile)
	signed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read witnessed checkpoint: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(append([]note.Verifier{own}, w.keys...)...))
	if err != nil {
		return fmt.Errorf("read witnessed checkpoint %s: %w; restore it from a copy, or retire this witness key", path, err)
	}
	if w.held, err = parseCheckpoint(n.Text); err == nil && w.held.origin != w.origin {
		err = fmt.Errorf("it is about %q", w.held.origin)
	}
	if err != nil {
		return fmt.Errorf("read witnessed checkpoint %s: %w", path, err)
	}
	w.signed = signed
	return nil
}

// save makes a checkpoint durable as the latest. It needs w.mu.
func (w *witnessed) save(persist func(path string, data []byte) error, signed []byte) error {
	if err := durable.MkdirAll(w.dir); err != nil {
		return err
	}
	return persist(filepath.Join(w.dir, checkpointFile), signed)
}
