package decisionapi_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// purse is a budget of which wait says when there is more. Every refill'th
// question that is refused fills it again.
type purse struct {
	mu      sync.Mutex
	left    int
	wait    time.Duration
	refill  int
	refused int
	charged []int
}

func (p *purse) Admit(*decisionapi.Identity) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left > 0 {
		p.left--
		return 0
	}
	if p.refused++; p.refill > 0 && p.refused%p.refill == 0 {
		p.left += 100
	}
	return p.wait
}

func (p *purse) Charge(_ *decisionapi.Identity, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.charged = append(p.charged, n)
	if p.left < 0 {
		return p.wait
	}
	p.left -= n
	return 0
}

// Many questions cost as much in one request as one by one, in whichever form.
func TestEveryQuestionIsPaidFor(t *testing.T) {
	const one = `{"metric":"m","node":"n","role":"r","operation":"collect"}`
	c, findings := charter.Parse("charter.yaml", []byte(someCharter))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	asWho := `"subject":{"type":"role","id":"r"},"action":{"name":"read"},"resource":{"type":"metric","id":"m"}`
	for _, q := range []struct {
		path, body, media string
		questions         int
	}{
		{"/v1/check", one, "", 1},
		{"/v1/check/batch", `{"items":[]}`, "", 1},
		{"/v1/check/batch", `{"items":[` + one + `]}`, "", 1},
		{"/v1/check/batch", `{"items":[` + one + `,` + one + `,7]}`, "", 3},
		{"/v1/check/batch", one + "\n" + one + "\n\n{}\n" + one + "\n", "application/x-ndjson", 4},
		{"/v1/batch/data/charter/decision", `{"inputs":{"a":` + one + `,"b":` + one + `}}`, "", 2},
		{"/access/v1/evaluation", `{` + asWho + `}`, "application/json", 1},
		{"/access/v1/evaluations", `{` + asWho + `}`, "application/json", 1},
		{"/access/v1/evaluations", `{` + asWho + `,"evaluations":[{},{},{},{}]}`, "application/json", 4},
		{"/v1/list", `{"role":"r","operation":"read","metrics":["a","b","c"]}`, "", 3},
		{"/v1/list", `{"role":"r","operation":"read"}`, "", 2}, // the one metric of the charter, and all others
	} {
		f, p := &fake{}, &purse{left: 1000, wait: time.Second}
		base := known(t, f, point(wire.ScopeCheck, wire.ScopeAssert), func(o *decisionapi.Options) {
			o.Access.Limit, o.StreamIdle = p, 20*time.Millisecond
			o.Policy = func() decisionapi.Policy { return withPolicy(policy{c}) }
		})
		if got := post(t, base+q.path, q.body, "Content-Type", q.media); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", q.path, got.status, got.body)
		}
		if paid := 1000 - p.left; paid != q.questions {
			t.Errorf("%s %s: %d questions were paid, not %d", q.path, q.body, paid, q.questions)
		}
		p.left = 1
		first := post(t, base+q.path, q.body, "Content-Type", q.media)
		if q.media != "application/x-ndjson" && first.status != http.StatusOK {
			t.Errorf("%s: whoever has one question left cannot overdraw the budget: %d", q.path, first.status)
		}
		p.left = min(p.left, 0)
		asked := len(f.asked)
		got := post(t, base+q.path, q.body, "Content-Type", q.media)
		if got.status != http.StatusTooManyRequests || got.fault(t).Code != "too_many_requests" || got.header.Get("Retry-After") != "1" || len(f.asked) > asked {
			t.Errorf("%s with nothing left: %d %v %s", q.path, got.status, got.header, got.body)
		}
	}
}

