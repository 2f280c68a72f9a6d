package bundle

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
)

// Limits bound what [Read] accepts. Zero fields take the value of
// [DefaultLimits].
type Limits struct {
	Compressed int64 // bytes of the archive
	Unpacked   int64 // bytes after decompression, tar headers included
	Files      int
}

// DefaultLimits hold a charter of several hundred thousand metrics.
func DefaultLimits() Limits {
	return Limits{Compressed: 64 << 20, Unpacked: 512 << 20, Files: 1000}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Compressed > 0 {
		d.Compressed = l.Compressed
	}
	if l.Unpacked > 0 {
		d.Unpacked = l.Unpacked
	}
	if l.Files > 0 {
		d.Files = l.Files
	}
	return d
}

// Read reads a .tar.gz from an untrusted source. It fails with an [*Error] for
// anything that [Bundle.WriteTar] would not have written and that could mean
// something else to another reader, and stops at the limits whatever the
// archive claims about itself. r is read to its end.
func Read(r io.Reader, lim Limits) (*Bundle, error) {
	files, err := readArchive(r, lim, checkPath)
	if err != nil {
		return nil, err
	}
	return take(files)
}

// readArchive returns the files of an archive whose paths pass a check.
func readArchive(r io.Reader, lim Limits, check func(path string) error) (map[string][]byte, error) {
	lim = lim.orDefault()
	packed := bufio.NewReader(&limited{r: r, left: lim.Compressed, what: "compressed"})
	z, err := decompressor(packed)
	if err != nil {
		return nil, coded(err, CodeBadArchive, "")
	}
	unpacked := &limited{r: z, left: lim.Unpacked, what: "unpacked"}
	files, err := readEntries(tar.NewReader(unpacked), lim, check)
	if err != nil {
		return nil, err
	}
	// To the end of the member, which also verifies its checksum, and of the file.
	if err := padding(unpacked); err != nil {
		return nil, err
	}
	if _, err := packed.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, coded(err, CodeBadArchive, "")
		}
		return nil, newError(CodeTrailingData, "", "bytes behind the end of the archive")
	}
	return files, nil
}

func readEntries(t *tar.Reader, lim Limits, check func(path string) error) (map[string][]byte, error) {
	files := map[string][]byte{}
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, coded(err, CodeBadArchive, "")
		}
		if err := checkEntry(header, files, lim, check); err != nil {
			return nil, err
		}
		data, err := readFile(t, header.Size)
		if err != nil {
			return nil, coded(err, CodeBadArchive, header.Name)
		}
		files[header.Name] = data
	}
}

// readFile reads a file of the size that its header claims. Room is made for a few
// times what has arrived, so that a claim alone takes no memory.
func readFile(r io.Reader, size int64) ([]byte, error) {
	const first, factor = 64 << 10, 4
	data := make([]byte, 0, min(size, first))
	for {
		n, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err != nil || int64(len(data)) == size {
			return data, err
		}
		data = append(make([]byte, 0, min(size, factor*int64(len(data)))), data...)
	}
}

func checkEntry(h *tar.Header, files map[string][]byte, lim Limits, check func(path string) error) error {
	// Only USTAR: its entries hold as many bytes as the archive does. The GNU and
	// PAX formats have sparse files, which expand to any size from nothing.
	if h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
		return newError(CodeBadEntry, clip(h.Name), "only regular files in USTAR format are allowed")
	}
	if err := check(h.Name); err != nil {
		return err
	}
	if _, twice := files[h.Name]; twice {
		return newError(CodeDuplicatePath, h.Name, "is in the archive twice")
	}
	if len(files) >= lim.Files {
		return newError(CodeTooLarge, h.Name, "more than %d files", lim.Files)
	}
	return nil
}

// padding reads to the end and accepts zeros only.
func padding(r io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return newError(CodeTrailingData, "", "data behind the end of the tar archive")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return coded(err, CodeBadArchive, "")
		}
	}
}

// limited fails, where io.LimitReader would end, at the byte after the last
// allowed one.
type limited struct {
	r    io.Reader
	left int64
	what string
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		return 0, newError(CodeTooLarge, "", "more than the allowed %s bytes", l.what)
	}
	l.left -= int64(n)
	return n, err
}
