package notify

import (
	"context"
	"encoding/json"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

const (
	// grace is how long attempts under way may take once Run is told to stop.
	grace = 3 * time.Second
	// diskRetry is how long to wait before a disk that failed is tried again.
	diskRetry = time.Second
)

// Run delivers until ctx ends, and returns when what is under way has ended too and
// what waits is on disk. It is called once. An error is that of the last writing: what
// is not on disk then is lost.
func (n *Notifier) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	n.mu.Lock()
	n.running = ctx
	for name, t := range n.targets {
		n.start(ctx, name, t)
	}
	n.mu.Unlock()
	saved := make(chan error, 1)
	go func() { saved <- n.save(working) }()
	<-ctx.Done()
	n.mu.Lock() // nobody starts a worker from here on
	n.running = nil
	n.mu.Unlock()
	n.workers.Wait()
	stop()
	err := <-saved
	if closing := n.Close(); err == nil {
		err = closing
	}
	return err
}

// start needs mu to be held.
func (n *Notifier) start(ctx context.Context, name string, t *target) {
	t.working = true
	for l := range lanes {
		n.workers.Go(func() { n.work(ctx, name, l, t.wake[l]) })
	}
}

// save writes what changes until ctx ends.
func (n *Notifier) save(ctx context.Context) error {
	for {
		err := n.write()
		var again <-chan time.Time
		if err != nil {
			again = time.After(diskRetry)
		}
		select {
		case <-ctx.Done():
			return n.write() // the last changes
		case <-again:
		case <-n.dirty:
			if again != nil { // a disk that failed is not asked again at once
				select {
				case <-again:
				case <-ctx.Done():
				}
			}
		}
	}
}

// write makes the changes of now durable.
func (n *Notifier) write() error {
	n.mu.Lock()
	lines, anew, seq := n.unsaved, n.rewrite || n.outbox.full(), n.seq
	n.unsaved, n.rewrite = nil, false
	var whole []byte
	var err error
	if anew {
		whole, err = json.Marshal(n.state)
	}
	n.mu.Unlock()
	switch {
	case err != nil:
	case anew:
		err = n.outbox.rewrite(whole)
	default:
		err = n.outbox.append(lines)
	}
	before := n.wrote(seq, err)
	switch { // the log may wait for whoever reads it
	case err != nil && before == nil:
		n.o.Log.Error("the outbox of notifications cannot be written; deliveries go on, but what waits would not survive a crash", "error", err.Error())
	case err == nil && before != nil:
		n.o.Log.Info("the outbox of notifications is written again")
	}
	return err
}

// wrote notes that the changes up to seq are on disk, or why they are not, and returns
// the error of the time before.
func (n *Notifier) wrote(seq uint64, err error) (before error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, n.stats.Outbox = n.stats.Outbox, err
	if err != nil {
		n.rewrite = true
		if before == nil {
			n.stats.Since = n.o.Now()
		}
		return before
	}
	if n.saved != seq {
		n.saved = seq
		close(n.synced)
		n.synced = make(chan struct{})
	}
	return before
}

// work delivers one lane of one receiver until ctx ends.
func (n *Notifier) work(ctx context.Context, name string, l int, wake <-chan struct{}) {
	for ctx.Err() == nil {
		d, wait := n.due(name, l)
		if d != nil {
			n.attempt(ctx, name, l, *d)
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer:
		}
	}
}

// due returns a copy of the delivery that is to be tried now, or how long nothing is; 0
// is until there is a message.
func (n *Notifier) due(name string, l int) (*delivery, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.state.Queues[name]
	if q == nil {
		return nil, 0
	}
	now := n.o.Now()
	if wait := q.Hold.Sub(now); wait > 0 {
		return nil, wait
	}
	at := &q.Lanes[l]
	if at.Flight == nil {
		if at.Pending == nil {
			return nil, 0
		}
		if wait := at.Pace.wait(now, ruleOf(l)); wait > 0 {
			return nil, wait
		}
		r := record{Op: opSeal, At: now, Receiver: name, Lane: l, ID: identify(name, at.Pending)}
		n.change(r, encode(r))
	}
	if wait := at.Flight.Next.Sub(now); wait > 0 {
		return nil, wait
	}
	d := *at.Flight // nobody changes what it points to
	return &d, 0
}

