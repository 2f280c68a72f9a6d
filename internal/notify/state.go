package notify

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// maxQueues bounds the receivers that are remembered, those of earlier charters included.
	maxQueues = 64
	// maxSeen is how many ids of messages are remembered.
	maxSeen = 4096
)

// state is everything that waits. It is bounded whatever is sent: each lane of each
// receiver holds one delivery that is being tried and one digest that grows. It changes
// by records alone, so that reading them again gives the same state.
type state struct {
	Queues map[string]*queue `json:"queues"` // by the name of the receiver
	Seen   []string          `json:"seen"`   // ids of messages, the latest last
	seen   map[string]bool   // the same
}

// queue is what waits for one receiver.
type queue struct {
	Lanes [lanes]lane `json:"lanes"`
	Hold  time.Time   `json:"hold,omitzero"` // the receiver asked us to wait until then
}

type lane struct {
	Pending *digest   `json:"pending,omitempty"`
	Flight  *delivery `json:"flight,omitempty"`
	Pace    pace      `json:"pace,omitzero"`
}

// delivery is a message as it is sent, the same in every attempt.
type delivery struct {
	ID       string    `json:"id"`
	Digest   *digest   `json:"digest"`
	Sealed   time.Time `json:"sealed"`
	Attempts int       `json:"attempts,omitempty"` // that failed
	Next     time.Time `json:"next,omitzero"`      // the next attempt
	Failed   time.Time `json:"failed,omitzero"`    // the first attempt that failed
	Code     string    `json:"code,omitempty"`     // why the last attempt failed
	Sent     []string  `json:"sent,omitempty"`     // mailboxes that have it already
}

// Operations of a record.
const (
	opAdd  = "add"  // a message for receivers
	opSeal = "seal" // what waits becomes a delivery
	opFail = "fail" // an attempt failed and there will be another one
	opEnd  = "end"  // a delivery was made, or given up
)

// record is one change of the state.
type record struct {
	Op       string    `json:"op"`
	At       time.Time `json:"at"`
	To       []string  `json:"to,omitempty"`       // add
	Message  *Message  `json:"message,omitempty"`  // add
	Receiver string    `json:"receiver,omitempty"` // all others
	Lane     int       `json:"lane,omitempty"`
	ID       string    `json:"id,omitempty"` // of the delivery
	Next     time.Time `json:"next,omitzero"`
	Hold     time.Time `json:"hold,omitzero"`
	Code     string    `json:"code,omitempty"`
	Sent     []string  `json:"sent,omitempty"`
}

// errRecord is a record that does not fit the state.
var errRecord = errors.New("the record does not fit")

func newState() *state {
	return &state{Queues: map[string]*queue{}, seen: map[string]bool{}}
}

// apply changes the state. A record that does not fit changes nothing.
func (s *state) apply(r record) error {
	if r.Op == opAdd {
		return s.add(r)
	}
	q := s.Queues[r.Receiver]
	if q == nil || r.Lane < 0 || r.Lane >= lanes {
		return fmt.Errorf("%w: %s of no queue", errRecord, r.Op)
	}
	l := &q.Lanes[r.Lane]
	if r.Op == opSeal {
		if l.Pending == nil || l.Flight != nil || r.ID == "" || len(r.ID) > maxID {
			return fmt.Errorf("%w: nothing to seal", errRecord)
		}
		l.Flight = &delivery{ID: r.ID, Digest: l.Pending, Sealed: r.At, Next: r.At}
		l.Pending, l.Pace = nil, l.Pace.take(r.At, ruleOf(r.Lane))
		return nil
	}
	if l.Flight == nil || l.Flight.ID != r.ID {
		return fmt.Errorf("%w: %s of another delivery", errRecord, r.Op)
	}
	switch r.Op {
	case opFail:
		f := l.Flight
		if f.Attempts == 0 {
			f.Failed = r.At
		}
		f.Attempts++
		f.Next, f.Code = r.Next, line(r.Code, 64)
		f.Sent = r.Sent[:min(len(r.Sent), maxMailboxes)]
		if r.Hold.After(q.Hold) {
			q.Hold = r.Hold
		}
	case opEnd:
		l.Flight = nil
	default:
		return fmt.Errorf("%w: operation %q", errRecord, r.Op)
	}
	return nil
}

