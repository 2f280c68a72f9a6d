package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// Release is one that was verified, under one sequence of one channel. The same archive
// may come back under a higher sequence, as a rollback: it then has the same digest.
type Release struct {
	Channel       string    `json:"channel"`
	Sequence      int64     `json:"sequence"`
	Digest        string    `json:"digest"` // of the manifest
	Layer         string    `json:"layer"`  // digest of the archive
	Revision      string    `json:"revision"`
	CharterDigest string    `json:"charter_digest"`
	Expires       time.Time `json:"expires"`
	Signers       []string  `json:"signers,omitempty"` // by the names of the trust policy
	// Rollback is the sequence of the rollback that came with it, RollbackOf that of the
	// release that it came with as a rollback; 0 for none.
	Rollback   int64     `json:"rollback,omitempty"`
	RollbackOf int64     `json:"rollback_of,omitempty"`
	Published  time.Time `json:"published"`
	By         string    `json:"by,omitempty"` // principal who brought it
	// Untrusted is the code of why it is not trusted any more, see [Fleet.Verify]; it is
	// given to nobody then.
	Untrusted string `json:"untrusted,omitempty"`

	// Content is what a node is given, byte for byte as it was published.
	Content Content `json:"-"`
}

// Content is what a node fetches. It must not be modified.
type Content struct {
	Manifest   []byte
	Archive    []byte
	Statements []byte // Sigstore bundles, JSON Lines
}

// Names of the files of a release.
const (
	manifestFile   = "manifest.json"
	archiveFile    = "bundle.tar.gz"
	statementsFile = "statements.jsonl"
)

// channelPrefix begins the name of the directory of a channel, which may be called "..".
const channelPrefix = "channel-"

// shelf keeps the content of releases in a directory for each.
type shelf struct {
	disk
	dir string
}

func (s shelf) place(r *Release) string {
	return filepath.Join(s.dir, channelPrefix+r.Channel, strconv.FormatInt(r.Sequence, 10))
}

// put writes the content of a release. Nothing refers to it yet.
func (s shelf) put(r *Release) error {
	if err := r.match(r.Content); err != nil {
		return err
	}
	dir := s.place(r)
	if err := s.mkdir(dir); err != nil {
		return err
	}
	for name, data := range map[string][]byte{manifestFile: r.Content.Manifest, archiveFile: r.Content.Archive, statementsFile: r.Content.Statements} {
		if err := s.write(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// get reads the content of a release, which must still be what was published.
func (s shelf) get(r *Release) (Content, error) {
	var c Content
	for name, into := range map[string]*[]byte{manifestFile: &c.Manifest, archiveFile: &c.Archive, statementsFile: &c.Statements} {
		data, err := os.ReadFile(filepath.Join(s.place(r), name))
		if err != nil {
			return Content{}, fmt.Errorf("read release %d of %s: %w", r.Sequence, r.Channel, err)
		}
		*into = data
	}
	return c, r.match(c)
}

// match compares content with the digests of a release. Statements prove themselves to
// whoever verifies them.
func (r *Release) match(c Content) error {
	if release.Digest(c.Manifest) != r.Digest || release.Digest(c.Archive) != r.Layer {
		return fmt.Errorf("the content of release %d of %s is not what its digests say", r.Sequence, r.Channel)
	}
	return nil
}

// drop forgets the content of a release.
func (s shelf) drop(r *Release) error { return os.RemoveAll(s.place(r)) }

// sweep removes the content of releases that no file refers to, which a crash has left.
func (s shelf) sweep(name string, c *channel) error {
	dir := filepath.Join(s.dir, channelPrefix+name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		sequence, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || c.release(sequence) != nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
