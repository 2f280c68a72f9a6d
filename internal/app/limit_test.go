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
			if l.Admit(id) == 0 {
				n++
			}
		}
		return n
	}
	self := &decisionapi.Identity{Kind: decisionapi.KindSelf}
	if passed(a, 2) != 2 || l.Admit(a) != 500*time.Millisecond {
		t.Error("a second's worth goes through, then none")
	}
	if l.Admit(b) != 0 || passed(self, 10) != 10 {
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
	if l.Admit(b) != 0 {
		t.Error("the clock was set back, and everybody is locked out")
	}
	for i := range 2 * maxBuckets {
		l.Admit(&decisionapi.Identity{Kind: decisionapi.KindCertificate, Name: fmt.Sprint(i)})
		if i%1000 == 0 {
			now = now.Add(time.Millisecond)
		}
	}
	if l.budgets.Len() > maxBuckets {
		t.Errorf("%d buckets", l.budgets.Len())
	}
	now = now.Add(2 * time.Hour)
	l.Admit(&decisionapi.Identity{Name: "new"})
	if l.budgets.Len() != 1 {
		t.Errorf("%d buckets are kept of identities that rest", l.budgets.Len())
	}
}

// A batch may overdraw the budget, whatever its size, and is paid back before the
// next question: in the long run nobody asks more than the rate.
func TestBatchesOverdrawTheBudget(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := newLimiter(10, func() time.Time { return now })
	id := &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "a"}
	if l.Admit(id) != 0 || l.Charge(id, 9) != 0 {
		t.Error("a second's worth does not go through at once")
	}
	now = now.Add(time.Second)
	for range 2 { // two batches arrive together
		if l.Admit(id) != 0 {
			t.Error("two requests are not admitted after a second")
		}
	}
	if l.Charge(id, 9999) != 0 {
		t.Error("a batch cannot be larger than the budget")
	}
	if wait := l.Charge(id, 9999); wait.Round(time.Second) != 999*time.Second {
		t.Errorf("the budget is overdrawn twice: %s", wait)
	}
	if wait := l.Admit(id); wait.Round(time.Second) != 999*time.Second {
		t.Errorf("a debt of 9991 is to be paid in %s", wait)
	}
	now = now.Add(999 * time.Second)
	if l.Admit(id) == 0 {
		t.Error("the debt is forgiven")
	}
	now = now.Add(time.Second)
	if l.Admit(id) != 0 {
		t.Error("the debt is not forgotten when it is paid")
	}
	if self := (&decisionapi.Identity{Kind: decisionapi.KindSelf}); l.Charge(self, 1e6) != 0 || l.Admit(self) != 0 {
		t.Error("self-asserted callers are limited")
	}
	one := newLimiter(1, func() time.Time { return now })
	if one.Admit(id) != 0 || one.Charge(id, 1) != 0 {
		t.Error("a batch of two is never possible at one question a second")
	}
}

func TestRateLimitOverHTTP(t *testing.T) {
	o := unrecorded()
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

// A client that is alone gets a batch of ten thousand answered, and at once
// another, at the limits that the server has when nothing is said.
func TestLargeBatchesFitTheDefaultLimits(t *testing.T) {
	o := unrecorded()
	o.Charter = example1
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	batch := `{"common":` + about("edge-1") + `,"items":[{}` + strings.Repeat(",{}", 9999) + `]}`
	for range 2 {
		if status, body := send(t, &http.Client{}, "POST", s.url+"/v1/check/batch", batch, "Authorization", "Bearer "+gatewayToken); status != http.StatusOK {
			t.Errorf("%d %.300s", status, body)
		}
	}
}
