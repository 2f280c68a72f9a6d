package distribution

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"unicode"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Codes of an [Error]; the list is closed, [Codes] returns it.
const (
	CodeBadArchive              = "bad_archive"               // not a readable archive with a .manifest
	CodeBadLayout               = "bad_layout"                // not a readable OCI image layout
	CodeBadManifest             = "bad_manifest"              // not the manifest of a release
	CodeBadReference            = "bad_reference"             // a reference that says nothing, or not enough
	CodeBadResponse             = "bad_response"              // a server answers what the protocol does not allow
	CodeBadStatements           = "bad_statements"            // a statements file that is not JSON
	CodeCanceled                = "canceled"                  // the caller gave up
	CodeInsecureTransport       = "insecure_transport"        // plain HTTP beyond this machine
	CodeIO                      = "io"                        // the file system says no
	CodeLayerDigestMismatch     = "layer_digest_mismatch"     // the layer is not the one that the manifest names
	CodeManifestDigestMismatch  = "manifest_digest_mismatch"  // the manifest is not the one that was asked for
	CodeNotFound                = "not_found"                 // no such repository, tag, digest or file
	CodeStatementDigestMismatch = "statement_digest_mismatch" // a statement is not the one that is listed
	CodeTooLarge                = "too_large"                 // a limit in bytes is exceeded
	CodeTooManyReferrers        = "too_many_referrers"        // more refers to a release than is looked at
	CodeTooManyStatements       = "too_many_statements"       // a statements file with more than is looked at
	CodeUnauthorized            = "unauthorized"              // no credentials, or not sufficient ones
	CodeUnreachable             = "unreachable"               // no answer, or none in time, or a server in trouble
	CodeUnsupported             = "unsupported"               // what this kind of reference cannot do
)

// Codes returns the codes of an [Error], sorted.
func Codes() []string {
	return []string{
		CodeBadArchive, CodeBadLayout, CodeBadManifest, CodeBadReference, CodeBadResponse, CodeBadStatements, CodeCanceled,
		CodeInsecureTransport, CodeIO, CodeLayerDigestMismatch, CodeManifestDigestMismatch, CodeNotFound, CodeStatementDigestMismatch,
		CodeTooLarge, CodeTooManyReferrers, CodeTooManyStatements, CodeUnauthorized, CodeUnreachable, CodeUnsupported,
	}
}

// Error says what could not be moved, and why. Where is a reference, a URL or a file.
type Error struct {
	Code  string
	Where string
	Err   error
}

// Error returns the text on one line: what servers say is in it.
func (e *Error) Error() string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, e.Err.Error())
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return e.Where + ": " + text + " [" + e.Code + "]"
}

// maxText bounds the text of an error in bytes.
const maxText = 2000

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// codedError has a code and no place yet.
type codedError struct {
	code string
	error
}

func (e *codedError) Unwrap() error { return e.error }

func coded(code string, err error) error { return &codedError{code, err} }

// fail makes an [*Error] of err, unless it is one. It is nil for nil.
func fail(where string, err error) error {
	if _, done := errors.AsType[*Error](err); err == nil || done {
		return err
	}
	return &Error{codeOf(err), where, err}
}

// codeOf returns the code of an error, or the one that fits when it has none.
func codeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*codedError](err); ok {
		return e.code
	}
	answer, answered := errors.AsType[*errcode.ErrorResponse](err)
	switch {
	case errors.Is(err, errStalled), errors.Is(err, context.DeadlineExceeded):
		return CodeUnreachable
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	case answered:
		return codeOfStatus(answer.StatusCode)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return CodeUnauthorized
	case errors.Is(err, errdef.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return CodeNotFound
	case errors.Is(err, errdef.ErrTooManyPages):
		return CodeTooManyReferrers
	case errors.Is(err, errdef.ErrSizeExceedsLimit):
		return CodeTooLarge
	case isFile(err):
		return CodeIO
	case isNetwork(err):
		return CodeUnreachable
	}
	return CodeBadResponse
}

func codeOfStatus(status int) string {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return CodeUnauthorized
	case status == http.StatusNotFound, status == http.StatusGone:
		return CodeNotFound
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return CodeUnreachable
	}
	return CodeBadResponse
}

func isFile(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	return path || link
}

func isNetwork(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.ErrUnexpectedEOF)
}