// Two batches that arrive together do not overdraw the budget twice.
func TestOverdrawnByAnotherBatch(t *testing.T) {
	f, p := &fake{}, &purse{left: 1, wait: 1500 * time.Millisecond}
	base := known(t, f, point(wire.ScopeCheck, wire.ScopeAssert), func(o *decisionapi.Options) { o.Access.Limit = overdrawn{p} })
	got := post(t, base+"/v1/check/batch", `{"items":[{},{}]}`)
	if got.status != http.StatusTooManyRequests || got.fault(t).Code != "too_many_requests" || got.header.Get("Retry-After") != "2" || len(f.asked) > 0 {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

// overdrawn admits, and then another batch was faster.
type overdrawn struct{ *purse }

func (o overdrawn) Charge(*decisionapi.Identity, int) time.Duration { return o.wait }

// A stream that is faster than its budget is slowed down and loses nothing.
func TestStreamsAreSlowedDown(t *testing.T) {
	const one = `{"metric":"m%d","node":"n","role":"r","operation":"collect"}` + "\n"
	var body strings.Builder
	for i := range 500 {
		fmt.Fprintf(&body, one, i)
	}
	f, p := &fake{}, &purse{left: 10, wait: time.Microsecond, refill: 2}
	base := known(t, f, point(wire.ScopeCheck, wire.ScopeAssert), func(o *decisionapi.Options) { o.Access.Limit = p })
	got := post(t, base+"/v1/check/batch", body.String(), "Content-Type", "application/x-ndjson")
	if n := strings.Count(got.body, `"outcome":"allowed"`); n != 500 || strings.Contains(got.body, "error") {
		t.Errorf("%d of 500 questions were answered: %.300s", n, got.body)
	}
	for i, in := range f.asked {
		if in.Metric != fmt.Sprintf("m%d", i) {
			t.Fatalf("question %d is %s", i, in.Metric)
		}
	}
	if p.refused < 5 {
		t.Errorf("it was slowed down %d times", p.refused)
	}
}

// A stream whose budget stays overdrawn ends with a line that says so.
func TestStreamsEndWhenTheBudgetStaysOverdrawn(t *testing.T) {
	const one = `{"metric":"m","node":"n","role":"r","operation":"collect"}` + "\n"
	base := known(t, &fake{}, point(wire.ScopeCheck, wire.ScopeAssert), func(o *decisionapi.Options) {
		o.Access.Limit = &purse{left: 3, wait: time.Minute}
	})
	got := post(t, base+"/v1/check/batch", strings.Repeat(one, 6), "Content-Type", "application/x-ndjson")
	lines := slices.Collect(strings.Lines(got.body))
	if got.status != http.StatusOK || len(lines) != 4 || !strings.Contains(lines[3], `{"error":{"code":"too_many_requests"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// While too many batches are being decided, one more is told to come back;
// single questions do not wait for them.
func TestTooManyBatchesAtOnce(t *testing.T) {
	const one = `{"metric":"m","node":"n","role":"r","operation":"collect"}`
	const batch = `{"items":[` + one + `]}`
	f := &fake{}
	entered, release := make(chan struct{}, 1000), make(chan struct{})
	f.decide = func(_ context.Context, in decision.Input) (decision.Decision, error) {
		if in.Metric == "m" {
			entered <- struct{}{}
			<-release
		}
		return f.byName(in)
	}
	base := start(t, f, func(o *decisionapi.Options) { o.DecideTimeout, o.BatchTimeout = 50*time.Millisecond, time.Minute })
	turns := max(2, runtime.GOMAXPROCS(0))
	var under sync.WaitGroup
	for range turns {
		under.Go(func() {
			if got := post(t, base+"/v1/check/batch", batch); got.status != http.StatusOK {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
		<-entered
	}
	for path, body := range map[string]string{
		"/v1/check/batch": batch, "/v1/batch/data/charter/decision": `{"inputs":{"a":` + one + `}}`, "/access/v1/evaluations": `{}`,
	} {
		got := post(t, base+path, body, "Content-Type", "application/json")
		if got.status != http.StatusServiceUnavailable || got.fault(t).Code != "overloaded" || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %v %s", path, got.status, got.header, got.body)
		}
	}
	if got := post(t, base+"/v1/check", strings.Replace(one, `"m"`, `"other"`, 1)); got.status != http.StatusOK {
		t.Errorf("a single question: %d %s", got.status, got.body)
	}
	close(release)
	under.Wait()
	if got := post(t, base+"/v1/check/batch", batch); got.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
}
