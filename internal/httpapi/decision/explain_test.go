package decisionapi_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/explain"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// teller is an Explainer that remembers what it was asked.
type teller struct {
	mu    sync.Mutex
	asked []decision.Input
	of    []decision.Decision
	reach *explain.Reach
	err   func(call int) error
}

func (e *teller) Explain(_ context.Context, in decision.Input, d decision.Decision, reach *explain.Reach) (*explain.Explanation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked, e.of, e.reach = append(e.asked, in), append(e.of, d), reach
	if e.err != nil {
		if err := e.err(len(e.asked)); err != nil {
			return nil, err
		}
	}
	return &explain.Explanation{
		Steps:          []explain.Step{{Check: explain.CheckClaims, Message: "role node_operator requires mtls"}},
		Counterfactual: "allowed with claim mtls", Change: &explain.Change{AddClaims: []string{"mtls"}},
	}, nil
}

func (e *teller) use(o *decisionapi.Options) { o.Explainer = e }

func denied(_ context.Context, in decision.Input) (decision.Decision, error) {
	return decision.Decision{
		Outcome: decision.Denied, DecisionID: "d-" + in.Metric, Revision: "r-1", Clause: "net.latency", Source: "charter.yaml:9",
		Severity: "low", Reasons: []decision.Reason{}, Mode: decision.Enforce,
	}, nil
}

const withQuestion = "?input=%7B%22metric%22:%22m%22,%22role%22:%22r%22,%22operation%22:%22read%22%7D"

// Wherever a question can be explained, the explanation stands beside the answer
// that the question gets anyway, and says what would be allowed.
func TestExplain(t *testing.T) {
	const why = `"explanation":{"steps":[{"check":"claims","met":false,"message":"role node_operator requires mtls"}],"change":{"add_claims":["mtls"]}}`
	const told = `"obligations":{},"counterfactual":"allowed with claim mtls","mode":"enforce"`
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/v1/check?explain=full", question, `"clause":"net.latency","source":"charter.yaml:9","severity":"low","reasons":[],` + told + `,` + why + `}`},
		{"POST", "/v1/data/charter/decision?explain=full", `{"input":` + question + `}`, told + `},` + why + `}`},
		{"GET", "/v1/data/charter/decision" + withQuestion + "&explain=full", "", told + `},` + why + `}`},
		{"GET", "/v1/allowed?metric=m&node=n&explain=full", "", `"counterfactual":"allowed with claim mtls",` + why + `}`},
	} {
		f, e := &fake{decide: denied}, &teller{}
		got := do(t, request(t, c.method, start(t, f, e.use)+c.path, c.body))
		if got.status != http.StatusOK || !strings.HasSuffix(got.body, c.want+"\n") {
			t.Errorf("%s: %d %s", c.path, got.status, got.body)
		}
		if len(e.asked) != 1 || !reflect.DeepEqual(e.asked, f.asked) || e.asked[0].Time == "" || e.of[0].DecisionID == "" || e.reach != nil {
			t.Errorf("%s: explained %+v of %+v within %+v, decided %+v", c.path, e.asked, e.of, e.reach, f.asked)
		}
		if len(f.decided) != 1 {
			t.Errorf("%s: counted %q", c.path, f.decided)
		}
	}
}

// What is not served is refused instead of ignored, and what is not asked for
// costs nothing.
func TestExplainIsStrict(t *testing.T) {
	with := func(e decisionapi.Explainer) func(*decisionapi.Options) {
		return func(o *decisionapi.Options) { o.Explainer = e }
	}
	for _, c := range []struct {
		method, path, body string
		explainer          decisionapi.Explainer
		status             int
	}{
		{"POST", "/v1/check?explain=off", question, &teller{}, 200},
		{"POST", "/v1/check?explain", question, &teller{}, 200},
		{"POST", "/v1/check", question, &teller{}, 200},
		{"POST", "/v1/check?explain=notes", question, &teller{}, 400},
		{"POST", "/v1/check?explain=off&explain=fails", question, &teller{}, 400},
		{"POST", "/v1/check?explain=full", question, nil, 400},
		{"POST", "/v1/data/charter/decision?explain=debug", `{"input":` + question + `}`, &teller{}, 400},
		{"GET", "/v1/allowed?metric=m&node=n&explain=notes", "", &teller{}, 400},
		{"GET", "/v1/allowed?metric=m&node=n&explain=off", "", &teller{}, 200},
		{"POST", "/v1/check/batch?explain=full", `{"items":[` + question + `]}`, &teller{}, 400},
		{"POST", "/v1/batch/data/charter/decision?explain=full", `{"inputs":{"a":` + question + `}}`, &teller{}, 400},
		{"POST", "/v1/check?explain=full", `{"metrik":"x"}`, &teller{}, 400},
	} {
		got := do(t, request(t, c.method, start(t, &fake{decide: denied}, with(c.explainer))+c.path, c.body))
		if got.status != c.status || strings.Contains(got.body, "explanation") && c.status == 200 {
			t.Errorf("%s: %d %s", c.path, got.status, got.body)
		}
		if c.status == 400 {
			if fault := got.fault(t); !strings.Contains(c.body, "metrik") && (fault.Code != "unsupported_parameter" || fault.Errors[0].Location != "explain") {
				t.Errorf("%s: %+v", c.path, fault)
			}
		}
		if e, ok := c.explainer.(*teller); ok && len(e.asked) > 0 {
			t.Errorf("%s: explained without need", c.path)
		}
	}
}

