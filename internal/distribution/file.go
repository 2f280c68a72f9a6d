package distribution

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/westworld-charter/charter/internal/release"
)

// writeArchive writes an archive with its statements beside it, which come first: an
// archive that is seen has them.
func writeArchive(ref Ref, r Release, lim Limits) (Result, error) {
	result := Result{Digest: r.Manifest.Digest()}
	rebuilt, err := manifestOf(r.Layer)
	if err != nil {
		return result, fail(ref.location, err)
	}
	if rebuilt.Digest() != r.Manifest.Digest() {
		return result, &Error{CodeUnsupported, ref.location, errors.New("the manifest was not made by charter-admin and would be lost beside an archive: use an OCI image layout")}
	}
	var statements statementList
	for _, s := range r.Statements {
		line, err := compact(s, lim)
		if err != nil {
			return result, fail(ref.location, err)
		}
		statements.add(line)
	}
	have, err := readFile(ref.location, lim.Layer)
	same := err == nil && release.Digest(have) == r.Manifest.Layer.Digest
	there, err := readStatementsFile(StatementsPath(ref.location), lim)
	if err != nil || !same {
		there = nil // about something else
	}
	for _, s := range there {
		statements.add(s)
	}
	result.Attached = len(statements) - len(there)
	if !same || result.Attached > 0 {
		if err := writeStatements(StatementsPath(ref.location), statements); err != nil {
			return result, fail(ref.location, err)
		}
	}
	if same {
		return result, nil
	}
	result.Uploaded = int64(len(r.Layer))
	return result, fail(ref.location, replaceFile(ref.location, r.Layer))
}

// writeStatements replaces the file beside an archive, which is not there without
// statements.
func writeStatements(path string, statements [][]byte) error {
	if len(statements) > 0 {
		return replaceFile(path, EncodeStatements(statements))
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// attachFile appends statements to the file beside an archive.
func attachFile(path, digest string, there, more [][]byte, lim Limits) (Result, error) {
	result := Result{Digest: digest}
	all := statementList(there)
	for _, s := range more {
		line, err := compact(s, lim)
		if err != nil {
			return result, fail(path, err)
		}
		all.add(line)
	}
	if result.Attached = len(all) - len(there); result.Attached == 0 {
		return result, nil
	}
	if len(all) > lim.Referrers {
		return result, &Error{CodeTooManyStatements, path, fmt.Errorf("%d statements would be beside the archive, nodes read at most %d", len(all), lim.Referrers)}
	}
	return result, fail(path, replaceFile(StatementsPath(path), EncodeStatements(all)))
}

// replaceFile replaces a file that everybody may read, in one step.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".charter-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
