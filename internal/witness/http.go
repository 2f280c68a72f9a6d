package witness

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/westworld-charter/charter/internal/wire"
)

// Paths below the prefix of a witness; {origin} is the SHA-256 of an origin in
// lower-case hexadecimal.
const (
	addPath        = "add-checkpoint"
	checkpointPath = "/checkpoint"
)

// sizeType is the media type of a size (C2SP tlog-witness).
const sizeType = "text/x.tlog.size"

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
	body, err := wire.Body(w, r, maxRequest)
	var lines []byte
	if err == nil {
		lines, err = s.Add(r.Context(), body)
	}
	s.answer(w, lines, err)
}

func (s *Server) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	signed, err := s.Checkpoint(r.PathValue("origin"))
	s.answer(w, signed, err)
}

func (s *Server) answer(w http.ResponseWriter, text []byte, err error) {
	if err == nil {
		wire.Send(w, http.StatusOK, wire.TypeText, wire.NoStore, text)
	} else if size, ok := errors.AsType[*SizeError](err); ok {
		wire.Send(w, http.StatusConflict, sizeType, wire.NoStore, append(strconv.AppendUint(nil, size.Size, 10), '\n'))
	} else {
		wire.Refuse(w, s.Log, wire.From(err, refusal))
	}
}

// Codes of errors, beside those of package wire; docs/api.md lists them all.
const (
	codeUnknownLog   = "unknown_log"
	codeBadSignature = "bad_signature"
	codeInconsistent = "inconsistent_checkpoint"
)

func refusal(err error) *wire.Error {
	e := &wire.Error{Message: err.Error()}
	switch {
	case errors.Is(err, ErrMalformed):
		e.Code, e.Status = wire.CodeInvalidRequest, http.StatusBadRequest
	case errors.Is(err, ErrUnknownLog):
		e.Code, e.Status = codeUnknownLog, http.StatusNotFound
	case errors.Is(err, ErrBadSignature):
		e.Code, e.Status = codeBadSignature, http.StatusForbidden
	case errors.Is(err, ErrInconsistent):
		e.Code, e.Status = codeInconsistent, http.StatusUnprocessableEntity
	case errors.Is(err, ErrTooMany):
		e.Code, e.Status = wire.CodeTooMany, http.StatusTooManyRequests
	default:
		return nil
	}
	return e
}
