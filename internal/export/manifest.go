package export

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// ManifestSuffix is what the name of a manifest has after that of its file.
const ManifestSuffix = ".manifest"

// manifestType tells manifests from other JSON.
const manifestType = "charter-ledger-export/v1"

// Manifest says what is in a file. It is JSON; signed, it is a signed note (C2SP)
// with that JSON as its text.
type Manifest struct {
	Type    string `json:"type"`
	File    string `json:"file"` // name without directory
	Format  Format `json:"format"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // of the file, hexadecimal
	Created string `json:"created"`
	Origin  string `json:"origin"` // of the ledger
	// From and To are indices, To is exclusive. Entries is how many of the range
	// are in the file: all, unless there is a selection.
	From      uint64            `json:"from"`
	To        uint64            `json:"to"`
	Entries   uint64            `json:"entries"`
	Selection map[string]string `json:"selection,omitempty"`
	// First and Last are the outermost entries in the file; nil without any.
	First *Proved `json:"first,omitempty"`
	Last  *Proved `json:"last,omitempty"`
	// Checkpoint is signed by the ledger and covers the range.
	Checkpoint string `json:"checkpoint"`
}

// Proved is an entry with its inclusion proof in the tree of the checkpoint.
type Proved struct {
	Index uint64           `json:"index"`
	CID   string           `json:"cid"`
	Proof tlog.RecordProof `json:"proof"` // base64, from the leaf's sibling up
}

// Complete reports whether the file holds all entries of its range.
func (m *Manifest) Complete() bool { return len(m.Selection) == 0 }

// Text returns the manifest as JSON, which is what is signed and what its address
// ([ledger.CID]) is of.
func (m *Manifest) Text() ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return text.Bytes(), nil
}

// Sign returns the manifest as a signed note; without a signer, its JSON.
func (m *Manifest) Sign(signers ...note.Signer) ([]byte, error) {
	text, err := m.Text()
	if err != nil || len(signers) == 0 {
		return text, err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	return signed, nil
}

// ErrManifest marks text that is no manifest.
var ErrManifest = errors.New("malformed manifest")

// maxManifest is the size in bytes of the longest manifest that is read.
const maxManifest = 1 << 20

// ParseManifest reads a manifest, signed or not, and verifies nothing. It accepts
// only what [Manifest.Sign] writes, and returns the text. Errors wrap
// [ErrManifest].
func ParseManifest(data []byte) (Manifest, []byte, error) {
	fail := func(format string, args ...any) (Manifest, []byte, error) {
		return Manifest{}, nil, fmt.Errorf("%w: "+format, append([]any{ErrManifest}, args...)...)
	}
	if len(data) > maxManifest {
		return fail("it is longer than %d bytes", maxManifest)
	}
	text, _, _ := bytes.Cut(data, []byte("\n\n"))
	text = append(bytes.TrimSuffix(bytes.Clone(text), []byte("\n")), '\n')
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return fail("%w", err)
	}
	again, err := m.Text()
	switch {
	case m.Type != manifestType:
		return fail("its type is %.40q, expected %q", m.Type, manifestType)
	case err != nil || !bytes.Equal(again, text):
		return fail("it was edited")
	case m.From > m.To || m.Entries > m.To-m.From || m.Complete() && m.Entries != m.To-m.From:
		return fail("%d entries are not those from %d to %d", m.Entries, m.From, m.To)
	case (m.Entries == 0) != (m.First == nil) || (m.First == nil) != (m.Last == nil):
		return fail("it does not prove its first and last entry")
	}
	return m, text, nil
}

// Signers returns the names of the keys that have signed a manifest. It is an
// error, which wraps [ledger.ErrSignature], when a signature is wrong, or when keys
// are given and none of them has signed.
func Signers(data []byte, keys ...note.Verifier) ([]string, error) {
	_, text, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(text, data) {
		if len(keys) > 0 {
			return nil, fmt.Errorf("manifest: %w: it is not signed", ledger.ErrSignature)
		}
		return nil, nil
	}
	signed, err := note.Open(data, note.VerifierList(keys...))
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unknown) && len(keys) == 0:
		return nil, nil
	case errors.As(err, &unknown):
		var names []string
		for _, s := range unknown.Note.UnverifiedSigs {
			names = append(names, s.Name)
		}
		return nil, fmt.Errorf("manifest: %w: no key that was given has signed it, but %s", ledger.ErrSignature, strings.Join(names, ", "))
	case err != nil:
		return nil, fmt.Errorf("manifest: %w: %w", ledger.ErrSignature, err)
	}
	var names []string
	for _, s := range signed.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return nil, fmt.Errorf("manifest: %w: it is not in canonical form", ledger.ErrSignature)
		}
		names = append(names, s.Name)
	}
	return names, nil
}
