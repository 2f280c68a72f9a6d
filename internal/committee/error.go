package committee

import "fmt"

// Codes of an [Error]; the list is closed.
const (
	CodeInvalidRequest     = "invalid_request"     // the request or its signatures have not the documented form
	CodeWrongCharter       = "wrong_charter"       // it is for a charter of another name
	CodeExpiredRequest     = "expired_request"     // its time to have effect is over
	CodeExpiresTooLate     = "expires_too_late"    // it would live longer than MaxLife
	CodeUnknownClause      = "unknown_clause"      // the charter has no such clause
	CodeProtectedClause    = "protected_clause"    // no override loosens it
	CodeNotOverridable     = "not_overridable"     // the emergency section of the charter does not permit it
	CodeInvalidSignature   = "invalid_signature"   // not a signature of that address over this request
	CodeDuplicateSignature = "duplicate_signature" // an address signed twice
	CodeNoQuorum           = "no_quorum"           // too little power, or too few people
)

// Codes returns the closed list of codes.
func Codes() []string {
	return []string{
		CodeInvalidRequest, CodeWrongCharter, CodeExpiredRequest, CodeExpiresTooLate, CodeUnknownClause, CodeProtectedClause,
		CodeNotOverridable, CodeInvalidSignature, CodeDuplicateSignature, CodeNoQuorum,
	}
}

// Error says why a request has no effect.
type Error struct {
	Code    string // one of [Codes]
	Message string // for people: where, and how to mend it
}

func (e *Error) Error() string { return e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// wrong is a request of another form than documented.
func wrong(format string, args ...any) error { return refuse(CodeInvalidRequest, format, args...) }
