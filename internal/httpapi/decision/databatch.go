package decisionapi

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	// dataBatchPath is where Enterprise OPA (EOPA) answers batches.
	dataBatchPath  = "/v1/batch/data/charter/decision"
	inputsKey      = "inputs"
	commonInputKey = "common_input"
)

// dataBatchAnswer is the answer of EOPA's batch API. Code, message and errors
// are there when the status is 400 or more, in addition to EOPA's members.
type dataBatchAnswer struct {
	BatchDecisionID string               `json:"batch_decision_id"`
	Metrics         map[string]int64     `json:"metrics,omitempty"`
	Responses       map[string]dataReply `json:"responses"`
	*wire.Error
}

// dataReply is one response of a batch: a result, or an error.
type dataReply struct {
	DecisionID string             `json:"decision_id,omitempty"`
	Provenance *provenance        `json:"provenance,omitempty"`
	Result     *decision.Decision `json:"result,omitempty"`
	// HTTPStatusCode is there when not all responses have the same, as text,
	// both as in EOPA.
	HTTPStatusCode string `json:"http_status_code,omitempty"`
	*wire.Error
}

// dataBatch answers {"inputs": {"id": {…}}, "common_input": {…}} as EOPA does.
func (a *api) dataBatch(c echo.Context) error {
	start := time.Now()
	params, err := a.readDataParams(c)
	if err == nil {
		err = notExplained(c)
	}
	if err != nil {
		return err
	}
	body, err := a.readBody(c, a.MaxBatchBody)
	if err != nil {
		return err
	}
	common, ids, texts, err := readDataBatch(commonOf(c), body)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	if err := a.charge(c, len(texts)); err != nil {
		return err
	}
	items := a.questions(c, common, texts, wrapped)
	parsed := time.Now()
	revision, err := a.decideAll(c, a.Decider, items, wrapped)
	if err != nil {
		return err
	}
	status, replies := dataReplies(ids, items)
	answer := dataBatchAnswer{BatchDecisionID: newID(), Responses: replies}
	if params.provenance {
		stated := a.provenance(revision)
		for id, reply := range replies {
			if reply.Error == nil {
				reply.Provenance = stated
				replies[id] = reply
			}
		}
	}
	if status >= http.StatusBadRequest {
		answer.Error = batchFault(status, ids, items)
		recordOf(c).failure = answer.Error
	}
	if params.metrics {
		answer.Metrics = timers(start, parsed)
	}
	return respond(c, status, answer)
}

// readDataBatch reads the envelope of EOPA's batch strictly.
func readDataBatch(who base, body []byte) (common base, ids []string, texts [][]byte, err error) {
	common = who
	seen := map[string]bool{}
	err = members(body, map[string]func(*cursor) error{
		commonInputKey: func(c *cursor) error {
			text, err := objectAt(c, commonInputKey)
			if err != nil {
				return err
			}
			common, err = common.readBase(text, commonInputKey)
			return err
		},
		inputsKey: func(c *cursor) error {
			if c.peek() != '{' {
				return mistyped(c, inputsKey, "an object of questions")
			}
			ids = []string{}
			return c.object(func(id string) error {
				if seen[id] {
					return envelope(inputsKey, decision.CodeInvalidValue, fmt.Sprintf("id %q is given more than once", wire.Echo(id)))
				}
				if len(ids) == maxItems {
					return tooMany(inputsKey)
				}
				seen[id] = true
				text, err := c.value()
				ids, texts = append(ids, id), append(texts, text)
				return err
			})
		},
	})
	if err == nil && ids == nil {
		err = envelope(inputsKey, decision.CodeMissingField, `field "inputs" is required`)
	}
	return common, ids, texts, err
}

// dataReplies sorts out the status: 200 when every question has a decision, 500
// when none has one for the server's fault, 400 or 403 when none has one for the
// caller's, and 207 for any mixture.
func dataReplies(ids []string, items []item) (status int, replies map[string]dataReply) {
	replies = make(map[string]dataReply, len(items))
	statuses := make([]int, len(items))
	for i := range items {
		reply := reply(&items[i])
		statuses[i] = http.StatusOK
		if reply.Error != nil {
			statuses[i] = http.StatusInternalServerError
			if items[i].refused() {
				statuses[i] = items[i].fault.Status
			}
		}
		reply.HTTPStatusCode = strconv.Itoa(statuses[i])
		replies[ids[i]] = reply
	}
	statuses = slices.Compact(slices.Sorted(slices.Values(statuses)))
	switch len(statuses) {
	case 0:
		return http.StatusOK, replies
	case 1:
		for id, reply := range replies {
			reply.HTTPStatusCode = ""
			replies[id] = reply
		}
		return statuses[0], replies
	default:
		return http.StatusMultiStatus, replies
	}
}

// reply tells an item as EOPA would. What was left undetermined is an error
// there, since OPA has no denial of its own.
func reply(i *item) dataReply {
	switch {
	case i.fault != nil:
		return dataReply{Error: i.fault}
	case undetermined(i.decision):
		fault := internal(nil)
		fault.Errors = problemsOf(i.decision.Reasons)
		return dataReply{Error: fault, DecisionID: i.decision.DecisionID}
	default:
		result := i.decision
		result.DecisionID = ""
		return dataReply{Result: &result, DecisionID: i.decision.DecisionID}
	}
}

// batchFault is the error of a batch in which no question has a decision.
func batchFault(status int, ids []string, items []item) *wire.Error {
	if status >= http.StatusInternalServerError {
		return faultOf(internal(nil))
	}
	fault := faultOf(items[0].fault)
	fault.Message, fault.Errors = "none of the inputs was accepted: "+fault.Message, []wire.Problem{}
	for i := range items {
		if len(fault.Errors) == wire.MaxProblems {
			break
		}
		if problems := items[i].fault.Errors; len(problems) > 0 {
			first := problems[0]
			first.Location = inputsKey + "." + wire.Echo(ids[i]) + "." + first.Location
			fault.Errors = append(fault.Errors, first)
		}
	}
	return fault
}