// A node may be told only what it could ask itself: the role or claim of somebody
// else that would help is none of its business.
func TestExplanationsStayInReach(t *testing.T) {
	e := &teller{}
	base := known(t, &fake{decide: denied}, nodeA(), e.use)
	if got := post(t, base+"/v1/check?explain=full", `{"metric":"m","role":"node_operator","operation":"collect"}`); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	want := &explain.Reach{Roles: []string{"node_operator"}, Claims: []string{"owns_node", "mtls"}}
	if !reflect.DeepEqual(e.reach, want) || e.asked[0].Node != "edge-1" || e.asked[0].Claims[0] != "mtls" {
		t.Errorf("reach %+v of %+v", e.reach, e.asked)
	}
	if got := post(t, base+"/v1/check?explain=full", `{"metric":"m","role":"auditor","operation":"read"}`); got.status != 403 || len(e.asked) != 1 {
		t.Errorf("somebody else's question: %d, explained %d times", got.status, len(e.asked))
	}
	base = known(t, &fake{decide: denied}, point(wire.ScopeCheck, wire.ScopeAssert), e.use)
	if post(t, base+"/v1/check?explain=full", question); e.reach != nil {
		t.Errorf("who may say anything is told within %+v", e.reach)
	}
}

// The explanation is of the decision that it stands beside, also while policies
// are replaced; when that cannot be had, there is no answer rather than a wrong one.
func TestExplanationOfAReplacedPolicy(t *testing.T) {
	for _, c := range []struct {
		name      string
		err       func(call int) error
		status    int
		code      string
		decisions int
	}{
		{"once", func(call int) error {
			if call == 1 {
				return explain.ErrReplaced
			}
			return nil
		}, 200, "", 2},
		{"always", func(int) error { return explain.ErrReplaced }, 503, "unavailable", 4},
		{"failing", func(int) error { return errors.New("rules conflict") }, 500, "internal_error", 1},
	} {
		f, e := &fake{decide: denied}, &teller{err: c.err}
		got := post(t, start(t, f, e.use)+"/v1/check?explain=full", question)
		if got.status != c.status || len(f.asked) != c.decisions {
			t.Errorf("%s: %d after %d decisions: %s", c.name, got.status, len(f.asked), got.body)
		}
		if c.code != "" && got.fault(t).Code != c.code {
			t.Errorf("%s: %s", c.name, got.body)
		}
		for i := range f.asked {
			if f.asked[i].Time != f.asked[0].Time {
				t.Errorf("%s: decided at %s and %s", c.name, f.asked[0].Time, f.asked[i].Time)
			}
		}
	}
}

// An explanation costs its sender what it costs the server.
func TestExplanationsAreCharged(t *testing.T) {
	e := &teller{}
	p := &purse{left: 90, wait: time.Second}
	base := known(t, &fake{decide: denied}, point(wire.ScopeCheck, wire.ScopeAssert), e.use, func(o *decisionapi.Options) { o.Access.Limit = p })
	for _, want := range []int{200, 429} {
		if got := post(t, base+"/v1/check?explain=full", question); got.status != want {
			t.Errorf("%d, want %d: %s", got.status, want, got.body)
		}
	}
	if len(e.asked) != 1 {
		t.Errorf("%d explanations", len(e.asked))
	}
}
