package charterapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// rates of reports: so many at once, and then one in every interval. They are much
// more than people write, and keep what is stored about reports small.
type rates struct {
	burst, totalBurst int
	every, totalEvery time.Duration
}

// guestReports are those without a name, of one address and of all.
func guestReports() rates {
	return rates{burst: 5, every: time.Minute, totalBurst: 100, totalEvery: 2 * time.Second}
}

// knownReports are those of one identity and of all.
func knownReports() rates {
	return rates{burst: 60, every: time.Second, totalBurst: 600, totalEvery: 100 * time.Millisecond}
}

// maxSources bounds the sources that are remembered.
const maxSources = 10_000

// limiter gives every source a budget, and all of them together one. It keeps no
// source, only keyed hashes under a key that dies with the process. Safe for
// concurrent use.
type limiter struct {
	rates
	key [32]byte

	mu      sync.Mutex
	total   bucket                       // guarded by mu
	sources map[[sha256.Size]byte]bucket // guarded by mu
	swept   time.Time                    // when full budgets were last forgotten; guarded by mu
}

// bucket is what is left at a time.
type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(r rates) *limiter {
	l := &limiter{rates: r, sources: map[[sha256.Size]byte]bucket{}}
	_, _ = rand.Read(l.key[:]) // it does not fail: see crypto/rand
	return l
}

// take takes one from the budget of a source and returns 0, or how long it has to
// wait for one.
func (l *limiter) take(source string, now time.Time) time.Duration {
	mac := hmac.New(sha256.New, l.key[:])
	_, _ = mac.Write([]byte(source))
	key := [sha256.Size]byte(mac.Sum(nil))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total = l.total.refill(!l.total.at.IsZero(), l.totalBurst, l.totalEvery, now)
	own, known := l.sources[key]
	own = own.refill(known, l.burst, l.every, now)
	if wait := max(own.wait(l.every), l.total.wait(l.totalEvery)); wait > 0 {
		return wait
	}
	if !known {
		l.makeRoom(now)
	}
	own.left--
	l.total.left--
	l.sources[key] = own
	return 0
}

func (b bucket) refill(known bool, burst int, every time.Duration, now time.Time) bucket {
	if !known {
		return bucket{left: float64(burst), at: now}
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(b.left+float64(passed)/float64(every), float64(burst)), now
	}
	return b
}

func (b bucket) wait(every time.Duration) time.Duration {
	if b.left >= 1 {
		return 0
	}
	return max(time.Duration((1-b.left)*float64(every)), 1)
}

// makeRoom forgets the sources that have all of their budget again, which changes
// nothing for anybody, and when there are none, an arbitrary one: the budget of all
// holds nevertheless. It needs mu. Looking for full ones is not worth its time more
// often than they fill up.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.sources) < maxSources {
		return
	}
	if full := time.Duration(l.burst) * l.every; now.Sub(l.swept).Abs() >= time.Second {
		l.swept = now
		for key, b := range l.sources {
			if now.Sub(b.at) >= full {
				delete(l.sources, key)
			}
		}
	}
	for key := range l.sources {
		if len(l.sources) < maxSources {
			return
		}
		delete(l.sources, key)
	}
}

// sourceOf is where a request comes from: an IPv4 address, or the network of an
// IPv6 one, of which one party has them all.
func sourceOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	if addr = addr.Unmap(); addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
