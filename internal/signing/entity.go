package signing

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/westworld-charter/charter/internal/release"
)

// maxVouchers bounds log entries, and timestamps, of one bundle: each costs a signature
// to verify, and whoever may attach a bundle can put any number in it.
const maxVouchers = 8

// entity is a Sigstore bundle that has the form of one; nothing in it is verified.
type entity struct {
	bundle      *bundle.Bundle
	payload     []byte
	statement   release.Statement
	hint        string // of the key; when there is no certificate
	certificate *leaf
}

// leaf is the certificate about the key of an identity.
type leaf struct {
	*x509.Certificate
	summary certificate.Summary
}

func (l *leaf) identity() string {
	return fmt.Sprintf("%s of %s", clip(l.summary.SubjectAlternativeName), clip(l.summary.Issuer))
}

// open reads a Sigstore bundle from an untrusted source.
func open(data []byte) (entity, *Error) {
	bad := func(format string, args ...any) (entity, *Error) {
		return entity{}, newError(CodeMalformed, "Sigstore bundle: "+format, args...)
	}
	if len(data) > MaxBundle {
		return bad("more than %d bytes", MaxBundle)
	}
	e := entity{bundle: new(bundle.Bundle)}
	if err := e.bundle.UnmarshalJSON(data); err != nil {
		return bad("%w", err)
	}
	envelope := e.bundle.GetDsseEnvelope()
	switch {
	case envelope == nil:
		return bad("no DSSE envelope, want a statement")
	case envelope.PayloadType != release.PayloadType:
		return bad("payload of type %q, want %s", clip(envelope.PayloadType), release.PayloadType)
	case len(envelope.Signatures) != 1:
		return bad("%d signatures, want one", len(envelope.Signatures))
	}
	material := e.bundle.GetVerificationMaterial()
	if n := max(len(material.GetTlogEntries()), len(material.GetTimestampVerificationData().GetRfc3161Timestamps())); n > maxVouchers {
		return bad("%d log entries or timestamps, want at most %d", n, maxVouchers)
	}
	statement, err := release.ParseStatement(envelope.Payload)
	if err != nil {
		return bad("%w", err)
	}
	e.payload, e.statement = bytes.Clone(envelope.Payload), statement
	content, err := e.bundle.VerificationContent()
	if err != nil {
		return bad("%w", err)
	}
	switch cert := content.Certificate(); {
	case cert != nil:
		if e.certificate, err = newLeaf(cert); err != nil {
			return bad("certificate: %w", err)
		}
	case content.PublicKey() != nil:
		e.hint = content.PublicKey().Hint()
	default:
		return bad("neither a certificate nor a key")
	}
	return e, nil
}

func newLeaf(cert *x509.Certificate) (*leaf, error) {
	summary, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		return nil, err
	}
	if summary.SubjectAlternativeName == "" {
		return nil, errors.New("no subject alternative name")
	}
	// Go does not know names of type otherName; the summary above does.
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, cryptoutils.SANOID.Equal)
	return &leaf{cert, summary}, nil
}