// attempt makes one attempt and records what became of it.
func (n *Notifier) attempt(ctx context.Context, name string, l int, d delivery) {
	n.mu.Lock()
	receiver := n.targets[name].receiver
	n.mu.Unlock()
	c := n.o.open(receiver)
	o := outcome{code: CodeUnknownReceiver, permanent: true, detail: "the charter in force has no such receiver"}
	if c != nil {
		trying, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() {
			select {
			case <-time.After(grace):
				cancel()
			case <-trying.Done():
			}
		})
		o = c.send(trying, &d)
		interrupted := trying.Err() != nil
		stop()
		cancel()
		if interrupted && o.code != "" {
			return // it is tried again when the process is back
		}
	}
	now := n.o.Now()
	channel, attempts := channelOf(receiver), d.Attempts+1
	if o.code != "" && (o.permanent || receiver == nil || attempts > retriesOf(receiver)) {
		err := writeDead(n.o.Dir, DeadLetter{
			ID: d.ID, Receiver: name, Channel: channel, Code: o.code, Attempts: attempts, Sealed: d.Sealed, Dead: now, Payload: d.payload(),
		})
		if err == nil {
			n.end(name, l, d, o, channel, ledger.DeadLettered)
			return
		}
		o = failed(CodeOutboxUnwritable, "%s, and the dead letter could not be kept: %v", o.code, err)
	}
	if o.code == "" {
		n.end(name, l, d, o, channel, ledger.Delivered)
		return
	}
	n.again(name, l, d, o, channel)
}

// end records that a delivery was made or given up.
func (n *Notifier) end(name string, l int, d delivery, o outcome, channel, state string) {
	now, attempts := n.o.Now(), d.Attempts+1
	r := record{Op: opEnd, At: now, Receiver: name, Lane: l, ID: d.ID}
	row := encode(r)
	log := n.o.Log.With("receiver", name, "channel", channel, "id", d.ID, "messages", d.Digest.Count, "attempts", attempts)
	n.mu.Lock()
	t := n.targets[name]
	n.change(r, row)
	if state == ledger.Delivered {
		t.failing = Failing{}
	} else {
		n.stats.Dead++
		t.fail(name, o.code, now)
	}
	n.mu.Unlock()
	if state == ledger.Delivered {
		log.Info("notification delivered", "severity", d.Digest.Severity, "seconds", now.Sub(d.Digest.First).Seconds())
	} else {
		log.Error("notification given up; charter-admin notify dead lists it", "code", o.code, "detail", o.detail)
	}
	n.tell(name, channel, state, o, d, now)
}

// again records that an attempt failed and there will be another one.
func (n *Notifier) again(name string, l int, d delivery, o outcome, channel string) {
	now := n.o.Now()
	wait := max(backoff(d.Attempts+1), min(o.after, maxHold))
	if o.sent == nil { // it did not come to that
		o.sent = d.Sent
	}
	r := record{Op: opFail, At: now, Receiver: name, Lane: l, ID: d.ID, Next: now.Add(wait), Code: o.code, Sent: o.sent}
	if o.after > 0 { // it asked for quiet, whatever the message
		r.Hold = now.Add(o.after)
	}
	row := encode(r)
	n.mu.Lock()
	n.change(r, row)
	n.targets[name].fail(name, o.code, now)
	n.mu.Unlock()
	n.o.Log.Warn("notification not delivered; it is tried again", "receiver", name, "channel", channel, "id", d.ID, "attempts", d.Attempts+1,
		"code", o.code, "detail", o.detail, "seconds", wait.Seconds())
	n.tell(name, channel, ledger.Undelivered, o, d, now)
}

// fail needs mu to be held.
func (t *target) fail(name, code string, now time.Time) {
	if t.failing.Code == "" {
		t.failing.Since = now
	}
	t.failing.Receiver, t.failing.Code = name, code
}

// tell tells the observer of every attempt, and the ledger of the first one that
// failed and of the end.
func (n *Notifier) tell(name, channel, state string, o outcome, d delivery, now time.Time) {
	if n.o.Observer != nil {
		if state == ledger.Delivered {
			n.o.Observer.NotificationDelivered(d.Digest.Severity, d.Digest.Count > 1, now.Sub(d.Digest.First))
		} else {
			n.o.Observer.NotificationFailed(channel, o.code)
		}
	}
	if n.o.Delivered == nil || state == ledger.Undelivered && d.Attempts > 0 {
		return
	}
	n.o.Delivered(d.Digest.Severity, ledger.Delivery{
		ID: d.ID, Receiver: name, Channel: channel, State: state, Messages: d.Digest.Count, Attempts: d.Attempts + 1, Error: o.code,
	})
}
