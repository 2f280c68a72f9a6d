package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Observer is told how long notifications take and why they fail. Its methods must
// not block.
type Observer interface {
	// NotificationDelivered tells of a delivery: the gravest severity in it, whether it
	// stands for several messages, which then waited on purpose, and how long it is
	// since the earliest of them happened.
	NotificationDelivered(severity string, digest bool, waited time.Duration)
	// NotificationFailed tells of an attempt that failed, with one of [Codes].
	NotificationFailed(channel, code string)
}

// Options say where messages go. Only Dir is needed.
type Options struct {
	Receivers  []charter.Receiver
	SMTP       SMTP
	Dir        string              // of the outbox; one process at a time
	PublicOnly bool                // nothing is sent to private addresses and this machine
	Roots      *x509.CertPool      // authorities of receivers; nil is those of the system
	Getenv     func(string) string // secrets of the environment; nil is os.Getenv
	Now        func() time.Time    // nil is time.Now
	Log        *slog.Logger        // nil discards
	Observer   Observer            // nil is nobody
	// Delivered is told what became of a delivery, with its gravest severity: that it
	// failed for the first time, was made, or was given up. It must not block; nil is nobody.
	Delivered func(severity string, d ledger.Delivery)

	open func(*charter.Receiver) channel // of tests
}

// Stats are figures of a Notifier.
type Stats struct {
	Queued  int       // messages that wait
	Dead    int       // deliveries given up since the start
	Dropped int       // messages for more receivers than can be remembered
	Failing []Failing // receivers whose last attempt failed, by name
	Outbox  error     // why the outbox cannot be written; nil when it can
	Since   time.Time // of Outbox
}

// Failing is a receiver that cannot be reached.
type Failing struct {
	Receiver string
	Code     string
	Since    time.Time
}

// Notifier delivers messages. It is safe for concurrent use.
type Notifier struct {
	o      Options
	poster *poster
	outbox *outbox // of save alone, once Run has begun

	mu      sync.Mutex // never held while a disk or a network is waited for
	state   *state
	targets map[string]*target // by the name of the receiver
	unsaved []byte             // lines for the journal
	rewrite bool               // the journal cannot go on: the state is written anew
	seq     uint64             // changes so far
	saved   uint64             // of these, on disk
	synced  chan struct{}      // closed when saved grows
	stats   Stats
	running context.Context //nolint:containedctx // of Run, for workers of receivers to come; nil before
	workers sync.WaitGroup
	dirty   chan struct{} // holds one value at most
	closed  bool
}

// target is what a queue is sent to, guarded by Notifier.mu.
type target struct {
	receiver *charter.Receiver // nil: the charter in force has none of this name
	wake     [lanes]chan struct{}
	failing  Failing // zero while the last attempt went well
	working  bool    // workers have been started
}

// New opens the outbox, which is made if there is none, and takes up what is in it. Run
// must follow, or Close.
func New(o Options) (*Notifier, error) {
	if err := o.SMTP.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	box, s, damaged, err := openOutbox(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open outbox of notifications: %w", err)
	}
	if damaged > 0 {
		o.Log.Error("the outbox of notifications is damaged; what was lost is in the ledger", "dir", o.Dir, "lines", damaged)
	}
	now := o.Now()
	s.wake(now)
	n := &Notifier{
		o: o, poster: newPoster(o.PublicOnly, o.Roots, o.Now), outbox: box, state: s, targets: map[string]*target{},
		rewrite: true, synced: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
	if n.o.open == nil {
		n.o.open = n.open
	}
	for name, q := range s.Queues {
		if q.idle() {
			delete(s.Queues, name)
			continue
		}
		n.target(name)
	}
	n.Update(o.Receivers)
	if waiting := n.Stats().Queued; waiting > 0 {
		o.Log.Info("notifications of before wait in the outbox", "messages", waiting)
	}
	return n, nil
}

// Close releases what New opened, for a Notifier that does not get to Run, which does
// the same.
func (n *Notifier) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.poster.close()
	return n.outbox.close()
}

// target needs mu to be held, or nobody else to know n.
func (n *Notifier) target(name string) *target {
	t := n.targets[name]
	if t == nil {
		t = &target{}
		for i := range t.wake {
			t.wake[i] = make(chan struct{}, 1)
		}
		n.targets[name] = t
	}
	if n.running != nil && !t.working {
		n.start(n.running, name, t)
	}
	return t
}

// Update replaces the receivers. What waits for one that is there no more is still
// sent to where it was, as long as this process runs; after a restart it becomes a
// dead letter. What waits for one that changed goes to the new place, at once.
func (n *Notifier) Update(receivers []charter.Receiver) {
	for _, r := range receivers {
		if !n.use(r) {
			n.o.Log.Error("too many receivers; nothing will be sent to this one", "receiver", r.Name, "most", maxQueues)
		} else if r.Email != nil && n.o.SMTP.Server == "" {
			n.o.Log.Warn("a receiver is reached by e-mail, and no mail server is configured", "receiver", r.Name, "hint", "--smtp HOST:PORT --smtp-from ADDRESS")
		}
	}
}

// use reports whether there was room for a receiver.
func (n *Notifier) use(r charter.Receiver) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.targets) >= maxQueues && n.targets[r.Name] == nil {
		return false
	}
	t := n.target(r.Name)
	before := t.receiver
	t.receiver = &r
	if before != nil && place(before) != place(&r) {
		n.hurry(r.Name, t)
	}
	return true
}

