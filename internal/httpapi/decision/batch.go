package decisionapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/wire"
)

const (
	batchPath = "/v1/check/batch"
	commonKey = "common"
	itemsKey  = "items"
)

// batchAnswer answers a batch: results stand in the order of the items, each a
// [decision.Decision] or a [failed].
type batchAnswer struct {
	Revision string `json:"revision"`
	Results  []any  `json:"results"`
}

// failed is the result of an item without a decision.
type failed struct {
	Error *wire.Error `json:"error"`
}

// batch answers {"common": {…}, "items": [{…}, …]}. A fault of one item is the
// result of that item; a fault of the rest is a 400.
func (a *api) batch(c echo.Context) error {
	if err := notExplained(c); err != nil {
		return err
	}
	if lineByLine(c.Request()) {
		return a.stream(c)
	}
	body, err := a.readBody(c, a.MaxBatchBody)
	if err != nil {
		return err
	}
	common, texts, err := readBatch(commonOf(c), body)
	if err != nil {
		return a.refuse(c, err, wrapper)
	}
	if err := a.charge(c, len(texts)); err != nil {
		return err
	}
	items := a.questions(c, common, texts, bare)
	revision, err := a.decideAll(c, a.Decider, items, bare)
	if err != nil {
		return err
	}
	answer := batchAnswer{Revision: revision, Results: make([]any, len(items))}
	for i := range items {
		answer.Results[i] = items[i].result()
	}
	return respond(c, http.StatusOK, answer)
}

func (i *item) result() any {
	if i.fault != nil {
		return failed{i.fault}
	}
	return &i.decision
}

// questions reads the items of a batch.
func (a *api) questions(c echo.Context, common base, texts [][]byte, in place) []item {
	revision := a.Reporter.Status().Revision
	var refused refusedQuestions
	items := make([]item, len(texts))
	for i, text := range texts {
		input, err := common.question(text)
		if err != nil {
			items[i].fault = a.refusal(a.asking(c), err, revision, in)
			refused.add(input, err)
			continue
		}
		items[i].input = input
	}
	refused.record(a, c)
	return items
}

// readBatch reads the envelope of a batch strictly and leaves the items unread.
func readBatch(who base, body []byte) (common base, items [][]byte, err error) {
	common = who
	err = members(body, map[string]func(*cursor) error{
		commonKey: func(c *cursor) error {
			text, err := objectAt(c, commonKey)
			if err != nil {
				return err
			}
			common, err = common.readBase(text, commonKey)
			return err
		},
		itemsKey: func(c *cursor) (err error) {
			items, err = elements(c, itemsKey)
			return err
		},
	})
	if err == nil && items == nil {
		err = envelope(itemsKey, decision.CodeMissingField, `field "items" is required`)
	}
	return common, items, err
}

// unknownMember is the fault of a misspelt or misplaced member.
func unknownMember(name string, known map[string]func(*cursor) error) error {
	names := slices.Sorted(maps.Keys(known))
	message := fmt.Sprintf("unknown field %q, the body holds %s", wire.Echo(name), strings.Join(names, ", "))
	if near := diag.DidYouMean(wire.Echo(name), names); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	}
	return envelope(name, decision.CodeUnknownField, message)
}

// members reads a body that is one object of which every member is in known, at
// most once. The readers get the cursor at the value.
func members(body []byte, known map[string]func(*cursor) error) error {
	if !utf8.Valid(body) {
		return envelope(inputKey, decision.CodeInvalidValue, "the body is not valid UTF-8")
	}
	c := cursor{text: body}
	if c.peek() != '{' && c.at < len(body) {
		return envelope(inputKey, decision.CodeWrongType, "the body must be a JSON object")
	}
	seen := map[string]bool{}
	err := c.object(func(name string) error {
		read := known[name]
		if read == nil {
			return unknownMember(name, known)
		}
		if seen[name] {
			return envelope(name, decision.CodeInvalidValue, fmt.Sprintf("field %q is given more than once", name))
		}
		seen[name] = true
		c.peek()
		return read(&c)
	})
	if err != nil {
		return err
	}
	return c.end()
}

// objectAt returns the object at the cursor as it is written.
func objectAt(c *cursor, field string) ([]byte, error) {
	if c.peek() != '{' {
		return nil, mistyped(c, field, "an object")
	}
	return c.value()
}

// elements returns the elements of the array at the cursor as they are written.
func elements(c *cursor, field string) ([][]byte, error) {
	if c.peek() != '[' {
		return nil, mistyped(c, field, "an array")
	}
	list := [][]byte{}
	err := c.array(func() error {
		if len(list) == maxItems {
			return tooMany(field)
		}
		text, err := c.value()
		list = append(list, text)
		return err
	})
	return list, err
}

func tooMany(field string) error {
	return envelope(field, decision.CodeInvalidValue, fmt.Sprintf("field %q holds more than %d questions", field, maxItems))
}

// mistyped is the fault of a value of another type, or of no value at all.
func mistyped(c *cursor, field, want string) error {
	if _, err := c.value(); err != nil {
		return err
	}
	return envelope(field, decision.CodeWrongType, fmt.Sprintf("field %q must be %s", field, want))
}
