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

	"github.com/westworld-charter/charter/internal/tokenbucket"
)

// rates of reports of one source and of all together. They are much more than people
// write, and keep what is stored about reports small.
type rates struct{ one, all tokenbucket.Rate }

// guestReports are those without a name, of one address and of all.
func guestReports() rates {
	return rates{one: tokenbucket.Rate{Burst: 5, Every: 60}, all: tokenbucket.Rate{Burst: 100, Every: 2}}
}

// knownReports are those of one identity and of all.
func knownReports() rates {
	return rates{one: tokenbucket.Rate{Burst: 60, Every: 1}, all: tokenbucket.Rate{Burst: 600, Every: 0.1}}
}

// maxSources bounds the sources that are remembered. When there are more, the budget of
// all holds nevertheless.
const maxSources = 10_000

// limiter gives every source a budget, and all of them together one. It keeps no
// source, only keyed hashes under a key that dies with the process. Safe for
// concurrent use.
type limiter struct {
	all tokenbucket.Rate
	key [32]byte

	mu      sync.Mutex
	total   tokenbucket.Bucket                    // guarded by mu
	sources *tokenbucket.Keyed[[sha256.Size]byte] // guarded by mu
}

func newLimiter(r rates) *limiter {
	l := &limiter{all: r.all, sources: tokenbucket.NewKeyed[[sha256.Size]byte](r.one, maxSources)}
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
	own := l.sources.Get(key)
	if wait := max(own.Wait(l.sources.Rate, now, 1), l.total.Wait(l.all, now, 1)); wait > 0 {
		return wait
	}
	own.Take(1)
	l.total.Take(1)
	l.sources.Put(key, own, now)
	return 0
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
