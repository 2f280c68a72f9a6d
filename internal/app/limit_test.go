package app

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

func TestRateLimits(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := newLimiter(2, func() time.Time { return now })
	a := &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "a"}
	b := &decisionapi.Identity{Kind: decisionapi.KindCertificate, Name: "a"}
	passed := func(id *decisionapi.Identity, times int) (n int) {
		for range times {
			if l.take(id) == 0 {
				n++
			}
		}
		return n
	}
	self := &decisionapi.Identity{Kind: decisionapi.KindSelf}
	if passed(a, 2) != 2 || l.take(a) != 500*time.Millisecond {
		t.Error("a second's worth goes through, then none")
	}
	if l.take(b) != 0 || passed(self, 10) != 10 {
		t.Error("others are not limited by it")
	}
	now = now.Add(500 * time.Millisecond)
	if passed(a, 2) != 1 {
		t.Error("half a second later there is one more")
	}
	now = now.Add(time.Hour)
	if passed(a, 10) != 2 {
		t.Error("an hour saves up a second's worth")
	}
	now = now.Add(-time.Hour) // clocks are set back
	if l.take(b) != 0 {
		t.Error("the clock was set back, and everybody is locked out")
	}
	for i := range 2 * maxBuckets {
		l.take(&decisionapi.Identity{Kind: decisionapi.KindCertificate, Name: fmt.Sprint(i)})
		if i%1000 == 0 {
			now = now.Add(time.Millisecond)
		}
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
	now = now.Add(2 * time.Hour)
	l.take(&decisionapi.Identity{Name: "new"})
	if len(l.buckets) != 1 {
		t.Errorf("%d buckets are kept of identities that rest", len(l.buckets))
	}
}

func TestRateLimitOverHTTP(t *testing.T) {
	o := Defaults()
	o.Charter, o.Rate = example1, 1
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	limited := 0
	for range 5 {
		if status, body := send(t, &http.Client{}, "POST", s.url+"/v1/check", about("edge-1"), "Authorization", "Bearer "+nodeToken); status == http.StatusTooManyRequests {
			limited++
			if !strings.Contains(body, "too_many_requests") {
				t.Errorf("%s", body)
			}
		}
	}
	if limited < 3 {
		t.Errorf("%d of 5 requests at once were limited", limited)
	}
	if status, _ := send(t, &http.Client{}, "POST", s.url+"/v1/check", about("edge-1"), "Authorization", "Bearer "+gatewayToken); status != http.StatusOK {
		t.Errorf("somebody else: %d", status)
	}
}
