package witness

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/tokenbucket"
)

// Refusals of [Server.Add].
var (
	ErrMalformed     = errors.New("malformed request")
	ErrUnknownLog    = errors.New("unknown log")
	ErrBadSignature  = errors.New("not signed by a key of the log")
	ErrInconsistent  = errors.New("not a continuation of what this witness has seen")
	ErrTooMany       = errors.New("the log advances too often")
	errNothingSigned = errors.New("this witness has cosigned nothing of the log")
)

// SizeError says that a request does not start from the size that the witness
// has cosigned last.
type SizeError struct{ Size uint64 }

// Error names the size.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the latest cosigned checkpoint has size %d", e.Size)
}

// Options configure [Open]. Dir, Signer and Logs are required.
type Options struct {
	// Dir holds what the witness has seen. Whoever loses it has to retire the key
	// as well: the witness would vouch for any history again.
	Dir    string
	Signer *Signer
	// Logs are the keys of the logs that are witnessed; the name of a key is the
	// origin of its log. A log may have several.
	Logs []note.Verifier
	// Advances a second that one log may make, saved up for Burst; 0 is 20 and
	// 100. Cosigning the same checkpoint again is not counted: it writes nothing.
	Rate  float64
	Burst int
	Now   func() time.Time // for the rate and for evidence; nil is time.Now
	Log   *slog.Logger     // nil logs nothing
}

