package signingtest

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/online"
)

// Failure is a statement that is genuine but for one thing.
type Failure struct {
	Name   string
	Code   signing.Code // why it is refused
	Bundle []byte       // the Sigstore bundle
	Root   []byte       // the trusted root of whoever refuses it
}

// Failures returns all failures of keyless signatures, for a policy that trusts the
// identity of that e-mail address from [Issuer] and ignores SCTs. Payload is the
// statement.
func Failures(tb testing.TB, email string, payload []byte) []Failure {
	tb.Helper()
	store, foreign, old := New(tb), New(tb), New(tb)
	old.Backdate = time.Hour
	sign := func(s online.Services) []byte {
		tb.Helper()
		signer, err := online.NewKeylessSigner(s)
		if err != nil {
			tb.Fatal(err)
		}
		made, err := signer.Sign(tb.Context(), payload)
		if err != nil {
			tb.Fatal(err)
		}
		return made
	}
	from := func(issuer, email string) []byte {
		s := store.Services(email)
		s.IDToken = func(context.Context) (string, error) { return Token(issuer, email), nil }
		return sign(s)
	}
	expired := old.Services(email)
	expired.TrustedRoot = nil // the signer would notice
	good, elsewhere, root := sign(store.Services(email)), sign(foreign.Services(email)), store.Root()
	all := []Failure{
		{"wrong identity", signing.CodeUntrustedIdentity, from(Issuer, "eve@example.org"), root},
		{"an identity that only ends well", signing.CodeUntrustedIdentity, from(Issuer, "not-"+email), root},
		{"wrong issuer", signing.CodeUntrustedIssuer, from(Issuer+".evil.org", email), root},
		{"everything of another Sigstore", signing.CodeUntrustedTimestamp, elsewhere, root},
		{"another certificate authority", signing.CodeUntrustedCertificate, elsewhere, foreign.root(store.fulcio, nil)},
		{"the authority had ended", signing.CodeCertificateExpired, good, store.RootUntil(time.Now().Add(-time.Minute))},
		{"the certificate had ended", signing.CodeCertificateExpired, sign(expired), old.Root()},
	}
	for _, f := range Tampered(tb, good, sign(store.Services(email)), elsewhere) {
		f.Root = root
		all = append(all, f)
	}
	return all
}

// Tampered returns a genuine keyless signature with one thing changed, for every such
// thing. Again is another signature by the same Sigstore, foreign one by another. The
// trusted root is left for the caller.
func Tampered(tb testing.TB, good, again, foreign []byte) []Failure {
	tb.Helper()
	same, other := decode(tb, again).VerificationMaterial, decode(tb, foreign).VerificationMaterial
	var all []Failure
	edit := func(name string, code signing.Code, change func(b *protobundle.Bundle, m *protobundle.VerificationMaterial)) {
		tb.Helper()
		b := decode(tb, good)
		change(b, b.VerificationMaterial)
		data, err := protojson.Marshal(b)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, Failure{Name: name, Code: code, Bundle: data})
	}
	type (
		bundle  = *protobundle.Bundle
		vouched = *protobundle.VerificationMaterial
	)
	edit("changed statement", signing.CodeInvalidSignature, func(b bundle, _ vouched) {
		e := b.GetDsseEnvelope()
		e.Payload = bytes.Replace(e.Payload, []byte(`"predicate":{`), []byte(`"predicate":{"more":1,`), 1)
	})
	edit("certificate of another signature", signing.CodeInvalidSignature, func(_ bundle, m vouched) { m.Content = same.Content })
	edit("no timestamp", signing.CodeNoTimestamp, func(_ bundle, m vouched) { m.TimestampVerificationData = nil })
	edit("foreign timestamp", signing.CodeUntrustedTimestamp, func(_ bundle, m vouched) {
		m.TimestampVerificationData = other.TimestampVerificationData
	})
	edit("timestamp of another signature", signing.CodeUntrustedTimestamp, func(_ bundle, m vouched) {
		m.TimestampVerificationData = same.TimestampVerificationData
	})
	edit("no log entry", signing.CodeNoLogEntry, func(_ bundle, m vouched) { m.TlogEntries = nil })
	edit("entry of an unknown log", signing.CodeNoLogEntry, func(_ bundle, m vouched) { m.TlogEntries = other.TlogEntries })
	edit("entry of another signature", signing.CodeInvalidLogEntry, func(_ bundle, m vouched) { m.TlogEntries = same.TlogEntries })
	edit("the same entry twice", signing.CodeInvalidLogEntry, func(_ bundle, m vouched) { m.TlogEntries = append(m.TlogEntries, m.TlogEntries[0]) })
	edit("nine timestamps", signing.CodeMalformed, func(_ bundle, m vouched) {
		stamps := m.TimestampVerificationData.Rfc3161Timestamps
		m.TimestampVerificationData.Rfc3161Timestamps = slices.Repeat(stamps, 9)
	})
	edit("nine log entries", signing.CodeMalformed, func(_ bundle, m vouched) { m.TlogEntries = slices.Repeat(m.TlogEntries, 9) })
	edit("forged checkpoint", signing.CodeInvalidLogEntry, func(_ bundle, m vouched) {
		m.TlogEntries[0].InclusionProof.Checkpoint = other.TlogEntries[0].InclusionProof.Checkpoint
	})
	edit("forged proof", signing.CodeInvalidLogEntry, func(_ bundle, m vouched) {
		m.TlogEntries[0].InclusionProof.Hashes = [][]byte{make([]byte, 32)}
	})
	return all
}

func decode(tb testing.TB, bundle []byte) *protobundle.Bundle {
	tb.Helper()
	b := new(protobundle.Bundle)
	if err := protojson.Unmarshal(bundle, b); err != nil {
		tb.Fatal(err)
	}
	return b
}
