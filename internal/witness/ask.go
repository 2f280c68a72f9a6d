package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/westworld-charter/charter/internal/wire"
)

// maxAnswer is the size in bytes of the largest answer of a witness that is read.
const maxAnswer = 128 << 10

// unknown is the size that a witness holds before it said so.
const unknown = -1

// question is one checkpoint for all witnesses.
type question struct {
	checkpoint

	client *Client
	note   []byte // signed by the log
	text   string // of the note
	old    int64  // that a witness may know

	mu     sync.Mutex
	prove  func(old uint64) (tlog.TreeProof, error)
	proofs map[int64]tlog.TreeProof // by old size; guarded by mu
}

// proof is from a size to that of the checkpoint; witnesses of one size share it.
func (q *question) proof(old int64) (tlog.TreeProof, error) {
	if old == 0 || old == q.size {
		return nil, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if p, ok := q.proofs[old]; ok {
		return p, nil
	}
	p, err := q.prove(uint64(old)) //nolint:gosec // a size
	if err == nil {
		q.proofs[old] = p
	}
	return p, err
}

// asked is a witness that is asked.
type asked struct {
	KnownWitness

	mu      sync.Mutex
	size    int64 // that it holds as far as is known; guarded by mu
	seen    time.Time
	problem string
	settled bool // whether anything was heard of it; guarded by mu
}

// cosign asks for a cosignature, from the size on that the witness holds.
func (w *asked) cosign(ctx context.Context, q *question) (note.Signature, error) {
	size := w.known(q)
	const attempts = 3 // others may advance the witness meanwhile
	for range attempts {
		proof, err := q.proof(size)
		if err != nil {
			return note.Signature{}, fmt.Errorf("prove consistency from size %d: %w", size, err)
		}
		answer, err := w.send(ctx, q.client, request{old: size, proof: proof, note: q.note})
		if err != nil {
			return note.Signature{}, err
		}
		switch answer.status {
		case http.StatusOK:
			return w.accept(q, answer.body)
		case http.StatusConflict:
			claimed, err := answer.size()
			if err != nil {
				return note.Signature{}, err
			}
			if claimed > q.size {
				return note.Signature{}, w.contradicted(ctx, q, fmt.Errorf("it says that it holds size %d", claimed))
			}
			if claimed == size {
				return note.Signature{}, fmt.Errorf("it refuses size %d and says that it holds that", size)
			}
			size = claimed
		case http.StatusUnprocessableEntity:
			return note.Signature{}, w.contradicted(ctx, q, answer.refusal())
		default:
			return note.Signature{}, answer.refusal()
		}
	}
	return note.Signature{}, errors.New("the size that it holds changes with every answer")
}

// known is the size to start from.
func (w *asked) known(q *question) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size == unknown || w.size > q.size {
		return q.old
	}
	return w.size
}

// accept verifies a cosignature. Lines of others than this witness are ignored.
func (w *asked) accept(q *question, lines []byte) (note.Signature, error) {
	signed := append([]byte(q.text+"\n"), lines...)
	n, err := note.Open(signed, note.VerifierList(w.Verifier))
	if err != nil {
		return note.Signature{}, fmt.Errorf("its cosignature: %w", err)
	}
	if n.Text != q.text {
		return note.Signature{}, errors.New("its answer holds more than signature lines")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size, w.seen = q.size, time.Now()
	return n.Sigs[0], nil
}

// contradicted finds out whether a refusal is the log's own fault. A witness that
// cannot show a checkpoint with the log's signature is not believed: refused says
// then what it answered.
func (w *asked) contradicted(ctx context.Context, q *question, refused error) error {
	signed, held, err := w.head(ctx, q.client)
	if err != nil {
		return fmt.Errorf("%w, without proof: %w", refused, err)
	}
	fork := &ForkError{Witness: w.Name, Checkpoint: signed, Size: uint64(held.size)} //nolint:gosec // a size
	switch {
	case held.size > q.size:
		if held.size <= q.client.sent() {
			return errors.New("it has cosigned a later checkpoint by now")
		}
		return fork
	case held.size == q.size && held.root != q.root:
		return fork
	case held.size == q.size || held.size == 0:
		return refused
	}
	proof, err := q.proof(held.size)
	if err != nil {
		return fmt.Errorf("%w; prove consistency from size %d: %w", refused, held.size, err)
	}
	if tlog.CheckTree(proof, q.size, q.root, held.size, held.root) != nil {
		return fork
	}
	return refused
}

// head is the checkpoint that the witness holds of the log, signed by the log.
// errNothingSigned says that it holds none.
func (w *asked) head(ctx context.Context, c *Client) ([]byte, checkpoint, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/"+hashOrigin(c.Origin)+checkpointPath, nil)
	if err != nil {
		return nil, checkpoint{}, err
	}
	a, err := do(c.HTTP, r)
	switch {
	case err != nil:
		return nil, checkpoint{}, err
	case a.status == http.StatusNotFound:
		return nil, checkpoint{}, errNothingSigned
	case a.status != http.StatusOK:
		return nil, checkpoint{}, a.refusal()
	}
	n, err := note.Open(a.body, c.keys())
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("the checkpoint that it holds: %w", err)
	}
	held, err := parseCheckpoint(n.Text)
	if err == nil && held.origin != c.Origin {
		err = fmt.Errorf("it is about %.200q", held.origin)
	}
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("the checkpoint that it holds: %w", err)
	}
	return a.body, held, nil
}

// settle remembers the outcome of a question and reports whether it is another
// one than before.
func (w *asked) settle(err error) (changed bool) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changed = !w.settled || (problem == "") != (w.problem == "")
	w.problem, w.settled = problem, true
	return changed
}

func (w *asked) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{Name: w.Name, URL: w.URL, Cosigned: w.seen, Problem: w.problem}
	if w.size > 0 {
		s.Size = uint64(w.size)
	}
	return s
}

func (w *asked) send(ctx context.Context, c *Client, q request) (response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/"+addPath, bytes.NewReader(q.body()))
	if err != nil {
		return response{}, err
	}
	r.Header.Set("Content-Type", wire.TypeText)
	return do(c.HTTP, r)
}

// response is an answer that was read in full.
type response struct {
	status int
	media  string
	body   []byte
}

func do(client *http.Client, r *http.Request) (response, error) {
	r.Header.Set("User-Agent", "charter")
	res, err := client.Do(r)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close() //nolint:errcheck // was read
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return response{}, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxAnswer {
		return response{}, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return response{res.StatusCode, media, body}, nil
}

// size reads the size that a witness answers with 409.
func (a response) size() (int64, error) {
	text, newline := strings.CutSuffix(string(a.body), "\n")
	size, ok := parseSize(text)
	if !ok || !newline || a.media != sizeType {
		return 0, errors.New("it answered 409 without a size")
	}
	return size, nil
}

// refusal is an answer that brings nothing, as an error.
func (a response) refusal() error {
	const most = 300
	return fmt.Errorf("it answered %d %.*q", a.status, most, a.body)
}
