package activation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// Codes of this package. Those of signing, distribution, release, bundle and engine
// pass through; [Codes] lists all.
const (
	CodeManifestMismatch = "manifest_digest_mismatch" // the manifest is not the one that the digest names
	CodeLayerMismatch    = "layer_digest_mismatch"    // the archive is not the one that the manifest names
	CodeMissingStatement = "missing_statement"        // no release statement
	CodeWrongChannel     = "wrong_channel"            // released, but to another channel
	CodeExpired          = "release_expired"          // the release statement has expired
	CodeOlderSequence    = "older_sequence"           // valid, but older than what was in force
	CodeSequenceReused   = "sequence_reused"          // one sequence was given to two releases
	CodeReferrersDropped = "referrers_dropped"        // the release in force, with fewer statements than it had
	CodeRevisionMismatch = "revision_mismatch"        // the release statement names another revision than the bundle
	CodeCharterMismatch  = "charter_digest_mismatch"  // the release statement names another charter than the bundle's
	CodeNotReproducible  = "not_reproducible"         // the bundle is not what its charter compiles to
	CodeSelfTest         = "self_test_failed"         // the policy loads, but does not answer as its charter says
	CodeActivateFailed   = "activate_failed"          // the release is valid, but could not be put in force
	CodeStoreFailed      = "store_failed"             // the disk cannot be written
	CodeOlderOnDisk      = "older_on_disk"            // what is on disk is authentic, but older than what was in force
	CodeDiskTampered     = "disk_tampered"            // bytes on disk are not those that were stored
	CodeDiskIncomplete   = "disk_incomplete"          // a file on disk is gone
	CodeMarkLost         = "mark_lost"                // the file with the high-water mark is gone or damaged
	CodeInternal         = "internal_error"           // nothing that has a code
)

// Error says why something is not put in force.
type Error struct {
	Code string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() + " [" + e.Code + "]" }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failf(code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// CodeOf returns the code of an error of this package, [CodeInternal] for one that has
// none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*signing.Error](err); ok {
		return string(e.Code)
	}
	if e, ok := errors.AsType[*distribution.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*release.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*bundle.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Codes returns every code that an [Event] or a [Problem] can have, sorted.
func Codes() []string {
	codes := slices.Concat(ownCodes(), []string{
		release.CodeBadManifest, release.CodeBadStatement,
		bundle.CodeBadArchive, bundle.CodeBadEntry, bundle.CodeBadManifest, bundle.CodeBadPath, bundle.CodeBadRoots, bundle.CodeDuplicatePath,
		bundle.CodeJWTBundle, bundle.CodeMissingManifest, bundle.CodeTooLarge, bundle.CodeTrailingData, bundle.CodeUnexpectedFile,
		engine.CodeMissingFile, engine.CodeBadCharter, engine.CodeRevisionMismatch, engine.CodeBadData, engine.CodeBadState, engine.CodeBadPackage,
		engine.CodeBadRego, engine.CodeNoEntrypoint,
	}, stateCodes(), distribution.Codes())
	for _, c := range signing.Codes() {
		codes = append(codes, string(c))
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// ended tells the end of ctx from a failure.
func ended(ctx context.Context) bool { return ctx.Err() != nil }

func ownCodes() []string {
	return []string{
		CodeManifestMismatch, CodeLayerMismatch, CodeMissingStatement, CodeWrongChannel, CodeExpired, CodeOlderSequence, CodeSequenceReused,
		CodeReferrersDropped, CodeRevisionMismatch, CodeCharterMismatch, CodeNotReproducible, CodeSelfTest, CodeActivateFailed, CodeStoreFailed,
		CodeOlderOnDisk, CodeDiskTampered, CodeDiskIncomplete, CodeMarkLost, CodeInternal,
	}
}
