package decisionapi

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// decompress lets handlers read a compressed body as if it were not. Nothing is
// decompressed before a handler reads, so before it is known who asks, and the
// limits of handlers hold for what they read, so a small body that decompresses to
// a huge one is refused like a huge one.
func (a *api) decompress(c echo.Context) error {
	r := c.Request()
	if !strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		return nil // other codings are refused where a body is read
	}
	limit := a.limitOf(c)
	if limit == math.MaxInt64 {
		return wire.Unsupported("a stream cannot be compressed, send the lines as they are")
	}
	// What a body decompresses to bounds its length only from below: it can
	// consist of empty parts without end.
	r.Body = &decompressed{source: http.MaxBytesReader(c.Response().Writer, r.Body, limit)}
	r.ContentLength = -1
	r.Header.Del("Content-Encoding")
	return nil
}

// decompressed is a gzip body (RFC 1952). It begins to read when it is read.
type decompressed struct {
	source io.ReadCloser
	reader *gzip.Reader // nil before the first read
}

// Read fails with what goes to the sender when the body is not gzip.
func (d *decompressed) Read(p []byte) (int, error) {
	if d.reader == nil {
		var err error
		if d.reader, err = gzip.NewReader(d.source); err != nil {
			d.reader = nil
			return 0, notGzip(err)
		}
	}
	n, err := d.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = notGzip(err)
	}
	return n, err
}

// Close closes the compressed body.
func (d *decompressed) Close() error { return d.source.Close() }

// notGzip words what is wrong with the compression; other errors pass.
func notGzip(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &corrupt):
		return &wire.Error{
			Status: http.StatusBadRequest, Code: decision.InvalidRequest, Cause: err,
			Message: "the body is not gzip, as its Content-Encoding says, or it is damaged",
		}
	default:
		return err
	}
}
