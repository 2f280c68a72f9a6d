package signing

import (
	"github.com/westworld-charter/charter/internal/release"
)

// Unverified is what a Sigstore bundle claims. Nothing in it is verified: it is for
// people to look at, and to see what is signed already.
type Unverified struct {
	Statement release.Statement
	Payload   []byte

	KeyHint  string // of the key, see [Key.Hint]; "" when an identity signed
	Issuer   string // that says who signed; "" when a key did
	Identity string // who signed

	LogEntries int
	Timestamps int // RFC 3161
}

// Describe reads what a Sigstore bundle claims. It fails with an [*Error] of
// [CodeMalformed].
func Describe(bundle []byte) (Unverified, error) {
	e, err := open(bundle)
	if err != nil {
		return Unverified{}, err
	}
	u := Unverified{Statement: e.statement, Payload: e.payload, KeyHint: e.hint}
	if e.certificate != nil {
		u.Issuer, u.Identity = e.certificate.summary.Issuer, e.certificate.summary.SubjectAlternativeName
	}
	u.LogEntries = len(e.bundle.GetVerificationMaterial().GetTlogEntries())
	u.Timestamps = len(e.bundle.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps())
	return u, nil
}
