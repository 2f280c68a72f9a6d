package notify

import (
	"net/http"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, " 5 ": 5 * time.Second, "-1": 0, "1.5": 0, "999999": maxHold, "99999999999999999999": maxHold, "soon": 0,
		now.Add(2 * time.Minute).Format(http.TimeFormat): 2 * time.Minute, now.Add(-time.Hour).Format(http.TimeFormat): 0, now.Add(90 * time.Hour).Format(http.TimeFormat): maxHold,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After: %q waits %s, want %s", value, got, want)
		}
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		r    charter.Receiver
		want int
	}{
		{charter.Receiver{Slack: &charter.Slack{}}, defaultRetries},
		{charter.Receiver{Webhook: &charter.Webhook{}}, defaultRetries},
		{charter.Receiver{Webhook: &charter.Webhook{Retries: 3}}, 3},
	} {
		if got := retriesOf(&c.r); got != c.want {
			t.Errorf("%+v: %d retries, want %d", c.r, got, c.want)
		}
	}
	if d := backoff(1000); d > lastRetry || d < lastRetry/2 {
		t.Errorf("after 1000 attempts %s", d)
	}
	if d := backoff(0); d > firstRetry || d <= 0 {
		t.Errorf("after none %s", d)
	}
}

// A clock that went back must not silence a receiver.
func TestPaceAndClocks(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for lane := range lanes {
		r := ruleOf(lane)
		p := pace{At: now.Add(24 * time.Hour)}.sound(now)
		if wait := p.wait(now, r); wait > r.refill {
			t.Errorf("lane %d waits %s", lane, wait)
		}
		if wait := (pace{}).wait(now, r); wait != 0 {
			t.Errorf("a fresh lane waits %s", wait)
		}
		p, at, sent := pace{}, now, 0
		for at.Before(now.Add(10 * time.Second)) {
			at = at.Add(p.wait(at, r))
			p, sent = p.take(at, r), sent+1
		}
		if want := map[int]int{urgent: 5, ordinary: 2}[lane]; sent != want { // the last one at 10 s or later
			t.Errorf("lane %d sends %d in 10 s, want %d", lane, sent, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999", "-1", "\x00"} {
		f.Add(s)
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(value, now); d < 0 || d > maxHold {
			t.Errorf("%q waits %s", value, d)
		}
	})
}
