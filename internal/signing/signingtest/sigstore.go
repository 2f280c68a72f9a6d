// Package signingtest is a Sigstore in the memory of a test: a certificate authority
// (Fulcio), a transparency log (Rekor v2) and a timestamp authority, behind one HTTP
// server on a loopback address. They speak the protocols of the real ones and check
// what they are sent, but keep nothing: every entry is the only one of its log. Call
// [New].
package signingtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"github.com/westworld-charter/charter/internal/signing/online"
)

// Issuer is who says who signs, unless [Token] says otherwise.
const Issuer = "https://issuer.example.org"

// logHost is the name of the log in its checkpoints.
const logHost = "rekor.example.org"

// Sigstore is a running instance. Each has keys of its own: what one vouches for, the
// trusted root of another does not know.
type Sigstore struct {
	// Backdate makes certificates that much older. It is set before signing.
	Backdate time.Duration

	url     string
	fulcio  *root.FulcioCertificateAuthority
	issuing *ecdsa.PrivateKey
	tsa     *root.SigstoreTimestampingAuthority
	stamps  *ecdsa.PrivateKey
	logKey  *ecdsa.PrivateKey
	ctKey   *ecdsa.PrivateKey
}

// New starts an instance that ends with the test.
func New(tb testing.TB) *Sigstore {
	tb.Helper()
	must := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return k
	}
	s := &Sigstore{stamps: key(), logKey: key(), ctKey: key()}
	anchor, anchorKey, err := ca.GenerateRootCa()
	must(err)
	intermediate, issuing, err := ca.GenerateFulcioIntermediate(anchor, anchorKey)
	must(err)
	s.issuing = issuing
	s.fulcio = &root.FulcioCertificateAuthority{
		Root: anchor, Intermediates: []*x509.Certificate{intermediate},
		ValidityPeriodStart: time.Now().Add(-time.Hour), ValidityPeriodEnd: time.Now().Add(time.Hour),
	}
	stampCA, stampCAKey, err := ca.GenerateTSAIntermediate(anchor, anchorKey)
	must(err)
	stamper, err := ca.GenerateTSALeafCert(time.Now().Add(-time.Minute), s.stamps, stampCA, stampCAKey)
	must(err)
	s.tsa = &root.SigstoreTimestampingAuthority{
		Root: anchor, Intermediates: []*x509.Certificate{stampCA}, Leaf: stamper,
		ValidityPeriodStart: time.Now().Add(-time.Hour), ValidityPeriodEnd: time.Now().Add(time.Hour),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fulcio/api/v2/signingCert", s.serveCertificate)
	mux.HandleFunc("POST /rekor/api/v2/log/entries", s.serveEntry)
	mux.HandleFunc("POST /tsa/api/v1/timestamp", s.serveTimestamp)
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// FulcioURL is where the certificate authority is.
func (s *Sigstore) FulcioURL() string { return s.url + "/fulcio" }

// RekorURL is where the log is.
func (s *Sigstore) RekorURL() string { return s.url + "/rekor" }

// TSAURL is where the timestamp authority is.
func (s *Sigstore) TSAURL() string { return s.url + "/tsa/api/v1/timestamp" }

// Services are these of the instance, for somebody with that e-mail address.
func (s *Sigstore) Services(email string) online.Services {
	return online.Services{
		TrustedRoot: s.Root(), FulcioURL: s.FulcioURL(), RekorURL: s.RekorURL(), TSAURL: s.TSAURL(),
		IDToken: func(context.Context) (string, error) { return Token(Issuer, email), nil },
	}
}

// Token returns an identity token. Nobody has signed it: the authority here believes
// everything.
func Token(issuer, email string) string {
	part := func(v any) string {
		data, _ := json.Marshal(v) // texts and truth values
		return base64.RawURLEncoding.EncodeToString(data)
	}
	claims := map[string]any{
		"iss": issuer, "sub": email, "email": email, "email_verified": true, "aud": "sigstore",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	return part(map[string]string{"alg": "none"}) + "." + part(claims) + "."
}

// Root returns the trusted root of the instance (JSON). It names no certificate
// transparency log.
func (s *Sigstore) Root() []byte { return s.root(s.fulcio, nil) }

// RootWithCT is [Sigstore.Root] with the certificate transparency log of another
// instance, or its own.
func (s *Sigstore) RootWithCT(of *Sigstore) []byte { return s.root(s.fulcio, of) }

// RootUntil is [Sigstore.Root] of an instance whose certificate authority was given up
// at that time.
func (s *Sigstore) RootUntil(end time.Time) []byte {
	ended := *s.fulcio
	ended.ValidityPeriodStart, ended.ValidityPeriodEnd = end.Add(-time.Hour), end
	return s.root(&ended, nil)
}

func (s *Sigstore) root(fulcio root.CertificateAuthority, ct *Sigstore) []byte {
	ctLogs := map[string]*root.TransparencyLog{}
	if ct != nil {
		ctLogs[hex.EncodeToString(logID(ct.ctKey))] = transparencyLog("https://ct.example.org", ct.ctKey)
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{fulcio}, ctLogs,
		[]root.TimestampingAuthority{s.tsa}, map[string]*root.TransparencyLog{
			hex.EncodeToString(logID(s.logKey)): transparencyLog("https://"+logHost, s.logKey),
		})
	if err != nil {
		panic(err) // made of our own parts
	}
	data, err := trusted.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return data
}

func transparencyLog(url string, key *ecdsa.PrivateKey) *root.TransparencyLog {
	return &root.TransparencyLog{
		BaseURL: url, ID: logID(key), HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
		PublicKey: key.Public(), ValidityPeriodStart: time.Now().Add(-time.Hour), ValidityPeriodEnd: time.Now().Add(time.Hour),
	}
}

func logID(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err) // P-256
	}
	sum := sha256.Sum256(der)
	return sum[:]
}
