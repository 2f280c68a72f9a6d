package rollout

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Threshold says which differences are too many while the candidate answers
// nodes; in shadow alone nothing is at stake and there is none. It is reached
// when, within Window, at least Count of the compared questions differed in one
// of Kinds, and these are more than the share Rate of them.
type Threshold struct {
	Kinds  []Kind
	Rate   float64       // from 0 to 1; above 1 cannot be, so 1 never stops
	Count  int           // at least 1 in any case
	Window time.Duration // what is older does not count; 5 minutes when 0
}

// slots is how many parts a window has: it moves on by one of them at a time.
const slots = 10

// window counts what was compared lately. Its length is fixed.
type window struct {
	length time.Duration

	mu    sync.Mutex
	slots [slots]slot // guarded by mu
}

// slot counts a tenth of the window; turn says which one.
type slot struct {
	turn            int64
	compared, wrong int
}

// add counts one comparison and returns what is wrong when the threshold is
// reached, else "".
func (w *window) add(now time.Time, limit Threshold, kind Kind) string {
	length := w.length
	if length <= 0 {
		length = 5 * time.Minute
	}
	turn := now.UnixNano() / max(int64(length)/slots, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	current := &w.slots[turn%slots]
	if current.turn != turn {
		*current = slot{turn: turn}
	}
	current.compared++
	if !slices.Contains(limit.Kinds, kind) {
		return ""
	}
	current.wrong++
	compared, wrong := 0, 0
	for _, s := range w.slots {
		if turn-s.turn < slots {
			compared += s.compared
			wrong += s.wrong
		}
	}
	if wrong < limit.Count || float64(wrong) <= limit.Rate*float64(compared) {
		return ""
	}
	return fmt.Sprintf("%d of %d questions compared within %s were %s, more than the share %g that is tolerated", wrong, compared, length, list(limit.Kinds), limit.Rate)
}

func (w *window) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots = [slots]slot{}
}

func list(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.String()
	}
	return strings.Join(names, " or ")
}
