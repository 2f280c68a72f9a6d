package decisionapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// Auditor records what was refused before it was decided. A Decider that records
// decisions finds an [audit.Caller] in the context.
type Auditor interface {
	Refused(ctx context.Context, refusals ...audit.Refusal)
}

// idempotencyHeader carries an id that the caller chose for one request and its
// retries. X-Request-Id is none: proxies make it, and services hand one on to all
// requests that they make for one of theirs.
const idempotencyHeader = "Idempotency-Key"

// auditRetry is when those come back who could not be recorded.
const auditRetry = 2 * time.Second

// unrecorded maps the errors of an [audit.Auditor] to answers; nil for others.
func unrecorded(err error) *wire.Error {
	switch {
	case errors.Is(err, audit.ErrUnavailable):
		return &wire.Error{
			Status: http.StatusServiceUnavailable, Code: wire.CodeAuditUnavailable, Retry: auditRetry, Cause: err,
			Message: "the decision cannot be recorded, which the charter demands; nothing is allowed, ask again",
		}
	case errors.Is(err, audit.ErrConflict):
		return &wire.Error{
			Status: http.StatusConflict, Code: wire.CodeRequestConflict, Cause: err,
			Message: "the " + idempotencyHeader + " was used for another question, or for one that was answered otherwise; nothing is allowed, use another key",
		}
	default:
		return nil
	}
}

const callerKey = "decisionapi.caller"

// identified notes who asks, for the record. The error is a key that cannot be
// one.
func (a *api) identified(c echo.Context, id *Identity) error {
	if a.Auditor == nil {
		return nil
	}
	who := audit.Caller{Principal: id.principal(), Route: a.route(c)}
	keys := c.Request().Header.Values(idempotencyHeader)
	if len(keys) > 0 {
		key := strings.TrimSuffix(strings.TrimPrefix(keys[0], `"`), `"`) // a string in the form of RFC 9651, or bare
		if len(keys) > 1 || !plain(key) {
			const message = idempotencyHeader + " must be given once and have 1 to 128 of the characters A-Z a-z 0-9 - _ . : / + ="
			return invalid([]wire.Problem{{Code: decision.CodeInvalidValue, Message: message, Location: idempotencyHeader}}, wrapper)
		}
		who.RequestID = key
	}
	c.Set(callerKey, who)
	return nil
}

// asking is the context of the questions of a request, which tells who asks.
func (a *api) asking(c echo.Context) context.Context {
	ctx := c.Request().Context()
	if who, ok := c.Get(callerKey).(audit.Caller); ok {
		return audit.WithCaller(ctx, who)
	}
	return ctx
}

// askingPart is asking for the i-th question of a request that are decided one by
// one.
func (a *api) askingPart(c echo.Context, i int) context.Context {
	ctx := c.Request().Context()
	if who, ok := c.Get(callerKey).(audit.Caller); ok {
		return audit.WithCaller(ctx, who.Part(i))
	}
	return ctx
}

// principal is the identity for the record; "" is nobody that was proven.
func (id *Identity) principal() string {
	if id.Kind == KindNone || id.Kind == KindSelf {
		return ""
	}
	return strings.ToValidUTF8(id.Kind+":"+id.Name, "\uFFFD")
}

// refusedQuestions records questions that somebody known may not ask.
type refusedQuestions []audit.Refusal

// add takes a question if err says that it was not the sender's to ask.
func (r *refusedQuestions) add(input decision.Input, err error) {
	if own, ok := errors.AsType[*wire.Error](err); ok && own.Status == http.StatusForbidden {
		*r = append(*r, audit.Refusal{Input: input, Code: own.Code})
	}
}

// record records them.
func (r refusedQuestions) record(a *api, c echo.Context) {
	if a.Auditor == nil || len(r) == 0 {
		return
	}
	now := stamp(a.Now())
	for i := range r {
		r[i].Input.Time = now
	}
	a.Auditor.Refused(a.asking(c), r...)
}

// notTheirs records one question if err says that it was not the sender's to ask.
func (a *api) notTheirs(c echo.Context, input decision.Input, err error) {
	var r refusedQuestions
	r.add(input, err)
	r.record(a, c)
}
