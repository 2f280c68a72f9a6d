package keyring

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Files in the data directory of a server. Private keys are those of signed notes
// (PRIVATE+KEY+…), readable by their owner alone, and lie apart from what is
// copied to auditors.
const (
	CurrentFile  = "keys/ledger.key"
	NextFile     = "keys/ledger-next.key"     // while keys are changed
	PreviousFile = "keys/ledger-previous.key" // signs along until it is retired
	PublicFile   = "ledger.pub"
)

// Errors of a [Ring].
var (
	// ErrFile marks a file of a key that cannot be read or written.
	ErrFile = errors.New("key file")
	// ErrNone marks a data directory without a key.
	ErrNone = errors.New("no key of a ledger")
)

// Ring is the keys of one ledger. Its methods are safe for concurrent use; one
// process at a time may change keys, which the lock of the ledger ensures.
type Ring struct {
	dir string

	mu       sync.Mutex // guards what follows, and the files
	current  *private
	next     *private // nil unless keys are being changed
	previous *private // nil unless it signs along
	unsaved  bool     // current is in no file yet
	public   []Public // as in the file
}

// private is a key with the text that it was made from.
type private struct {
	ledger.Signer
	secret string
}

func (p *private) is(key string) bool { return p != nil && p.VerifierKey() == key }

// New makes a key for a ledger that is about to begin. [Ring.Save] writes it.
func New(dir, origin string) (*Ring, error) {
	key, err := generate(origin)
	if err != nil {
		return nil, err
	}
	return &Ring{dir: dir, current: key, unsaved: true}, nil
}

func generate(origin string) (*private, error) {
	signer, secret, err := ledger.GenerateSigner(rand.Reader, origin)
	return &private{signer, secret}, err
}

// Load reads the keys in a data directory. The error wraps [ErrNone] when there is
// none, and else [ErrFile].
func Load(dir string) (*Ring, error) {
	r := &Ring{dir: dir}
	for name, key := range map[string]**private{CurrentFile: &r.current, NextFile: &r.next, PreviousFile: &r.previous} {
		var err error
		if *key, err = read(r.path(name)); err != nil {
			return nil, err
		}
	}
	switch {
	case r.current == nil && (r.next != nil || r.previous != nil):
		return nil, fmt.Errorf("%w %s is missing, and others lie beside it: put it back", ErrFile, r.path(CurrentFile))
	case r.current == nil:
		return nil, fmt.Errorf("%w: %s is not there", ErrNone, r.path(CurrentFile))
	}
	for name, key := range map[string]*private{NextFile: r.next, PreviousFile: r.previous} {
		if key != nil && key.Name() != r.current.Name() {
			return nil, fmt.Errorf("%w %s is of the log %s, and %s of %s: move it away", ErrFile, r.path(name), key.Name(), CurrentFile, r.current.Name())
		}
	}
	if r.next.is(r.current.VerifierKey()) {
		return nil, fmt.Errorf("%w %s holds the same key as %s: move it away", ErrFile, r.path(NextFile), CurrentFile)
	}
	text, err := os.ReadFile(r.path(PublicFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		r.public, err = ParsePublic(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFile, r.path(PublicFile), err)
	}
	return r, nil
}

// read reads a private key; nil when there is no file.
func read(path string) (*private, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	secret := strings.TrimSpace(string(text))
	signer, err := ledger.NewSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFile, path, err)
	}
	return &private{signer, secret}, nil
}

func (r *Ring) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// Path is where the current key is.
func (r *Ring) Path() string { return r.path(CurrentFile) }

// Exposed returns the files of private keys that others than their owner can read.
func (r *Ring) Exposed() (files []string) {
	for _, name := range []string{CurrentFile, NextFile, PreviousFile} {
		if info, err := os.Stat(r.path(name)); err == nil && info.Mode().Perm()&0o077 != 0 {
			files = append(files, r.path(name))
		}
	}
	return files
}

// Origin is the name of the log and of its keys.
func (r *Ring) Origin() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Name()
}

// Key is the current public key.
func (r *Ring) Key() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.VerifierKey()
}

// Unsaved tells whether the key was made by [New] and is in no file yet.
func (r *Ring) Unsaved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unsaved
}

// Save writes a key that was made by [New].
func (r *Ring) Save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unsaved {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(r.path(CurrentFile))); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := r.write(CurrentFile, r.current); err != nil {
		return err
	}
	r.unsaved = false
	return nil
}

// write writes a private key. Its owner becomes that of the current one: who
// changes keys while the server is stopped may be somebody else.
func (r *Ring) write(name string, key *private) error {
	err := durable.WriteFile(r.path(name), []byte(key.secret+"\n"))
	if err == nil {
		err = sameOwner(r.path(name), r.path(CurrentFile))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	return nil
}

// Others are the public keys that have signed, each for its sizes, besides the
// current one and those of signers.
func (r *Ring) Others(signers ...ledger.Signer) ([]note.Verifier, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var others []note.Verifier
	for _, p := range r.public {
		signs := func(s ledger.Signer) bool { return s.VerifierKey() == p.Key }
		if r.current.is(p.Key) || slices.ContainsFunc(signers, signs) {
			continue
		}
		v, err := p.Verifier()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPublic, err)
		}
		others = append(others, v)
	}
	return others, nil
}

// Public is the list of public keys, as it is published.
func (r *Ring) Public() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return list(r.public)
}

func list(keys []Public) []byte {
	var b strings.Builder
	for _, p := range keys {
		b.WriteString(p.String() + "\n")
	}
	return []byte(b.String())
}
