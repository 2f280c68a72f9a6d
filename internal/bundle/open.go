package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Open reads a bundle from a directory or a .tar.gz file, within
// [DefaultLimits]. Inside a directory no link is followed and everything that
// is not a bundle's is refused.
func Open(path string) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{Code: CodeIO, Err: err}
	}
	if info.IsDir() {
		return openDir(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Code: CodeIO, Err: err}
	}
	defer f.Close()
	return Read(f, Limits{})
}

func openDir(dir string) (*Bundle, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &Error{Code: CodeIO, Err: err}
	}
	defer root.Close()
	lim := DefaultLimits()
	files := map[string][]byte{}
	err = eachFile(root, func(path string) error {
		if err := checkPath(path); err != nil {
			return err
		}
		if len(files) >= lim.Files {
			return newError(CodeTooLarge, path, "more than %d files", lim.Files)
		}
		data, err := readLimited(root, path, lim.Unpacked)
		lim.Unpacked -= int64(len(data))
		files[path] = data
		return err
	})
	if err != nil {
		return nil, err
	}
	return take(files)
}

// eachFile visits the regular files below root in lexical order and fails at
// anything else but a directory.
func eachFile(root *os.Root, visit func(path string) error) error {
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return &Error{Code: CodeIO, Path: path, Err: err}
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return newError(CodeBadEntry, path, "only regular files are allowed")
		default:
			return visit(path)
		}
	})
}

func readLimited(root *os.Root, path string, limit int64) ([]byte, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, &Error{Code: CodeIO, Path: path, Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(&limited{r: f, left: limit, what: "unpacked"})
	if err != nil {
		return nil, coded(err, CodeIO, path)
	}
	return data, nil
}

// missing reports whether err says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
