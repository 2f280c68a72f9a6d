package decisionapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// ndjson is the media type of JSON values that stand on a line each.
const ndjson = "application/x-ndjson"

// lineByLine reports whether a batch comes as a stream.
func lineByLine(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (media == ndjson || media == "application/ndjson")
}

// stream answers one question after another, each on a line, as they arrive.
// Memory does not grow with the number of lines. Unlike the items of a batch
// each question is decided at its own time by the policy of that time, since a
// stream may last longer than a grant.
type stream struct {
	api    *api
	c      echo.Context
	net    *http.ResponseController
	in     *bufio.Reader
	out    *bufio.Writer
	common base
	tally  tally
	// asked says that the question which admit paid for was asked.
	asked bool
}

// streamBuffer is that of the answers in bytes.
const streamBuffer = 16 << 10

func (a *api) stream(c echo.Context) error {
	if err := checkEncoding(c.Request().Header); err != nil {
		return err
	}
	if err := leaseOf(c).take(a.MaxCheckBody + streamBuffer); err != nil {
		return err
	}
	w := c.Response()
	s := &stream{
		api: a, c: c, common: commonOf(c), net: http.NewResponseController(w),
		in: bufio.NewReaderSize(c.Request().Body, int(a.MaxCheckBody)+2), out: bufio.NewWriterSize(w, streamBuffer),
	}
	// Answers go out while questions come in. HTTP/2 always can.
	if err := s.net.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return internal(err)
	}
	if c.Request().ProtoMajor == 1 {
		// net/http would take the rest of a stream that ends early for the next
		// request.
		w.Header().Set("Connection", "close")
	}
	defer func() { recordOf(c).tally = &s.tally }()
	return s.run()
}

// run answers until the lines end. Its error is one that came before the first
// byte of an answer; later ones are the last line of the answer.
func (s *stream) run() error {
	first, err := s.line()
	if err == nil {
		first, err = s.preamble(first)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLineTooLong) {
		return s.refuse(err)
	}
	h := s.c.Response().Header()
	h.Set("Content-Type", ndjson)
	h.Set("Cache-Control", "no-store")
	s.c.Response().WriteHeader(http.StatusOK)
	for line := first; ; line, err = s.line() {
		switch {
		case errors.Is(err, io.EOF):
			return s.flush()
		case errors.Is(err, errLineTooLong):
			s.fail(lineTooLong(s.api.MaxCheckBody))
		case err != nil:
			s.fail(faultOf(wire.Unreadable(err)))
			return s.flush()
		case len(line) > 0:
			if fault := s.afford(); fault != nil {
				s.fail(fault)
				return s.flush()
			}
			s.answer(line)
		}
		if err := s.settle(); err != nil {
			return nil //nolint:nilerr // the client has gone; there is nobody to tell
		}
	}
}

// rest is the least time that a stream waits for its budget, so that it goes on
// with some questions at once instead of waking up for each.
const rest = 10 * time.Millisecond

// afford takes the next question from the budget of the sender. A stream that is
// faster than its budget is slowed down: it is read later, and the client finds
// that it cannot write. Only a budget that stays overdrawn for StreamIdle ends it.
func (s *stream) afford() *wire.Error {
	limit, id := s.api.Access.Limit, identityOf(s.c)
	if first := !s.asked; limit == nil || first {
		s.asked = true
		return nil
	}
	for waited := time.Duration(0); ; {
		wait := limit.Admit(id)
		if wait <= 0 {
			return nil
		}
		if waited += max(wait, rest); waited > s.api.StreamIdle {
			return faultOf(limited(id, wait))
		}
		if s.flush() != nil {
			return nil // the client has gone, as the next answer will find out
		}
		select {
		case <-time.After(max(wait, rest)):
		case <-s.c.Request().Context().Done():
			return nil
		}
	}
}

// errLineTooLong marks a line that was skipped.
var errLineTooLong = errors.New("line too long")

