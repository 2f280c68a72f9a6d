package decisionapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/wire"
)

// journal keeps the entries that an auditor appends.
type journal struct {
	mu      sync.Mutex
	entries []ledger.Entry
}

func (j *journal) AppendAll(_ context.Context, entries []ledger.Entry, _ ledger.Level) ([]ledger.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entries...)
	return make([]ledger.Position, len(entries)), nil
}

// callerOf finds out what an auditor would record about who asks.
func callerOf(ctx context.Context) audit.Caller {
	var j journal
	audit.New(audit.Options{Log: &j}).Refused(ctx, audit.Refusal{})
	route := strings.TrimSuffix(strings.TrimPrefix(string(j.entries[0].Data), `{"route":"`), `"}`)
	return audit.Caller{Principal: j.entries[0].Principal, Route: route}
}

type refusal struct {
	audit.Refusal
	caller audit.Caller
}

// refusals is an Auditor that keeps what it is told.
type refusals struct {
	mu   sync.Mutex
	told []refusal
}

func (r *refusals) Refused(ctx context.Context, list ...audit.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range list {
		r.told = append(r.told, refusal{one, callerOf(ctx)})
	}
}

// take returns what was told since the last time.
func (r *refusals) take(t *testing.T, want int) []refusal {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	if len(told) != want {
		t.Errorf("%d refusals are recorded, want %d: %+v", len(told), want, told)
	}
	return told
}

// snapshots answers by name, in batches as well.
type snapshots struct{ *fake }

func (s snapshots) Decide(_ context.Context, in decision.Input) (decision.Decision, error) {
	return s.byName(in)
}

func (s snapshots) DecideBatch(_ context.Context, in []decision.Input) []decision.Decision {
	answers := make([]decision.Decision, len(in))
	for i := range in {
		answers[i], _ = s.byName(in[i])
	}
	return answers
}

// audited serves a fake whose decisions are recorded in a real log.
func audited(t *testing.T, rules audit.Rules, id *decisionapi.Identity) (base string, a *audit.Auditor, log *ledger.Log) {
	t.Helper()
	log = ledgertest.NewLog(t, nil, ledgertest.NewSigner(t), nil)
	f := &fake{}
	a = audit.New(audit.Options{Next: snapshots{f}, Log: log, Rules: func() audit.Rules { return rules }})
	return known(t, f, id, func(o *decisionapi.Options) {
		o.Decider, o.Auditor, o.Lister = a, a, decisionapi.Batching(snapshots{f})
	}), a, log
}

// A route without the scope is no way around the record either.
func TestMissingScopeIsRecorded(t *testing.T) {
	rec, f := &refusals{}, &fake{}
	base := known(t, f, &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "scraper", Scopes: []string{wire.ScopeMetrics}},
		func(o *decisionapi.Options) { o.Auditor = rec })
	if got := post(t, base+"/v1/check", question); got.status != http.StatusForbidden {
		t.Errorf("%d %s", got.status, got.body)
	}
	if told := rec.take(t, 1); told[0].Code != "insufficient_scope" || told[0].caller != (audit.Caller{Principal: "token:scraper", Route: "/v1/check"}) {
		t.Errorf("%+v", told)
	}
}

// Each refused item of a batch is recorded.
func TestRefusedItemsAreRecorded(t *testing.T) {
	rec := &refusals{}
	base := known(t, &fake{}, nodeA(), func(o *decisionapi.Options) { o.Auditor = rec })
	items := `{"items":[{"metric":"a","node":"edge-2","role":"node_operator","operation":"collect"},{"metric":"b","node":"edge-1","role":"root","operation":"collect"},{"metrik":"c"}]}`
	if got := post(t, base+"/v1/check/batch", items); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if told := rec.take(t, 2); told[0].Input.Metric != "a" || told[1].Code != "role_not_held" {
		t.Errorf("%+v", told)
	}
}

// A retry under a key is recorded once; another question under it is a conflict. A
// request id for finding lines in logs means nothing of that kind.
func TestIdempotencyKey(t *testing.T) {
	gateway := &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "gateway", Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}
	base, _, log := audited(t, audit.Rules{}, gateway)
	ask := func(metric, header, value string) answer {
		body := fmt.Sprintf(`{"metric":%q,"node":"edge-1","role":"node_operator","operation":"collect"}`, metric)
		return do(t, request(t, http.MethodPost, base+"/v1/check", body, "Content-Type", "application/json", header, value))
	}
	size := func(want uint64) {
		t.Helper()
		if got := log.Stats().Size; got != want {
			t.Errorf("%d entries, want %d", got, want)
		}
	}
	for range 3 {
		if got := ask("deny_a", "Idempotency-Key", `"k-1"`); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	size(1)
	if got := ask("deny_b", "Idempotency-Key", "k-1"); got.status != http.StatusConflict || got.fault(t).Code != "request_conflict" {
		t.Errorf("%d %s", got.status, got.body)
	}
	size(2)
	for range 2 {
		ask("deny_a", "X-Request-Id", "shared")
	}
	size(4)
	if got := ask("deny_a", "Idempotency-Key", "no spaces"); got.status != http.StatusBadRequest || got.fault(t).Errors[0].Location != "Idempotency-Key" {
		t.Errorf("%d %s", got.status, got.body)
	}
	line := `{"metric":"deny_a","node":"edge-1","role":"node_operator","operation":"collect"}` + "\n"
	for range 2 {
		got := do(t, request(t, http.MethodPost, base+"/v1/check/batch", line+line, "Content-Type", "application/x-ndjson", "Idempotency-Key", "k-2"))
		if got.status != http.StatusOK || strings.Contains(got.body, "error") {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	size(6)
}

// While nothing can be recorded, a denial is one and nothing is allowed, in every
// form; lists are no decisions.
func TestAuditUnavailable(t *testing.T) {
	gateway := &decisionapi.Identity{Kind: decisionapi.KindToken, Name: "gateway", Scopes: []string{wire.ScopeCheck, wire.ScopeAssert}}
	base, _, log := audited(t, audit.Rules{}, gateway)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	const of = `"node":"edge-1","role":"node_operator","operation":"collect"`
	if got := post(t, base+"/v1/check", `{"metric":"deny_a",`+of+`}`); got.status != http.StatusOK || !strings.Contains(got.body, `"allow":false`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	for path, body := range map[string]string{
		"/v1/check":       `{"metric":"a",` + of + `}`,
		"/v1/check/batch": `{"items":[{"metric":"a",` + of + `},{"metric":"deny_a",` + of + `}]}`,
	} {
		got := post(t, base+path, body)
		if got.status != http.StatusServiceUnavailable || got.fault(t).Code != "audit_unavailable" || got.header.Get("Retry-After") != "2" || strings.Contains(got.body, "stopped writing") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	got := do(t, request(t, http.MethodPost, base+"/v1/check/batch", `{"metric":"a",`+of+"}\n"+`{"metric":"deny_a",`+of+"}\n", "Content-Type", "application/x-ndjson"))
	if lines := strings.Split(got.body, "\n"); !strings.Contains(lines[0], "audit_unavailable") || !strings.Contains(lines[1], `"allow":false`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What an auditor cannot record wraps the error of this package's contract.
func TestErrorsOfTheAuditorAreTold(t *testing.T) {
	f := &fake{decide: func(context.Context, decision.Input) (decision.Decision, error) {
		return decision.Decision{}, fmt.Errorf("%w: %w", audit.ErrUnavailable, errors.New("secret path"))
	}}
	if got := post(t, start(t, f)+"/v1/check", question); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "secret") {
		t.Errorf("%d %s", got.status, got.body)
	}
}
