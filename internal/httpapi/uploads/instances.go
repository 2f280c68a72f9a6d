package uploadsapi

import (
	"slices"
	"sync"
	"time"
)

// share is how many instances one uploader may have kept in mind, one in share of all:
// one who makes up instances pushes out its own.
const share = 4

// instances are the OPAs that are known. Safe for concurrent use.
type instances struct {
	limit  int
	forget time.Duration

	mu    sync.Mutex
	known map[instanceKey]Instance // guarded by mu
}

// instanceKey tells instances apart: nobody speaks for that of somebody else.
type instanceKey struct{ principal, id string }

// before returns what is known of an instance that just said more; nil for nothing.
func (s *instances) before(next *Instance) *Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.known[keyOf(next)]; ok && next.Seen.Sub(old.Seen) < s.forget {
		return &old
	}
	return nil
}

// put keeps what an instance said.
func (s *instances) put(next *Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(next)
	if _, ok := s.known[key]; !ok {
		s.makeRoom(next.Principal, next.Seen)
	}
	s.known[key] = *next
}

func keyOf(in *Instance) instanceKey { return instanceKey{in.Principal, in.ID} }

// makeRoom forgets the instances that are silent, and the one that was seen longest ago
// when there is no room for another. It needs mu.
func (s *instances) makeRoom(principal string, now time.Time) {
	var all, own int
	var oldest, oldestOwn instanceKey
	for key, in := range s.known {
		if now.Sub(in.Seen) >= s.forget {
			delete(s.known, key)
			continue
		}
		if all++; all == 1 || in.Seen.Before(s.known[oldest].Seen) {
			oldest = key
		}
		if key.principal != principal {
			continue
		}
		if own++; own == 1 || in.Seen.Before(s.known[oldestOwn].Seen) {
			oldestOwn = key
		}
	}
	switch {
	case own >= max(s.limit/share, 1):
		delete(s.known, oldestOwn)
	case all >= s.limit:
		delete(s.known, oldest)
	}
}

// list returns the instances that are not forgotten at a time.
func (s *instances) list(now time.Time) []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Instance, 0, len(s.known))
	for _, in := range s.known {
		if now.Sub(in.Seen) < s.forget {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, compareInstances)
	return list
}
