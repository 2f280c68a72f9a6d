package distribution

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// maxLayoutEntries bounds the files in a packed layout.
const maxLayoutEntries = 20_000

// layoutFiles are the files of an OCI image layout: slash-separated paths as in the
// specification. What is missing is [fs.ErrNotExist].
type layoutFiles interface {
	read(path string, limit int64, moved func(int)) ([]byte, error)
	close() error
}

// dirFiles is a layout in a directory; nothing outside of it can be reached.
type dirFiles struct{ root *os.Root }

func openDir(dir string) (layoutFiles, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (a registry is written oci://%s)", err, dir)
	}
	return dirFiles{root}, err
}

func (d dirFiles) read(path string, limit int64, moved func(int)) ([]byte, error) {
	f, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit, moved)
}

func (d dirFiles) close() error { return d.root.Close() }

// tarFiles is a packed layout: where its files are in it.
type tarFiles struct {
	at     map[string]*io.SectionReader
	closer io.Closer
}

func openTar(path string, lim Limits) (layoutFiles, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	files, err := indexTar(f, info.Size(), lim)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	files.closer = f
	return files, nil
}

// indexTar finds the files in a tar archive from an untrusted source.
func indexTar(r io.ReaderAt, size int64, lim Limits) (*tarFiles, error) {
	if size > lim.Layout {
		return nil, coded(CodeTooLarge, fmt.Errorf("a layout of %d bytes, at most %d are read", size, lim.Layout))
	}
	all := io.NewSectionReader(r, 0, size)
	files := &tarFiles{at: map[string]*io.SectionReader{}, closer: io.NopCloser(nil)}
	for t := tar.NewReader(all); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, coded(CodeBadLayout, fmt.Errorf("read the tar archive: %w", err))
		}
		if header.Typeflag != tar.TypeReg {
			continue // directories; links lead nowhere
		}
		name := path.Clean(header.Name)
		if _, twice := files.at[name]; twice || len(files.at) >= maxLayoutEntries {
			return nil, coded(CodeBadLayout, fmt.Errorf("%.100q is in the archive twice, or is more than file %d", name, maxLayoutEntries))
		}
		// The reader stands at the content: it reads headers in whole blocks.
		offset, err := all.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		files.at[name] = io.NewSectionReader(r, offset, min(header.Size, size-offset))
	}
}

func (t *tarFiles) read(path string, limit int64, moved func(int)) ([]byte, error) {
	section, ok := t.at[path]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return readAll(io.NewSectionReader(section, 0, section.Size()), limit, moved)
}

func (t *tarFiles) close() error { return t.closer.Close() }
