package app

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// settling is how old a file must be before its size and time of modification
// alone vouch for it: a file that is written twice within the resolution of the
// file system's clock can look the same both times.
const settling = 3 * time.Second

// stamp tells two states of a file or directory apart. A path that is not there
// or cannot be read has a stamp, too, so that its return is noticed.
type stamp struct {
	shape  [sha256.Size]byte // of names, sizes and times of modification
	sum    [sha256.Size]byte // of names and contents
	newest time.Time         // the latest modification; zero when nothing is there
}

// look takes the stamp of path. It reads contents only when the shape differs
// from the previous one or is too young to vouch for them.
func look(path string, previous stamp, now time.Time) stamp {
	var next stamp
	next.shape, next.newest = shapeOf(path)
	if next.shape == previous.shape && next.newest.Before(now.Add(-settling)) {
		next.sum = previous.sum
		return next
	}
	next.sum = sumOf(path)
	return next
}

// shapeOf digests what a directory listing tells of everything below path.
func shapeOf(path string) (digest [sha256.Size]byte, newest time.Time) {
	h := sha256.New()
	visit(path, func(name string, info fs.FileInfo, err error) {
		if err != nil {
			_, _ = fmt.Fprintf(h, "%q unreadable\n", name)
			return
		}
		_, _ = fmt.Fprintf(h, "%q %v %d %d\n", name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	})
	return [sha256.Size]byte(h.Sum(nil)), newest
}

// sumOf digests the contents of everything below path.
func sumOf(path string) [sha256.Size]byte {
	h := sha256.New()
	visit(path, func(name string, info fs.FileInfo, err error) {
		if err != nil || !info.Mode().IsRegular() {
			_, _ = fmt.Fprintf(h, "%q none\n", name)
			return
		}
		one, length, err := fileSum(filepath.Join(path, name))
		_, _ = fmt.Fprintf(h, "%q %v\n", name, err == nil)
		_ = binary.Write(h, binary.BigEndian, length)
		_, _ = h.Write(one)
	})
	return [sha256.Size]byte(h.Sum(nil))
}

func fileSum(path string) (digest []byte, length int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	length, err = io.Copy(h, f)
	return h.Sum(nil), length, err
}

// visit calls do for path, which is followed when it is a link, and when it is
// a directory for everything below it in lexical order. Names are relative.
func visit(path string, do func(name string, info fs.FileInfo, err error)) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		do("", info, err)
		return
	}
	_ = fs.WalkDir(os.DirFS(path), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			do(name, nil, err)
			return nil
		}
		info, err := entry.Info()
		do(name, info, err)
		return nil
	}) // do takes every error
}

// stamps are the files that something was made from, as they were just before
// they were read.
type stamps map[string]stamp

// note takes the stamp of a path that is about to be read. A change in between
// is not lost: the stamp is then older than what was read, and the next look
// finds a difference.
func (s stamps) note(path string) {
	if path != "" {
		s[path] = look(path, s[path], time.Now())
	}
}

// again looks at the same paths.
func (s stamps) again(now time.Time) stamps {
	next := make(stamps, len(s))
	for path, old := range s {
		next[path] = look(path, old, now)
	}
	return next
}

// same reports whether the contents are equal.
func (s stamps) same(other stamps) bool {
	return maps.EqualFunc(s, other, func(a, b stamp) bool { return a.sum == b.sum })
}
