package opaapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/wire"
)

// explained is the part of an answer that can be too long to be encoded before
// it is sent.
type explained struct{ explanation *engine.Explanation }

func (e explained) trace() *engine.Explanation { return e.explanation }

// respond sends v as JSON. Everything but an explanation is encoded before the
// first byte is sent, so that an answer is whole or an error. When an explanation
// cannot be encoded half-way, the connection is cut.
func respond(w http.ResponseWriter, status int, v any, pretty bool) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if pretty {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"code":"` + wire.CodeInternal + `","message":"the answer cannot be encoded","errors":[]}` + "\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	e, ok := v.(interface{ trace() *engine.Explanation })
	if !ok || e.trace() == nil || status != http.StatusOK {
		h.Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(status)
		_, _ = w.Write(body.Bytes()) // a client that left is no fault
		return
	}
	w.WriteHeader(status)
	if err := stream(w, body.Bytes(), e.trace(), pretty); err != nil {
		panic(http.ErrAbortHandler) // a torn answer must not look complete
	}
}

// stream writes an object with one member more, the explanation.
func stream(w io.Writer, object []byte, e *engine.Explanation, pretty bool) error {
	head := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}")))
	if len(head) > 1 {
		head = append(head, ',')
	}
	if !pretty {
		if _, err := w.Write(append(head, `"explanation":`...)); err != nil {
			return err
		}
		if err := e.WriteJSON(w); err != nil {
			return err
		}
		_, err := io.WriteString(w, "}\n")
		return err
	}
	whole := bytes.NewBuffer(append(head, "\n  \"explanation\": "...))
	var lines bytes.Buffer // of text, which is short
	if err := e.WriteJSON(&lines); err != nil {
		return err
	}
	if err := json.Indent(whole, lines.Bytes(), "  ", "  "); err != nil {
		return err
	}
	whole.WriteString("\n}\n")
	_, err := w.Write(whole.Bytes())
	return err
}