func lineTooLong(limit int64) *wire.Error {
	return &wire.Error{
		Status: http.StatusRequestEntityTooLarge, Code: wire.CodeBodyTooLarge, Errors: []wire.Problem{},
		Message: fmt.Sprintf("the line is longer than %d bytes", limit),
	}
}

// line returns the next line without white space around it, valid until the
// next call. A line that is too long is skipped in full.
func (s *stream) line() ([]byte, error) {
	s.patience()
	line, err := s.in.ReadSlice('\n')
	tooLong := false
	for errors.Is(err, bufio.ErrBufferFull) {
		tooLong = true
		_, err = s.in.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) && (len(line) > 0 || tooLong) {
		err = nil // the last line needs no newline
	}
	switch {
	case err != nil:
		return nil, err
	case tooLong || int64(len(bytes.TrimRight(line, "\r\n"))) > s.api.MaxCheckBody:
		return nil, errLineTooLong
	default:
		return bytes.TrimSpace(line), nil
	}
}

// patience gives the client StreamIdle to send the next line. Connections
// without deadlines, such as those of some tests, have nothing to extend.
func (s *stream) patience() {
	if !s.waiting() {
		_ = s.net.SetReadDeadline(time.Now().Add(s.api.StreamIdle))
	}
}

// waiting reports whether a whole line has arrived that was not read yet.
func (s *stream) waiting() bool {
	arrived, _ := s.in.Peek(s.in.Buffered()) // cannot fail: this much is there
	return bytes.IndexByte(arrived, '\n') >= 0
}

// preamble takes the first line if it is {"common": {…}}, and returns it
// otherwise. Everything after a preamble that is not understood would be read
// wrongly: its error is that of the request.
func (s *stream) preamble(line []byte) ([]byte, error) {
	c := cursor{text: line}
	is := false
	_ = c.object(func(name string) error {
		is = name == commonKey
		return io.EOF
	})
	if !is {
		return line, nil
	}
	err := members(line, map[string]func(*cursor) error{commonKey: func(c *cursor) error {
		text, err := objectAt(c, commonKey)
		if err != nil {
			return err
		}
		s.common, err = s.common.readBase(text, commonKey)
		return err
	}})
	return nil, err
}

// answer decides the question on a line and writes the result.
func (s *stream) answer(line []byte) {
	it := item{}
	input, err := s.common.question(line)
	if err != nil {
		s.api.notTheirs(s.c, input, err)
		it.fault = s.api.refusal(s.asking(), err, s.api.Reporter.Status().Revision, bare)
	} else {
		it = s.api.decideOne(s.asking(), input, bare)
	}
	s.tally.add(&it)
	s.write(it.result())
}

// asking is the context of the question on the line that is next, which has an id
// of its own if the request has.
func (s *stream) asking() context.Context {
	return s.api.askingPart(s.c, s.tally.items)
}

// fail writes a fault as the result of a line.
func (s *stream) fail(fault *wire.Error) {
	s.tally.add(&item{fault: fault})
	s.write(failed{fault})
}

// write puts v on a line of its own. What the client no longer takes shows when
// the buffer is flushed.
func (s *stream) write(v any) {
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

// settle sends the answers so far unless another question is waiting already.
func (s *stream) settle() error {
	if s.waiting() && s.out.Buffered() < s.out.Size()/2 {
		return nil
	}
	return s.flush()
}

// flush gives the client StreamIdle to take the answers so far.
func (s *stream) flush() error {
	_ = s.net.SetWriteDeadline(time.Now().Add(s.api.StreamIdle)) // see patience
	if err := s.out.Flush(); err != nil {
		return err
	}
	if err := s.net.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// refuse answers a stream of which not even the first line was understood.
func (s *stream) refuse(err error) error {
	_ = s.net.SetWriteDeadline(time.Now().Add(s.api.StreamIdle)) // see patience
	var field *decision.FieldError
	if errors.As(err, &field) {
		return s.api.refuse(s.c, err, wrapper)
	}
	return wire.Unreadable(err)
}
