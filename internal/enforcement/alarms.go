package enforcement

import (
	"container/heap"
	"time"
)

// alarms tell when something has ended by itself. They go by time that has passed in
// this process: a wall clock that jumps neither shortens nor extends anything. They
// are not safe for concurrent use.
type alarms struct {
	began time.Time // with a monotonic reading
	queue alarmQueue
	at    map[end]alarm
}

// alarm is when an end is due.
type alarm struct {
	end
	until time.Time     // what the ledger says
	due   time.Duration // after began
}

func newAlarms() *alarms { return &alarms{began: time.Now(), at: map[end]alarm{}} }

// sync sets the alarms of ends that are new, given that it is now.
func (a *alarms) sync(s *state, now time.Time) {
	for _, e := range s.set {
		until, set := s.ends[e]
		if have, known := a.at[e]; !set || known && have.until.Equal(until) {
			continue
		}
		next := alarm{e, until, time.Since(a.began) + until.Sub(now)}
		a.at[e] = next
		heap.Push(&a.queue, next)
	}
	s.set = nil
}

// ended returns what is due and takes it off. Whoever cannot act on it puts it back
// with [alarms.again].
func (a *alarms) ended(s *state) []end {
	var list []end
	passed := time.Since(a.began)
	for len(a.queue) > 0 && a.queue[0].due <= passed {
		next := heap.Pop(&a.queue).(alarm)
		if a.at[next.end] != next {
			continue // it was set anew
		}
		delete(a.at, next.end)
		if until, set := s.ends[next.end]; set && until.Equal(next.until) {
			list = append(list, next.end)
		}
	}
	return list
}

// again has ends be due at once.
func (a *alarms) again(s *state, list []end) {
	for _, e := range list {
		if until, set := s.ends[e]; set {
			next := alarm{e, until, time.Since(a.began)}
			a.at[e] = next
			heap.Push(&a.queue, next)
		}
	}
}

// wait is how long it is until the next alarm; false when there is none.
func (a *alarms) wait() (time.Duration, bool) {
	if len(a.queue) == 0 {
		return 0, false
	}
	return max(0, a.queue[0].due-time.Since(a.began)), true
}

// alarmQueue is a heap; see [heap.Interface].
type alarmQueue []alarm

func (q alarmQueue) Len() int           { return len(q) }
func (q alarmQueue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q alarmQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements [heap.Interface].
func (q *alarmQueue) Push(x any) { *q = append(*q, x.(alarm)) }

// Pop implements [heap.Interface].
func (q *alarmQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
