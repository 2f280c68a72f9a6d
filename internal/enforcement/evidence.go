package enforcement

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Limits of a [Dir].
const (
	maxKept    = 1 << 30 // bytes of all files
	maxFiles   = 100_000
	maxContent = 2 << 20 // bytes of one, before it is encoded
)

// Dir is an [Evidence] in a directory: one file for each content, which its owner
// alone can read. The hash in the ledger is salted, and the salt is in the file: when
// the file is erased, nobody can find out by guessing what was in it. Make one with
// [OpenDir]. It is safe for concurrent use.
type Dir struct {
	path string

	mu    sync.Mutex
	size  int64 // bytes of all files; guarded by mu
	files int   // guarded by mu
}

// kept is what a file holds.
type kept struct {
	Salt      []byte `json:"salt"`
	MediaType string `json:"media_type"`
	Content   []byte `json:"content"`
}

func (k *kept) hash() string {
	h := sha256.New()
	h.Write(k.Salt)
	h.Write(k.Content)
	return hex.EncodeToString(h.Sum(nil))
}

// OpenDir returns the evidence of a directory, which is made when it is not there.
func OpenDir(path string) (*Dir, error) {
	if err := durable.MkdirAll(path); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	d := &Dir{path: path}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("evidence: %w", err)
		}
		d.size += info.Size()
		d.files++
	}
	return d, nil
}

// Put implements [Evidence].
func (d *Dir) Put(_ context.Context, content []byte, mediaType string) (ledger.EvidenceRef, error) {
	if len(content) > maxContent {
		return ledger.EvidenceRef{}, refuse(EvidenceTooLarge, "evidence: it is larger than %d bytes", maxContent)
	}
	k := kept{Salt: make([]byte, 32), MediaType: mediaType, Content: content}
	_, _ = rand.Read(k.Salt) // it never fails
	text, err := json.Marshal(k)
	if err != nil {
		return ledger.EvidenceRef{}, unavailable("evidence cannot be kept", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size+int64(len(text)) > maxKept || d.files >= maxFiles {
		return ledger.EvidenceRef{}, refuse(EvidenceFull, "there is no room for more evidence; whoever runs the server has to make some")
	}
	ref := ledger.EvidenceRef{Hash: k.hash(), Size: int64(len(content)), MediaType: mediaType}
	if err := durable.WriteFile(d.file(ref.Hash), text); err != nil {
		return ledger.EvidenceRef{}, unavailable("evidence cannot be kept", err)
	}
	d.size += int64(len(text))
	d.files++
	return ref, nil
}

// Get implements [Evidence]. It checks that the content is what was put there.
func (d *Dir) Get(_ context.Context, hash string) (content []byte, mediaType string, err error) {
	if !isHash(hash) {
		return nil, "", refuse(UnknownEvidence, "there is no such evidence, or it was erased")
	}
	text, err := os.ReadFile(d.file(hash))
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", refuse(UnknownEvidence, "there is no such evidence, or it was erased")
	}
	if err != nil {
		return nil, "", unavailable("evidence cannot be read", err)
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, "", unavailable("evidence cannot be read", err)
	}
	if subtle.ConstantTimeCompare([]byte(k.hash()), []byte(hash)) != 1 {
		return nil, "", unavailable("evidence was changed", fmt.Errorf("%s is %s", hash, k.hash()))
	}
	return k.Content, k.MediaType, nil
}

// Erase implements [Evidence].
func (d *Dir) Erase(_ context.Context, hash string) error {
	if !isHash(hash) {
		return refuse(UnknownEvidence, "there is no such evidence, or it was erased")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.file(hash))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(d.file(hash))
	}
	if err != nil {
		return unavailable("evidence cannot be erased", err)
	}
	d.size -= info.Size()
	d.files--
	if err := durable.SyncDir(d.path); err != nil {
		return unavailable("evidence cannot be erased for good", err)
	}
	return nil
}

// Path returns the directory.
func (d *Dir) Path() string { return d.path }

func (d *Dir) file(hash string) string { return filepath.Join(d.path, hash+".json") }

// isHash keeps other files out of reach.
func isHash(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}
