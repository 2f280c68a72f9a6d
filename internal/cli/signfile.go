package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// archive is a bundle with the manifest under which it is signed and distributed, and
// the statements that come with it. Nothing of these is verified.
type archive struct {
	from       string // file or reference
	data       []byte
	bundle     *bundle.Bundle
	manifest   release.Manifest
	statements []statement
	unreadable int  // Sigstore bundles that hold no statement
	jwt        bool // signed inside, for stock opa
}

// statement is a Sigstore bundle with what it claims.
type statement struct {
	raw   []byte // one line of JSON
	claim signing.Unverified
}

func newStatement(raw []byte) (statement, error) {
	claim, err := signing.Describe(raw)
	return statement{raw, claim}, err
}

func newArchive(from string, data []byte, manifest release.Manifest, statements [][]byte) (archive, error) {
	b, err := bundle.Read(bytes.NewReader(data), bundle.Limits{})
	if err != nil {
		return archive{}, fmt.Errorf("open %s: %w", from, err)
	}
	a := archive{from: from, data: data, bundle: b, manifest: manifest}
	for _, raw := range statements {
		if s, err := newStatement(raw); err == nil {
			a.statements = append(a.statements, s)
		} else {
			a.unreadable++
		}
	}
	return a, nil
}

// readArchive reads the file of a bundle, as it is signed: its bytes count.
func readArchive(path string) (archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return archive{}, &exitError{ExitUsage, err}
	}
	if info.IsDir() {
		return archive{}, usagef("%s is a directory; what is signed is a file: charter-admin bundle build CHARTER -o bundle.tar.gz", path)
	}
	b, err := bundle.Open(path) // before its bytes are read without a limit
	if err != nil {
		return archive{}, invalid(fmt.Errorf("open %s: %w", path, err))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return archive{}, &exitError{ExitUsage, err}
	}
	statements, err := readStatements(path)
	if err != nil {
		return archive{}, err
	}
	a, err := newArchive(path, data, manifestOf(data, b.Manifest().Revision), statements)
	if err != nil {
		return archive{}, invalid(err)
	}
	return a, nil
}

// fetchArchive gets the bundle that a reference names, with the statements about it.
func (p *program) fetchArchive(ctx context.Context, text string, f registryFlags) (archive, error) {
	ref, options, err := f.open(p, text)
	if err != nil {
		return archive{}, err
	}
	r, err := distribution.Fetch(ctx, ref, options)
	if err != nil {
		return archive{}, err
	}
	return newArchive(text, r.Layer, r.Manifest, r.Statements)
}

// readStatements reads the statements about the archive at path; no file holds none.
func readStatements(path string) ([][]byte, error) {
	name := distribution.StatementsPath(path)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	defer f.Close()
	all, err := distribution.ReadStatements(f, distribution.Limits{})
	if err != nil {
		return nil, usagef("%s: %w; remove the file and sign again", name, err)
	}
	return all, nil
}

// keepOwn drops what states nothing about this archive and says how many.
func (a *archive) keepOwn() (others int) {
	var own []statement
	for _, s := range a.statements {
		if s.claim.Statement.Subject == a.manifest.Digest() {
			own = append(own, s)
		}
	}
	others = len(a.statements) - len(own) + a.unreadable
	a.statements, a.unreadable = own, 0
	return others
}

// write writes the archive and its statements to a file.
func (a archive) write(path string) error {
	if err := writeWhole(path, a.data); err != nil {
		return err
	}
	return a.writeStatements(path)
}

func (a archive) writeStatements(path string) error {
	return writeWhole(distribution.StatementsPath(path), distribution.EncodeStatements(a.raws()))
}

// raws are the Sigstore bundles of the statements.
func (a archive) raws() [][]byte {
	list := make([][]byte, len(a.statements))
	for i, s := range a.statements {
		list[i] = s.raw
	}
	return list
}

// checkArchiveName refuses names of files that would not be read as bundles.
func checkArchiveName(path string) error {
	if !strings.HasSuffix(path, ".tar.gz") && !strings.HasSuffix(path, ".tgz") {
		return usagef("the name of a bundle ends in .tar.gz, not %s", filepath.Base(path))
	}
	return nil
}

// copyTo copies the archive and the statements about it, to which others are to be
// added.
func (a archive) copyTo(path string) (archive, error) {
	if err := checkArchiveName(path); err != nil {
		return a, err
	}
	if !exists(path) {
		a.keepOwn()
		a.from = path
		return a, a.write(path)
	}
	there, err := readArchive(path)
	if err != nil {
		return a, err
	}
	if there.manifest.Digest() != a.manifest.Digest() {
		return a, usagef("%s holds another bundle; it is not overwritten", path)
	}
	return there, nil
}

// digests are those of the archive as it is, whoever wrote it.
func (a archive) digests() digests {
	d := digestsOf(a.bundle)
	d.LayerDigest = a.manifest.Layer.Digest
	return d
}

// stated is how a statement is shown, as JSON too.
type stated struct {
	Type     string     `json:"type"`
	Signers  []string   `json:"signers,omitempty"` // names in trust.yaml; of verified statements alone
	Channel  string     `json:"channel,omitempty"`
	Charter  string     `json:"charter,omitempty"` // of a state bundle: the name of the charter
	Sequence int64      `json:"sequence,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	Added    *bool      `json:"added,omitempty"` // of sign and attest; false: it was there before
}

func newStated(s release.Statement) stated {
	st := stated{Type: s.Type}
	if p, err := s.Policy(); err == nil {
		expires := p.Expires.UTC()
		st.Channel, st.Sequence, st.Expires = p.Channel, p.Sequence, &expires
	}
	if p, err := s.State(); err == nil {
		expires := p.Expires.UTC()
		st.Charter, st.Sequence, st.Expires = p.Charter, p.Sequence, &expires
	}
	return st
}

// String says what is stated on one line.
func (s stated) String() string {
	if s.Sequence == 0 {
		return printable(s.Type)
	}
	return fmt.Sprintf("%s: %s %d, until %s", printable(s.Type), s.Channel+s.Charter, s.Sequence, s.Expires.Format(time.RFC3339))
}
