package bundle

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// temporary is the suffix of files that are being written; an interrupted write
// may leave one behind.
const temporary = ".charter-tmp"

// WriteDir makes dir hold exactly the files of the bundle. Files with the right
// content are not touched, every other one is replaced in one step, and files
// of an earlier bundle are removed. A directory that holds anything but a
// charter bundle is left alone and refused with not_a_bundle or
// unexpected_file. Other processes may see a mixture while it runs: what
// engines load is an archive.
func (b *Bundle) WriteDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &Error{Code: CodeIO, Err: err}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &Error{Code: CodeIO, Err: err}
	}
	defer root.Close()
	old, err := inspect(root)
	if err != nil {
		return err
	}
	for _, p := range old {
		if _, keep := b.files[p]; keep {
			continue
		}
		if err := removeFile(root, p); err != nil {
			return &Error{Code: CodeIO, Path: p, Err: err}
		}
	}
	// The manifest first, so that an interrupted write still leaves a bundle.
	for _, p := range append([]string{ManifestFile}, b.paths...) {
		if err := writeFile(root, p, b.files[p]); err != nil {
			return &Error{Code: CodeIO, Path: p, Err: err}
		}
	}
	return nil
}

// inspect lists the files below root and fails when they are not those of a
// bundle, before anything is changed.
func inspect(root *os.Root) ([]string, error) {
	var old []string
	foreign := ""
	err := eachFile(root, func(path string) error {
		old = append(old, path)
		if foreign == "" && !strings.HasSuffix(path, temporary) && checkPath(path) != nil {
			foreign = path
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	leftovers := !slices.ContainsFunc(old, func(p string) bool { return !strings.HasSuffix(p, temporary) })
	if leftovers {
		return old, nil
	}
	manifest, err := readLimited(root, ManifestFile, 1<<20)
	if err == nil {
		_, err = parseManifest(manifest)
	}
	switch {
	case err != nil:
		return nil, newError(CodeNotABundle, "", "the directory is not empty and holds no charter bundle: %w", err)
	case foreign != "":
		return nil, newError(CodeUnexpectedFile, foreign, "the directory holds a file that is not part of a bundle")
	default:
		return old, nil
	}
}

func writeFile(root *os.Root, name string, data []byte) error {
	current, err := root.ReadFile(name)
	if err == nil && bytes.Equal(current, data) {
		return nil
	}
	if err != nil && !missing(err) {
		return err
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.WriteFile(name+temporary, data, 0o644); err != nil {
		return err
	}
	return root.Rename(name+temporary, name)
}

// removeFile removes a file and the directories it leaves empty.
func removeFile(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !missing(err) {
		return err
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil || len(entries) > 0 {
			return nil //nolint:nilerr // a directory that stays is no loss
		}
		if err := root.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}