// hurry has what waits tried at once. It needs mu to be held.
func (n *Notifier) hurry(name string, t *target) {
	q := n.state.Queues[name]
	if q == nil {
		return
	}
	q.Hold = time.Time{}
	for i := range q.Lanes {
		if q.Lanes[i].Flight != nil {
			q.Lanes[i].Flight.Next = n.o.Now()
		}
		signal(t.wake[i])
	}
}

// place is where a receiver is, in a form that can be compared.
func place(r *charter.Receiver) string {
	switch {
	case r.Slack != nil:
		return strings.Join([]string{slackChannel, r.Slack.URLFile, r.Slack.URLEnv, r.Slack.Channel}, "\n")
	case r.Email != nil:
		return strings.Join(append([]string{emailChannel}, r.Email.To...), "\n")
	case r.Webhook != nil:
		return strings.Join([]string{webhookChannel, r.Webhook.URL, r.Webhook.SecretFile, r.Webhook.SecretEnv}, "\n")
	}
	return ""
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Send takes a message for receivers, by their names in the charter. It never waits:
// the message is on disk a moment later, see [Notifier.Sync]. A message for a name that
// no charter had becomes a dead letter.
func (n *Notifier) Send(receivers []string, m Message) {
	if len(receivers) == 0 {
		return
	}
	now := n.o.Now()
	m = m.bounded(now)
	to := slices.Clone(receivers[:min(len(receivers), maxQueues)])
	slices.Sort(to)
	r := record{Op: opAdd, At: now, To: slices.Compact(to), Message: &m}
	row := encode(r)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.seen[m.ID] {
		return
	}
	n.change(r, row)
	for _, name := range r.To {
		if n.state.Queues[name] == nil {
			n.stats.Dropped++
			continue
		}
		signal(n.target(name).wake[m.lane()])
	}
}

func encode(r record) []byte {
	body, err := json.Marshal(r)
	if err != nil { // times within their range, texts and numbers can be written
		return nil
	}
	return frame(body)
}

// maxUnsaved bounds the lines that wait for the disk, in bytes.
const maxUnsaved = 4 << 20

// change applies a record and has it written. It needs mu to be held. Records that do
// not fit are made by nobody here.
func (n *Notifier) change(r record, row []byte) {
	if n.state.apply(r) != nil {
		return
	}
	n.seq++
	if n.unsaved = append(n.unsaved, row...); len(n.unsaved) > maxUnsaved {
		n.unsaved, n.rewrite = nil, true // the disk hangs; the state has it all
	}
	signal(n.dirty)
}

// Sync returns when every message of before is on disk, or with the error of ctx. It
// needs Run to be running.
func (n *Notifier) Sync(ctx context.Context) error {
	n.mu.Lock()
	want := n.seq
	for n.saved < want {
		wait := n.synced
		n.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
		n.mu.Lock()
	}
	n.mu.Unlock()
	return nil
}

// Stats returns the figures of now.
func (n *Notifier) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Failing = nil
	for _, name := range sortedKeys(n.targets) {
		if f := n.targets[name].failing; f.Code != "" {
			s.Failing = append(s.Failing, f)
		}
	}
	for _, q := range n.state.Queues {
		for i := range q.Lanes {
			if d := q.Lanes[i].Pending; d != nil {
				s.Queued += d.Count
			}
			if f := q.Lanes[i].Flight; f != nil {
				s.Queued += f.Digest.Count
			}
		}
	}
	return s
}

// Result is what became of one attempt.
type Result struct {
	Receiver string        `json:"receiver"`
	Channel  string        `json:"channel"`
	Code     string        `json:"code,omitempty"`   // "" was delivered, else one of [Codes]
	Detail   string        `json:"detail,omitempty"` // without secrets
	Took     time.Duration `json:"-"`
}

// Try sends one message to one receiver, once and now, without an outbox. The error is
// about the options.
func Try(ctx context.Context, o Options, to *charter.Receiver, m Message) (Result, error) {
	if err := o.SMTP.Validate(); err != nil {
		return Result{}, err
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Notifier{o: o, poster: newPoster(o.PublicOnly, o.Roots, o.Now)}
	defer n.poster.close()
	c := n.open(to)
	if c == nil {
		return Result{}, errors.New("the receiver says nowhere where it is")
	}
	start := o.Now()
	d := &delivery{Digest: &digest{}, Sealed: start}
	d.Digest.add(m.bounded(start))
	d.ID = identify(to.Name, d.Digest)
	result := c.send(ctx, d)
	return Result{Receiver: to.Name, Channel: channelOf(to), Code: result.code, Detail: result.detail, Took: o.Now().Sub(start)}, ctx.Err()
}

// open returns the channel to a receiver.
func (n *Notifier) open(r *charter.Receiver) channel {
	switch channelOf(r) {
	case slackChannel:
		return &slack{r.Slack, n.o.Getenv, n.poster}
	case emailChannel:
		return &email{r.Email, n.o.SMTP, n.o.Getenv, n.o.Roots, n.o.PublicOnly}
	case webhookChannel:
		return &webhook{r.Webhook, n.o.Getenv, n.poster, n.o.Now}
	}
	return nil
}
