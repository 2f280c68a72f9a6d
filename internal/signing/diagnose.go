package signing

import (
	"crypto/x509"
	"errors"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// check is how the bundles of one kind of signers, keys or identities, are verified.
type check struct {
	verifier   *verify.Verifier
	logs       int // entries in transparency logs
	timestamps int
	scts       int
}

// diagnose finds the code of a bundle that was not accepted, for the reason failure
// (nil when the library had none). The steps are those of the library; they stand
// in the order of the codes.
func (a *authority) diagnose(e entity, c check, digest string, failure error) *Error {
	if failure == nil {
		failure = errors.New("the library accepts it, we do not")
	}
	if err := a.diagnoseSigner(e); err != nil {
		return err
	}
	times, err := a.diagnoseTime(e, c)
	if err != nil {
		return err
	}
	if err := a.diagnoseCertificate(e, c, times); err != nil {
		return err
	}
	if err := a.diagnoseLog(e, c); err != nil {
		return err
	}
	if e.statement.Subject != digest {
		return newError(CodeSubjectMismatch, "the statement is about %s, not about %s", e.statement.Subject, digest)
	}
	return newError(CodeInvalidSignature, "%w", failure)
}

// diagnoseSigner looks at identity and signature.
func (a *authority) diagnoseSigner(e entity) *Error {
	if e.certificate != nil {
		if err := a.diagnoseIdentity(e.certificate); err != nil {
			return err
		}
	}
	signed, err := e.bundle.SignatureContent()
	if err != nil {
		return newError(CodeMalformed, "%w", err)
	}
	content, err := e.bundle.VerificationContent()
	if err != nil {
		return newError(CodeMalformed, "%w", err)
	}
	if err := verify.VerifySignature(signed, content, a.material); err != nil {
		return newError(CodeInvalidSignature, "%w", err)
	}
	return nil
}

func (a *authority) diagnoseIdentity(l *leaf) *Error {
	issuer := false
	for _, id := range a.identities {
		if id.matcher.Verify(l.summary) == nil {
			return nil
		}
		issuer = issuer || id.matcher.Issuer.Verify(l.summary) == nil
	}
	if !issuer {
		return newError(CodeUntrustedIssuer, "signed by %s: this issuer is not trusted", l.identity())
	}
	return newError(CodeUntrustedIdentity, "signed by %s: this identity is not trusted", l.identity())
}

// diagnoseTime looks at timestamps and returns those that count.
func (a *authority) diagnoseTime(e entity, c check) ([]time.Time, *Error) {
	if c.timestamps == 0 {
		return nil, nil
	}
	stamps, failures, err := verify.VerifySignedTimestamp(e.bundle, a.material)
	if err != nil {
		return nil, newError(CodeUntrustedTimestamp, "%w", err)
	}
	var times []time.Time
	for _, s := range stamps {
		times = append(times, s.Time)
	}
	// A log of version 1 signs the time of its entries, too.
	integrated, _ := verify.VerifyTlogEntry(e.bundle, a.material, 0, true)
	for _, s := range integrated {
		times = append(times, s.Time)
	}
	switch {
	case len(times) >= c.timestamps:
		return times, nil
	case len(failures) > 0:
		return nil, newError(CodeUntrustedTimestamp, "%w", errors.Join(failures...))
	default:
		return nil, newError(CodeNoTimestamp, "%d timestamps, want %d", len(times), c.timestamps)
	}
}

// diagnoseCertificate looks at the chain of a certificate at the times of the
// signature, and whether it is in a certificate transparency log.
func (a *authority) diagnoseCertificate(e entity, c check, times []time.Time) *Error {
	if e.certificate == nil {
		return nil
	}
	cert := e.certificate.Certificate
	var chains [][]*x509.Certificate
	for _, at := range times {
		var err error
		if chains, err = verify.VerifyLeafCertificate(at, cert, a.material); err == nil {
			continue
		}
		if a.issued(cert) {
			return newError(CodeCertificateExpired, "the certificate (%s to %s) or its authority was not valid at %s",
				cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
		return newError(CodeUntrustedCertificate, "the certificate is not of an authority of the trusted root")
	}
	if c.scts > 0 {
		if err := verify.VerifySignedCertificateTimestamp(chains, c.scts, a.material); err != nil {
			return newError(CodeNoSCT, "%w", err)
		}
	}
	return nil
}

// issued reports whether an authority of the trusted root issued the certificate, at
// whatever time.
func (a *authority) issued(cert *x509.Certificate) bool {
	for _, ca := range a.material.FulcioCertificateAuthorities() {
		fulcio, ok := ca.(*root.FulcioCertificateAuthority)
		if !ok {
			continue
		}
		for _, parent := range append([]*x509.Certificate{fulcio.Root}, fulcio.Intermediates...) {
			if cert.CheckSignatureFrom(parent) == nil {
				return true
			}
		}
	}
	return false
}

func (a *authority) diagnoseLog(e entity, c check) *Error {
	if c.logs == 0 {
		return nil
	}
	if _, err := verify.VerifyTlogEntry(e.bundle, a.material, 0, false); err != nil {
		return newError(CodeInvalidLogEntry, "%w", err)
	}
	if _, err := verify.VerifyTlogEntry(e.bundle, a.material, c.logs, false); err != nil {
		return newError(CodeNoLogEntry, "%w", err)
	}
	return nil
}
