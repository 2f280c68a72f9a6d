package notify

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Minute
	// defaultRetries are spread over about five hours.
	defaultRetries = 24
	// maxHold bounds how long a receiver can ask us to wait.
	maxHold = time.Hour
)

// backoff returns how long to wait after so many failed attempts: thrice as long each
// time, and somewhere in the upper half of that, so that many senders do not come
// back together.
func backoff(attempts int) time.Duration {
	d := firstRetry
	for range min(max(attempts, 1)-1, 10) {
		d = min(3*d, lastRetry)
	}
	return d/2 + rand.N(d/2+1)
}

// retriesOf is how often an attempt is repeated.
func retriesOf(r *charter.Receiver) int {
	if w := r.Webhook; w != nil && (w.Retries > 0 || w.Has("retries")) {
		return w.Retries
	}
	return defaultRetries
}

// retryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a date. What
// cannot be read is 0; nobody can ask for more than an hour.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil { // more digits than fit
			return maxHold
		}
		return min(time.Duration(seconds)*time.Second, maxHold)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxHold)
}