// add needs a message within its limits.
func (s *state) add(r record) error {
	if r.Message == nil || r.Message.ID == "" || len(r.Message.ID) > maxID {
		return fmt.Errorf("%w: a message without an id", errRecord)
	}
	if s.seen[r.Message.ID] {
		return nil
	}
	s.remember(r.Message.ID)
	for _, name := range r.To {
		q := s.Queues[name]
		if q == nil {
			if len(s.Queues) >= maxQueues || name == "" || len(name) > maxName {
				continue
			}
			q = &queue{}
			s.Queues[name] = q
		}
		l := &q.Lanes[r.Message.lane()]
		if l.Pending == nil {
			l.Pending = &digest{}
		}
		l.Pending.add(*r.Message)
	}
	return nil
}

func (s *state) remember(id string) {
	s.Seen = append(s.Seen, id)
	s.seen[id] = true
	if len(s.Seen) < 2*maxSeen { // forgetting in bulk costs less
		return
	}
	for _, old := range s.Seen[:len(s.Seen)-maxSeen] {
		delete(s.seen, old)
	}
	s.Seen = slices.Clone(s.Seen[len(s.Seen)-maxSeen:])
}

// adopt makes a state that was read usable, and reports whether it was whole: what
// apply could not have made is left out.
func (s *state) adopt() (whole bool) {
	whole = len(s.Queues) <= maxQueues && len(s.Seen) <= 2*maxSeen
	s.seen = map[string]bool{}
	for _, id := range s.Seen[:min(len(s.Seen), 2*maxSeen)] {
		s.seen[id] = true
	}
	s.Seen = s.Seen[:min(len(s.Seen), 2*maxSeen)]
	kept := map[string]*queue{}
	for _, name := range sortedKeys(s.Queues) {
		q := s.Queues[name]
		if q == nil || len(kept) >= maxQueues || name == "" || len(name) > maxName {
			whole = false
			continue
		}
		for i := range q.Lanes {
			l := &q.Lanes[i]
			if l.Pending != nil && !l.Pending.sound() {
				l.Pending, whole = nil, false
			}
			if f := l.Flight; f != nil && (!f.Digest.sound() || f.ID == "" || len(f.ID) > maxID || f.Attempts < 0 || len(f.Sent) > maxMailboxes) {
				l.Flight, whole = nil, false
			}
		}
		kept[name] = q
	}
	s.Queues = kept
	return whole
}

// wake makes the times of a state fit this process, whose clock may be behind that of
// the one before.
func (s *state) wake(now time.Time) {
	for _, q := range s.Queues {
		if q.Hold.After(now.Add(maxHold)) {
			q.Hold = now.Add(maxHold)
		}
		for i := range q.Lanes {
			l := &q.Lanes[i]
			l.Pace = l.Pace.sound(now)
			if l.Flight != nil { // who restarts has often mended something
				l.Flight.Next = now
			}
		}
	}
}

// identify names a delivery after its content, so that one that is made again after a
// crash has the same name.
func identify(receiver string, d *digest) string {
	texts := []string{receiver, fmt.Sprint(d.Count)}
	for _, m := range d.Messages {
		texts = append(texts, m.ID)
	}
	return "msg_" + hash(texts...)
}

// idle reports whether nothing waits.
func (q *queue) idle() bool {
	for i := range q.Lanes {
		if q.Lanes[i].Pending != nil || q.Lanes[i].Flight != nil {
			return false
		}
	}
	return true
}
