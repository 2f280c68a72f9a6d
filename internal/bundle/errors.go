package bundle

import (
	"errors"
	"fmt"
)

// Codes of an [Error]; the list is closed.
const (
	CodeBadArchive      = "bad_archive"      // not a readable .tar.gz
	CodeBadEntry        = "bad_entry"        // a link, device, directory or foreign tar format
	CodeBadManifest     = "bad_manifest"     // not JSON, or a field that is unknown or wrong
	CodeBadPath         = "bad_path"         // absolute, escaping, not canonical or too long
	CodeBadRoots        = "bad_roots"        // roots other than exactly ["charter"], or of a state bundle ["charter_state"]
	CodeBadState        = "bad_state"        // the document or the proofs of a state bundle cannot be read
	CodeDuplicatePath   = "duplicate_path"   // two files at one place, also where case does not count
	CodeIO              = "io"               // the file system said no
	CodeJWTBundle       = "jwt_bundle"       // carries an OPA signature: another artifact
	CodeMissingManifest = "missing_manifest" // no .manifest
	CodeNotABundle      = "not_a_bundle"     // the directory to write into holds something else
	CodeTooLarge        = "too_large"        // a limit is exceeded
	CodeTrailingData    = "trailing_data"    // bytes behind the end of the archive
	CodeUnexpectedFile  = "unexpected_file"  // a file that no charter bundle has
)

// Error says why something is not a usable bundle. Path is the file inside the
// bundle, or empty when the bundle as a whole is meant.
type Error struct {
	Code string
	Path string
	Err  error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("bundle: %v [%s]", e.Err, e.Code)
	}
	return fmt.Sprintf("bundle: %s: %v [%s]", e.Path, e.Err, e.Code)
}

func (e *Error) Unwrap() error { return e.Err }

func newError(code, path, format string, args ...any) *Error {
	return &Error{Code: code, Path: path, Err: fmt.Errorf(format, args...)}
}

// coded keeps an Error as it is and gives any other error the code.
func coded(err error, code, path string) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: code, Path: path, Err: err}
}
