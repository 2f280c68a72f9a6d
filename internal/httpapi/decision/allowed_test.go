package decisionapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/decision"
)

type allowed struct {
	Allowed     *bool
	Outcome     string
	Clause      string
	Revision    string
	Withheld    string
	DecisionID  string `json:"decision_id"`
	Reasons     []decision.Reason
	Obligations *decision.Obligations
}

func ask(t *testing.T, url string) allowed {
	t.Helper()
	got := get(t, url)
	var a allowed
	if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != http.StatusOK || a.Allowed == nil || a.Reasons == nil || a.Obligations == nil {
		t.Fatalf("%s: %d %s", url, got.status, got.body)
	}
	return a
}

func TestAllowed(t *testing.T) {
	f := &fake{}
	base := startNames(t, f, true) + "/v1/allowed"
	a := ask(t, base+"?metric=latency_p50&node=edge-1")
	if !*a.Allowed || a.Outcome != "allowed" || a.Clause != "net.latency" || a.Revision != "r-7" || a.DecisionID == "" {
		t.Errorf("%+v", a)
	}
	if in := f.asked[0]; in.Metric != "latency_p50" || in.Node != "edge-1" || in.Role != "node_operator" || in.Operation != "collect" || in.Time == "" {
		t.Errorf("asked %+v", in)
	}
	if a := ask(t, base+"?metric=deny&node=edge-1&pretty"); *a.Allowed || a.Outcome != "denied" || a.Withheld != "" {
		t.Errorf("%+v", a)
	}
	ask(t, base+"?metric=a&role=auditor&operation=read&purpose=operations&retention=30d&claims=x,y,&labels=instance,job")
	in := f.asked[2]
	if in.Role != "auditor" || in.Operation != "read" || in.Purpose != "operations" || in.Retention != "30d" || len(in.Claims) != 2 || in.Claims[1] != "y" || len(in.Labels) != 2 {
		t.Errorf("asked %+v", in)
	}
	if in.Labels["job"] == "" {
		t.Error("a label without a value counts as absent and would not be looked at")
	}
}

// A yes to a caller that drops no labels would let through what must be dropped.
func TestAllowedWithObligations(t *testing.T) {
	base := startNames(t, &fake{}, true) + "/v1/allowed?metric=oblige&node=n"
	for query, want := range map[string]bool{"": false, "&obligations=false": false, "&obligations=true": true} {
		a := ask(t, base+query)
		if *a.Allowed != want || (a.Withheld == "") != want || a.Obligations.Retention != "30d" || a.Outcome != "allowed" {
			t.Errorf("%q: %+v", query, a)
		}
	}
}

func TestAllowedRefuses(t *testing.T) {
	base := startNames(t, &fake{}, true) + "/v1/allowed?"
	for query, location := range map[string]string{
		"":                                                    "metric",
		"node=n":                                              "metric",
		"metric=a":                                            "node",
		"metric=a&node=n&label=x":                             "label",
		"metric=a&node=n&metric=b":                            "metric",
		"metric=a&node=n&time=2026-01-01":                     "time",
		"metric=a&node=n&time=now":                            "time",
		"metric=a&node=n&operation=peek":                      "operation",
		"metric=a&node=n&obligations=yes":                     "obligations",
		"metric=a&node=n&retention=for%20ever":                "retention",
		"metric=a&node=n&labels=%zz":                          "query",
		"metric=a&node=n;labels=client_ip":                    "query",
		"metric=%ff&node=n":                                   "metric",
		"metric=a&node=n&labels=a,%ff":                        "labels",
		"metric=refuse&node=n":                                "retention",
		"node=n&metric=" + strings.Repeat("x", 513):           "metric",
		"metric=a&node=n&" + strings.Repeat("y", 9000) + "=1": strings.Repeat("y", 128) + "…",
	} {
		got := get(t, base+query)
		if e := got.fault(t); got.status != http.StatusBadRequest || e.Code != decision.InvalidRequest || e.Errors[0].Location != location {
			t.Errorf("%.60s: %d %.300s", query, got.status, got.body)
		}
	}
}
