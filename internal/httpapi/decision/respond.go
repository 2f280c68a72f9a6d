package decisionapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// respond sends v as JSON with a final newline. The body is encoded before the
// first byte is sent, so an answer is whole or an error.
func respond(c echo.Context, status int, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if pretty(c.Request()) {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if l := leaseOf(c); l != nil {
		l.decided()
		l.answered(body.Cap())
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Cache-Control", "no-store") // a decision holds for one moment only
	c.Response().WriteHeader(status)
	_, err := c.Response().Write(body.Bytes())
	return err
}

// pretty reads OPA's parameter: ?pretty and ?pretty=true indent the answer.
func pretty(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("pretty") && (q.Get("pretty") == "" || q.Get("pretty") == "true")
}
