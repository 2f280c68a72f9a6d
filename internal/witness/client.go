package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/ledger"
)

// ClientOptions configure [NewClient]. Policy and Origin are required.
type ClientOptions struct {
	Policy *Policy
	Origin string // of the log
	// Keys are those of the log, old ones included: what a witness claims about
	// the log counts only with a signature of one. Nil takes those of the policy.
	Keys []note.Verifier
	// Timeout is what one witness may take, its questions back included; 0 is 5 s.
	Timeout time.Duration
	// Grace is how long further witnesses are waited for when the quorum is
	// met; 0 is 200 ms.
	Grace time.Duration
	HTTP  *http.Client // nil is one that follows no redirects
	Log   *slog.Logger // nil logs nothing
}

// Client asks witnesses. It implements [ledger.Cosigner], and [Client.Heads] are
// what witnesses know of the log; methods are safe for concurrent use.
type Client struct {
	ClientOptions
	asked []*asked // those with a URL

	mu      sync.Mutex
	own     []note.Verifier // keys of the log; guarded by mu
	largest int64           // size of any checkpoint that was sent; guarded by mu
}

var (
	_ ledger.Cosigner   = (*Client)(nil)
	_ ledger.HeadSource = (*head)(nil)
)

// NewClient returns the log's side. It fails when the witnesses with a URL can
// never meet the policy.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Policy == nil || o.Origin == "" {
		return nil, errors.New("witness: Policy and Origin are required")
	}
	if o.Keys == nil {
		o.Keys = o.Policy.LogKeys(o.Origin)
	}
	if len(o.Keys) == 0 {
		return nil, fmt.Errorf("witness: no key of the log %q is known; without one, nothing that a witness says about it can be believed", o.Origin)
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 200 * time.Millisecond
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{ClientOptions: o, own: slices.Clone(o.Keys)}
	reachable := map[string]bool{}
	for _, w := range o.Policy.Witnesses {
		if w.URL != "" {
			c.asked = append(c.asked, &asked{KnownWitness: w, size: unknown})
			reachable[w.Name] = true
		}
	}
	if !o.Policy.Met(func(name string) bool { return reachable[name] }) {
		return nil, errors.New("witness: the quorum cannot be met by the witnesses that have a URL")
	}
	return c, nil
}

// Trust adds a key of the log, which has begun to sign.
func (c *Client) Trust(key note.Verifier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := func(k note.Verifier) bool { return k.Name() == key.Name() && k.KeyHash() == key.KeyHash() }
	if !slices.ContainsFunc(c.own, same) { // a list with a key twice verifies nothing
		c.own = append(c.own, key)
	}
}

func (c *Client) keys() note.Verifiers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return note.VerifierList(c.own...)
}

// ForkError is proof that this log does not continue what it once signed: it was
// restored from an old copy, or its key is used elsewhere, too. A witness holds
// Checkpoint, which is signed by a key of the log.
type ForkError struct {
	Witness    string
	Checkpoint []byte
	Size       uint64 // of Checkpoint
}

// Unwrap returns [ledger.ErrBehind].
func (e *ForkError) Unwrap() error { return ledger.ErrBehind }

// Error says what happened and what to do about it.
func (e *ForkError) Error() string {
	return fmt.Sprintf("witness %s holds a checkpoint of size %d that is signed by this log and not continued by it: "+
		"the log was restored from an old copy, or two processes use its key; restore the log that has this checkpoint", e.Witness, e.Size)
}

// Cosign implements [ledger.Cosigner]: it returns the checkpoint with the
// cosignatures that witnesses gave before the policy was met and the grace over.
// old is a size that witnesses may know already, 0 if none. An error wraps
// [ledger.ErrNoQuorum], and a [*ForkError] if a witness proved one, which is an
// error whatever others said. The note that is returned beside an error holds
// what cosignatures there are.
func (c *Client) Cosign(ctx context.Context, old uint64, proof func(old uint64) (tlog.TreeProof, error), signed []byte) ([]byte, error) {
	n, own, err := c.unsigned(signed)
	if err != nil {
		return nil, err
	}
	c.sends(own.size)
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	q := &question{client: c, note: signed, text: n.Text, checkpoint: own, prove: proof, proofs: map[int64]tlog.TreeProof{}}
	if int64(old) <= own.size { //nolint:gosec // a size; a negative one is as unknown as 0
		q.old = max(int64(old), 0) //nolint:gosec // see above
	}
	answers := make(chan reply, len(c.asked))
	for _, w := range c.asked {
		go func() {
			sig, err := w.cosign(ctx, q)
			answers <- reply{w, sig, err}
		}()
	}
	got, err := c.collect(ctx, cancel, answers)
	for _, w := range c.asked { // in the order of the policy
		if sig, ok := got[w.Name]; ok {
			n.Sigs = append(n.Sigs, sig)
		}
	}
	full, signErr := note.Sign(n)
	return full, errors.Join(err, signErr)
}

