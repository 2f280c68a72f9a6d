package decisionapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/wire"
)

const dataBatchPath = "/v1/batch/data/charter/decision"

// inputs is a batch of EOPA whose questions differ in the metric alone.
func inputs(metrics ...string) string {
	list := make([]string, len(metrics))
	for i, m := range metrics {
		list[i] = fmt.Sprintf(`"%d":{"metric":%q}`, i, m)
	}
	return `{"common_input":{"role":"r","node":"n","operation":"collect"},"inputs":{` + strings.Join(list, ",") + `}}`
}

// Clients of EOPA sort responses by these statuses.
func TestDataBatchStatuses(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		codes      string // http_status_code of every response
	}{
		{"all answered", inputs("a", "deny"), http.StatusOK, " "},
		{"none asked", `{"inputs":{}}`, http.StatusOK, ""},
		{"one refused", inputs("a", ""), http.StatusMultiStatus, "200 400"},
		{"one failed", inputs("a", "fail"), http.StatusMultiStatus, "200 500"},
		{"one of each", inputs("a", "", "fail"), http.StatusMultiStatus, "200 400 500"},
		{"none answered", inputs("", "fail"), http.StatusMultiStatus, "400 500"},
		{"all failed", inputs("fail", "fail"), http.StatusInternalServerError, " "},
		{"all refused", inputs("", "refuse"), http.StatusBadRequest, " "},
	} {
		for _, batches := range []bool{false, true} {
			got := post(t, startNames(t, &fake{}, batches)+dataBatchPath, c.body)
			var a struct {
				BatchDecisionID string `json:"batch_decision_id"`
				Code            string
				Message         string
				Errors          []wire.Problem
				Responses       map[string]struct {
					DecisionID     string          `json:"decision_id"`
					HTTPStatusCode string          `json:"http_status_code"`
					Result         json.RawMessage `json:"result"`
					Code           string
					Message        string
					Errors         []wire.Problem
				}
			}
			dec := json.NewDecoder(strings.NewReader(got.body))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&a); err != nil || got.status != c.status {
				t.Errorf("%s: %d %v %s", c.name, got.status, err, got.body)
				continue
			}
			if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(a.BatchDecisionID) {
				t.Errorf("%s: batch id %q", c.name, a.BatchDecisionID)
			}
			codes := make([]string, len(a.Responses))
			for i := range codes {
				r := a.Responses[fmt.Sprint(i)]
				codes[i] = r.HTTPStatusCode
				if (r.Result == nil) == (r.Code == "") || r.Code != "" && r.Errors == nil {
					t.Errorf("%s: %s", c.name, got.body)
				}
			}
			if have := strings.Join(codes, " "); have != c.codes {
				t.Errorf("%s: codes %q, want %q", c.name, have, c.codes)
			}
			if failed := c.status >= 400; failed != (a.Code != "" && a.Errors != nil) || strings.Contains(got.body, "secret") {
				t.Errorf("%s: %s", c.name, got.body)
			}
		}
	}
}

func TestDataBatchResult(t *testing.T) {
	base := startNames(t, &fake{}, true)
	got := post(t, base+dataBatchPath+"?provenance&metrics=true", inputs("a", ""))
	want := regexp.MustCompile(`^\{"batch_decision_id":"[^"]+","metrics":\{"timer_rego_input_parse_ns":\d+,"timer_rego_query_eval_ns":\d+,"timer_server_handler_ns":\d+\},` +
		`"responses":\{"0":\{"decision_id":"id-a","provenance":\{"version":"","build_commit":"","build_timestamp":"","build_hostname":"","bundles":\{"charter":\{"revision":"r-7"\}\}\},` +
		`"result":\{"allow":true,[^}]*\},"http_status_code":"200"\},` +
		`"1":\{"http_status_code":"400","code":"invalid_request","message":"[^}]*","errors":\[\{[^]]*"location":"input.metric"\}\]\}\}\}\n$`)
	got.body = strings.Replace(got.body, `"obligations":{},`, "", 1)
	if !want.MatchString(got.body) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if strings.Contains(got.body, `"result":{"allow":true,"outcome":"allowed","decision_id"`) {
		t.Errorf("the result is not the document that OPA gives: %s", got.body)
	}
}

func TestDataBatchEnvelope(t *testing.T) {
	base := startNames(t, &fake{}, true)
	for name, c := range map[string]struct{ body, location string }{
		"empty":            {``, "input"},
		"OPA's envelope":   {`{"input":` + question + `}`, "input"},
		"no inputs":        {`{"common_input":{}}`, "inputs"},
		"inputs as array":  {`{"inputs":[]}`, "inputs"},
		"id twice":         {`{"inputs":{"a":{},"\u0061":{}}}`, "inputs"},
		"common as text":   {`{"common_input":"x","inputs":{}}`, "common_input"},
		"misspelt common":  {`{"common_input":{"rol":""},"inputs":{}}`, "common_input.rol"},
		"cut off":          {`{"inputs":{"a":`, "input"},
		"members trailing": {`{"inputs":{}} x`, "input"},
	} {
		got := post(t, base+dataBatchPath, c.body)
		if e := got.fault(t); got.status != http.StatusBadRequest || e.Errors[0].Location != c.location {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	many := strings.Builder{}
	for i := range 10_001 {
		fmt.Fprintf(&many, `"%d":{},`, i)
	}
	if got := post(t, base+dataBatchPath, `{"inputs":{`+many.String()+`"x":{}}}`); got.status != http.StatusBadRequest || !strings.Contains(got.body, "more than 10000") {
		t.Errorf("too many: %d %.200s", got.status, got.body)
	}
	if got := post(t, base+dataBatchPath+"?explain=full", `{"inputs":{}}`); got.status != http.StatusBadRequest || got.fault(t).Code != "unsupported_parameter" {
		t.Errorf("explain: %d %s", got.status, got.body)
	}
	if got := post(t, base+dataBatchPath, `{"inputs":{}}`, "Content-Type", "application/x-yaml"); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("YAML: %d %s", got.status, got.body)
	}
}

// The errors of a batch in which everything is wrong must stay small.
func TestDataBatchFaultIsBounded(t *testing.T) {
	metrics := make([]string, 1000)
	got := post(t, startNames(t, &fake{}, true)+dataBatchPath, inputs(metrics...))
	e := wire.Error{}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != http.StatusBadRequest || len(e.Errors) != 20 || e.Errors[0].Location != "inputs.0.input.metric" {
		t.Errorf("%d %v %.300s", got.status, err, got.body)
	}
}
