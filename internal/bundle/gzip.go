package bundle

import (
	"io"

	"github.com/klauspost/compress/gzip"
)

// compressor is where the bytes of an archive are decided. The package is not
// the standard library's, whose output may change with the Go toolchain: this
// one changes only with go.sum.
func compressor(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.DefaultCompression)
}

// decompressor reads one gzip member and nothing behind it. To leave what
// follows unread, r must be an io.ByteReader.
func decompressor(r io.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return z, nil
}
