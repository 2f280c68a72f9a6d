package witness

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
)

// Paths below the prefix of a witness; {origin} is the SHA-256 of an origin in
// lower-case hexadecimal.
const (
	addPath        = "add-checkpoint"
	checkpointPath = "/checkpoint"
)

// sizeType is the media type of a size (C2SP tlog-witness).
const sizeType = "text/x.tlog.size"

const plainType = "text/plain; charset=utf-8"

// Handler serves the witness below "/": POST /add-checkpoint, and GET
// /{origin}/checkpoint. Both are open to everybody, as the protocol has it: a
// request is as good as the signature of the log in it. Statuses are those of
// C2SP tlog-witness; errors but 409 are {"code", "message", "errors"}.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /"+addPath, s.serveAdd)
	mux.HandleFunc("GET /{origin}"+checkpointPath, s.serveCheckpoint)
	return mux
}

func (s *Server) serveAdd(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		refuse(w, err)
		return
	}
	lines, err := s.Add(r.Context(), body)
	if err != nil {
		if f := faultOf(err); f.status >= http.StatusInternalServerError {
			s.Log.Error("checkpoint not cosigned", "error", err)
		}
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, plainType, lines)
}

func (s *Server) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	signed, err := s.Checkpoint(r.PathValue("origin"))
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, plainType, signed)
}

func answer(w http.ResponseWriter, status int, media string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no fault
}

// fault is the body of an error.
type fault struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Errors  []string `json:"errors"` // always empty: there is one problem

	status int
}

// Codes of errors, by which docs/api.md lists them.
const (
	codeInvalidRequest = "invalid_request"
	codeUnknownLog     = "unknown_log"
	codeBadSignature   = "bad_signature"
	codeInconsistent   = "inconsistent_checkpoint"
	codeTooMany        = "too_many_requests"
	codeTooLarge       = "body_too_large"
	codeTimeout        = "request_timeout"
	codeInternal       = "internal_error"
)

func refuse(w http.ResponseWriter, err error) {
	if size, ok := errors.AsType[*SizeError](err); ok {
		answer(w, http.StatusConflict, sizeType, append(strconv.AppendUint(nil, size.Size, 10), '\n'))
		return
	}
	f := faultOf(err)
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(f)
	if err != nil { // texts alone: this does not happen
		body = []byte("{}")
	}
	answer(w, f.status, "application/json", append(body, '\n'))
}

func faultOf(err error) fault {
	f := fault{Errors: []string{}, Message: err.Error()}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case errors.Is(err, ErrMalformed):
		f.Code, f.status = codeInvalidRequest, http.StatusBadRequest
	case errors.Is(err, ErrUnknownLog):
		f.Code, f.status = codeUnknownLog, http.StatusNotFound
	case errors.Is(err, ErrBadSignature):
		f.Code, f.status = codeBadSignature, http.StatusForbidden
	case errors.Is(err, ErrInconsistent):
		f.Code, f.status = codeInconsistent, http.StatusUnprocessableEntity
	case errors.Is(err, ErrTooMany):
		f.Code, f.status = codeTooMany, http.StatusTooManyRequests
	case tooLarge:
		f.Code, f.status = codeTooLarge, http.StatusRequestEntityTooLarge
		f.Message = "the body is larger than " + strconv.Itoa(maxRequest) + " bytes"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF):
		f.Code, f.status = codeTimeout, http.StatusRequestTimeout
		f.Message = "the request did not arrive in time"
	default:
		f.Code, f.status = codeInternal, http.StatusInternalServerError
		f.Message = "internal error; nothing was cosigned"
	}
	return f
}