// reply is what became of one witness.
type reply struct {
	from *asked
	sig  note.Signature
	err  error
}

// collect takes replies until all are there, or enough and the grace is over.
func (c *Client) collect(ctx context.Context, cancel func(), answers <-chan reply) (map[string]note.Signature, error) {
	got := map[string]note.Signature{}
	met := func() bool {
		return c.Policy.Met(func(name string) bool { _, ok := got[name]; return ok })
	}
	var fork *ForkError
	var failures []error
	var grace <-chan time.Time
	for range c.asked {
		if grace == nil && met() {
			timer := time.NewTimer(c.Grace)
			defer timer.Stop()
			grace = timer.C
		}
		select {
		case r := <-answers:
			c.note(r)
			switch {
			case r.err == nil:
				got[r.from.Name] = r.sig
			default:
				failures = append(failures, fmt.Errorf("witness %s: %w", r.from.Name, r.err))
				if f, ok := errors.AsType[*ForkError](r.err); ok {
					fork = f
				}
			}
			continue
		case <-grace:
			cancel()
		case <-ctx.Done(): // witnesses notice as well and reply at once, but nobody needs to wait
		}
		break
	}
	switch {
	case fork != nil:
		return got, fmt.Errorf("%w: %w", ledger.ErrNoQuorum, fork)
	case met():
		return got, nil
	case len(failures) == 0:
		return got, fmt.Errorf("%w: no witness answered in time", ledger.ErrNoQuorum)
	default:
		return got, fmt.Errorf("%w: %w", ledger.ErrNoQuorum, errors.Join(failures...))
	}
}

// note logs what went wrong, once for as long as it does.
func (c *Client) note(r reply) {
	if changed := r.from.settle(r.err); !changed {
		return
	}
	if r.err == nil {
		c.Log.Info("a witness cosigns", "witness", r.from.Name)
		return
	}
	c.Log.Warn("a witness does not cosign", "witness", r.from.Name, "url", r.from.URL, "error", r.err)
}

// unsigned reads a checkpoint of this log, whose signatures are kept as they are.
func (c *Client) unsigned(signed []byte) (*note.Note, checkpoint, error) {
	_, err := note.Open(signed, note.VerifierList())
	unverified, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if !ok {
		return nil, checkpoint{}, fmt.Errorf("cosign: %w", err)
	}
	n := &note.Note{Text: unverified.Note.Text, Sigs: unverified.Note.UnverifiedSigs}
	own, err := parseCheckpoint(n.Text)
	if err == nil && own.origin != c.Origin {
		err = fmt.Errorf("a checkpoint of %q, not of %q", own.origin, c.Origin)
	}
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("cosign: %w", err)
	}
	return n, own, nil
}

// sends remembers that this process signed a checkpoint of a size: a witness that
// holds up to that is no proof of a fork.
func (c *Client) sends(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.largest = max(c.largest, size)
}

func (c *Client) sent() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.largest
}

// Heads asks all witnesses at the same time what they hold of the log, for
// [ledger.Options.Heads]. Each has one source; it gives a checkpoint that a key
// of the log has signed, [ledger.ErrNotFound] when the witness has never cosigned
// one, or why it could not be asked. A witness that serves its checkpoints under
// another prefix than it takes them looks as if it had none.
func (c *Client) Heads(ctx context.Context) []ledger.HeadSource {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	list := make([]ledger.HeadSource, len(c.asked))
	var asking sync.WaitGroup
	for i, w := range c.asked {
		asking.Go(func() {
			signed, _, err := w.head(ctx, c)
			if errors.Is(err, errNothingSigned) {
				err = ledger.ErrNotFound
			}
			if err != nil {
				err = fmt.Errorf("witness %s: %w", w.Name, err)
			}
			list[i] = &head{signed, err}
		})
	}
	asking.Wait()
	return list
}

// head is what a witness answered.
type head struct {
	signed []byte
	err    error
}

// Head implements [ledger.HeadSource].
func (h *head) Head(context.Context) ([]byte, error) { return h.signed, h.err }

// Status is what the client last saw of a witness.
type Status struct {
	Name, URL string
	Size      uint64    // that it cosigned for us in this process
	Cosigned  time.Time // when; zero if never
	Problem   string    // "" when the last answer was a cosignature
}

// Status returns one for each witness that is asked, in the order of the policy.
func (c *Client) Status() []Status {
	list := make([]Status, len(c.asked))
	for i, w := range c.asked {
		list[i] = w.status()
	}
	return list
}
