package activation

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// What bounds the events of one condition, and so the entries that a source which offers
// this and that in turns brings about.
const (
	// repeatWindow is for how long what had an event has no other.
	repeatWindow = time.Hour
	// maxDistinct is how many different things of a kind have an event within a window:
	// the first of each release that is refused, up to here.
	maxDistinct = 16
)

// conditions are what is wrong now, at most one thing under a key.
type conditions struct {
	now      func() time.Time
	record   func(context.Context, Event)
	repeated func(context.Context, Event)
	log      *slog.Logger

	mu       sync.Mutex
	held     map[string]Problem
	accounts map[string]*account // by key; guarded by mu
}

// account is what happened under one key within a window.
type account struct {
	began   time.Time
	told    map[happening]bool // what had an event
	counted map[string]int     // different ones of these, by kind
	untold  []*untold
	last    *untold // nil when what happened last had an event
}

// happening tells events apart.
type happening struct{ kind, code, digest string }

// untold are events that there were not.
type untold struct {
	Event // the last of them

	key happening // without a digest
}

func newConditions(o *Options) *conditions {
	return &conditions{
		now: o.Now, record: o.Record, repeated: o.Repeated, log: o.Log, held: make(map[string]Problem), accounts: make(map[string]*account),
	}
}

// set says that something is wrong. There is an event when code or digest are not
// those that are held under the key.
func (c *conditions) set(ctx context.Context, key string, e Event) {
	c.mu.Lock()
	old, ok := c.held[key]
	same := ok && old.Code == e.Code && old.Digest == e.Digest
	p := Problem{Part: e.Part, Code: e.Code, Message: e.Message, Digest: e.Digest, Since: c.now()}
	if same {
		p.Since = old.Since
	}
	c.held[key] = p
	c.mu.Unlock()
	if !same {
		c.happened(ctx, key, e)
	}
}

// clear says that nothing is wrong any more.
func (c *conditions) clear(ctx context.Context, key string) {
	c.mu.Lock()
	old, ok := c.held[key]
	delete(c.held, key)
	c.mu.Unlock()
	if ok {
		c.happened(ctx, key, Event{Part: old.Part, Kind: EventRecovered, Code: old.Code, Digest: old.Digest, Message: "over: " + old.Message})
	}
}

// happened emits an event, or counts it.
func (c *conditions) happened(ctx context.Context, key string, e Event) {
	c.mu.Lock()
	owed := c.over(key, false)
	tell := c.account(key).tell(e)
	c.mu.Unlock()
	for _, o := range owed {
		c.emit(ctx, o)
	}
	if tell {
		c.emit(ctx, e)
		return
	}
	c.log.DebugContext(ctx, e.Part+" "+e.Kind+" again", "code", e.Code, "message", e.Message, "digest", e.Digest)
	c.repeated(ctx, e)
}

// account returns the one of a key, a new one if need be. It needs mu.
func (c *conditions) account(key string) *account {
	a := c.accounts[key]
	if a == nil {
		a = &account{began: c.now(), told: map[happening]bool{}, counted: map[string]int{}}
		c.accounts[key] = a
	}
	return a
}

// tell reports whether an event is one that nobody was told of in this window.
func (a *account) tell(e Event) bool {
	this := happening{e.Kind, e.Code, e.Digest}
	if !a.told[this] && a.counted[e.Kind] < maxDistinct {
		a.told[this] = true
		a.counted[e.Kind]++
		a.last = nil
		return true
	}
	this.digest = ""
	i := slices.IndexFunc(a.untold, func(u *untold) bool { return u.key == this })
	if i < 0 {
		i = len(a.untold)
		a.untold = append(a.untold, &untold{key: this})
	}
	u := a.untold[i]
	e.Repeats = u.Repeats + 1
	u.Event, a.last = e, u
	return false
}

// repeats is how often there was no event.
func (a *account) repeats() (n uint64) {
	for _, u := range a.untold {
		n += u.Repeats
	}
	return n
}

// over ends the window of a key when its time has come, or at once, and returns what is
// owed: an event for each kind and code, that of what happened last at the end. It needs
// mu.
func (c *conditions) over(key string, now bool) []Event {
	a := c.accounts[key]
	if a == nil || !now && c.now().Sub(a.began).Abs() < repeatWindow {
		return nil
	}
	delete(c.accounts, key)
	slices.SortStableFunc(a.untold, func(x, y *untold) int {
		return cmp.Or(compare(x == a.last, y == a.last), strings.Compare(x.Kind, y.Kind), strings.Compare(x.Code, y.Code))
	})
	var owed []Event
	for _, u := range a.untold {
		e := u.Event
		e.Message = fmt.Sprintf("%d times more within %s, the last time: %s", e.Repeats, repeatWindow, e.Message)
		owed = append(owed, e)
	}
	if p, held := c.held[key]; held && len(owed) > 0 { // which goes on
		next := c.account(key)
		for _, kind := range []string{EventRefused, EventDegraded} {
			next.told[happening{kind, p.Code, p.Digest}] = true
		}
	}
	return owed
}

func compare(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	default:
		return 1
	}
}

// settle emits what is owed for windows that are over, or for all of them.
func (c *conditions) settle(ctx context.Context, all bool) {
	c.mu.Lock()
	var owed []Event
	for key := range c.accounts {
		owed = append(owed, c.over(key, all)...)
	}
	c.mu.Unlock()
	for _, e := range owed {
		c.emit(ctx, e)
	}
}

// emit records an event and logs it.
func (c *conditions) emit(ctx context.Context, e Event) {
	e.Time = c.now()
	level := slog.LevelInfo
	if e.Kind == EventRefused || e.Kind == EventDegraded {
		level = slog.LevelError
	}
	attrs := []any{"code", e.Code, "message", e.Message, "revision", e.Revision, "sequence", e.Sequence, "digest", e.Digest}
	if e.Repeats > 0 {
		attrs = append(attrs, "repeats", e.Repeats)
	}
	c.log.Log(ctx, level, e.Part+" "+e.Kind, attrs...)
	c.record(ctx, e)
}

func (c *conditions) list() []Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Problem, 0, len(c.held))
	for key, p := range c.held {
		if a := c.accounts[key]; a != nil {
			p.Repeats = a.repeats()
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(x, y Problem) int {
		if n := x.Since.Compare(y.Since); n != 0 {
			return n
		}
		return strings.Compare(x.Code, y.Code)
	})
	return list
}