func (o *Options) complete() error {
	if o.Dir == "" || o.Signer == nil || len(o.Logs) == 0 {
		return errors.New("witness: Dir, Signer and at least one log are required")
	}
	if o.Rate == 0 {
		o.Rate = 20
	}
	if o.Burst == 0 {
		o.Burst = 100
	}
	if o.Rate < 0 || o.Burst < 1 {
		return errors.New("witness: Rate and Burst must be positive")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Server is a witness. Its methods are safe for concurrent use.
type Server struct {
	Options
	logs map[string]*witnessed // by origin; fixed
	lock *durable.Lock
	busy chan struct{} // one for each request whose signatures are verified

	// persist makes a checkpoint durable; tests let it fail.
	persist func(path string, data []byte) error
}

// witnessed is what the witness knows about one log.
type witnessed struct {
	origin string
	keys   []note.Verifier
	dir    string

	mu     sync.Mutex
	held   checkpoint         // the latest cosigned; guarded by mu
	signed []byte             // its note with the cosignature, on disk; nil before the first; guarded by mu
	budget tokenbucket.Bucket // guarded by mu
}

// Open starts a witness over what it has seen before. It fails when another
// process uses the directory, and when what is there is damaged: a witness that
// forgot is worse than none. The caller closes it.
func Open(o Options) (_ *Server, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open witness: %w", err)
	}
	s := &Server{Options: o, logs: map[string]*witnessed{}, busy: make(chan struct{}, 16), persist: durable.WriteFile}
	if s.lock, err = durable.LockDir(o.Dir); err != nil {
		return nil, fmt.Errorf("open witness: %w", err)
	}
	for _, key := range o.Logs {
		w := s.logs[key.Name()]
		if w == nil {
			w = &witnessed{origin: key.Name(), dir: logDir(o.Dir, key.Name())}
			s.logs[w.origin] = w
		}
		w.keys = append(w.keys, key)
	}
	for _, w := range s.logs {
		if err := w.load(o.Signer.Verifier()); err != nil {
			return nil, errors.Join(err, s.lock.Unlock())
		}
	}
	return s, nil
}

// Close releases the directory. Requests under way must have ended.
func (s *Server) Close() error { return s.lock.Unlock() }

// Add answers one add-checkpoint request: with signature lines, or with one of
// the refusals above or a [*SizeError]. Other errors are those of the disk, and
// nothing was cosigned.
func (s *Server) Add(ctx context.Context, body []byte) ([]byte, error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	w := s.logs[originOf(string(r.note))]
	if w == nil {
		return nil, fmt.Errorf("%w: %.200q", ErrUnknownLog, originOf(string(r.note)))
	}
	n, shown, err := s.verify(ctx, w, r)
	if err != nil {
		return nil, err
	}
	if r.old > shown.size {
		return nil, fmt.Errorf("%w: the old size is larger than that of the checkpoint", ErrMalformed)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.judge(w, r, n, shown); err != nil {
		return nil, err
	}
	// Only what the log signed and what the witness adds is kept; other
	// signatures are whatever the sender liked.
	own, err := note.Sign(&note.Note{Text: n.Text}, s.Signer)
	if err != nil {
		return nil, err
	}
	if shown.size > w.held.size || w.signed == nil {
		if err := s.advance(w, n, shown, own); err != nil {
			return nil, err
		}
	}
	return own[len(n.Text)+1:], nil
}

// verify returns the note with the signatures of the log.
func (s *Server) verify(ctx context.Context, w *witnessed, r request) (*note.Note, checkpoint, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return nil, checkpoint{}, ctx.Err()
	}
	n, err := note.Open(r.note, note.VerifierList(w.keys...))
	if err != nil {
		_, unverified := errors.AsType[*note.UnverifiedNoteError](err)
		_, invalid := errors.AsType[*note.InvalidSignatureError](err)
		if unverified || invalid {
			return nil, checkpoint{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
		}
		return nil, checkpoint{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	n.UnverifiedSigs = nil
	return n, c, nil
}

// judge decides whether a checkpoint continues what the log showed before, and
// keeps the evidence when the log has forked. It needs w.mu.
func (s *Server) judge(w *witnessed, r request, n *note.Note, shown checkpoint) error {
	split := w.signed != nil && shown.size == w.held.size && shown.root != w.held.root
	if split {
		s.accuse(w, Evidence{Kind: SplitView, Shown: text(n)})
	}
	switch {
	case r.old != w.held.size:
		return &SizeError{uint64(w.held.size)}
	case split:
		return fmt.Errorf("%w: another root hash of size %d", ErrInconsistent, shown.size)
	case shown.size == 0 && shown.root != sha256.Sum256(nil):
		return fmt.Errorf("%w: that is not the root hash of an empty log", ErrInconsistent)
	case r.old == 0 && len(r.proof) > 0:
		return fmt.Errorf("%w: a proof from size 0 has no lines", ErrInconsistent)
	case r.old == 0:
		return nil
	}
	if err := tlog.CheckTree(r.proof, shown.size, shown.root, w.held.size, w.held.root); err != nil {
		if shown.size > w.held.size { // else the roots are equal, and only the proof is not empty
			s.accuse(w, Evidence{Kind: NoProof, Shown: text(n), Proof: r.proof})
		}
		return fmt.Errorf("%w: %w", ErrInconsistent, err)
	}
	return nil
}

// advance makes a checkpoint the latest. The witness may answer only when that is
// durable. After an error the disk holds the old or the new one, which continues
// the old one; the next request starts from what was durable before. It needs w.mu.
func (s *Server) advance(w *witnessed, n *note.Note, shown checkpoint, own []byte) error {
	if w.budget.Wait(tokenbucket.Rate{Burst: float64(s.Burst), Every: 1 / s.Rate}, s.Now(), 1) > 0 {
		return fmt.Errorf("%w: at most %g times a second", ErrTooMany, s.Rate)
	}
	w.budget.Take(1)
	signed := text(n) + string(own[len(n.Text)+1:])
	if err := w.save(s.persist, []byte(signed)); err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	w.held, w.signed = shown, []byte(signed)
	return nil
}

// text is the note with its signatures.
func text(n *note.Note) string {
	signed, err := note.Sign(n)
	if err != nil {
		return n.Text // note.Open has read it: this does not happen
	}
	return string(signed)
}

// Checkpoint returns the latest checkpoint that the witness cosigned of the log
// whose origin has this SHA-256 in lower-case hexadecimal, with the signatures of
// both. Without one the error is [ErrUnknownLog].
func (s *Server) Checkpoint(originHash string) ([]byte, error) {
	for origin, w := range s.logs {
		if hashOrigin(origin) != originHash {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.signed == nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknownLog, errNothingSigned)
		}
		return w.signed, nil
	}
	return nil, ErrUnknownLog
}
