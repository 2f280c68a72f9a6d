package sigstore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/signing/online"
	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/file"
	"github.com/westworld-charter/charter/tests/internal/judge"
	"github.com/westworld-charter/charter/tests/internal/process"
)

// Where the services are. The namespace is ours alone, so no port is taken.
const (
	fulcioURL = "http://127.0.0.1:5555"
	rekorURL  = "http://127.0.0.1:3003"
	tsaURL    = "http://127.0.0.1:3004/api/v1/timestamp"
)

// instance is a running private Sigstore.
type instance struct {
	dir    string
	issuer *issuer // whom Fulcio believes
	other  *issuer // another one that Fulcio believes
	root   []byte  // the trusted root, as cosign makes one
}

func start(t *testing.T) *instance {
	t.Helper()
	needNamespace(t)
	programs := map[string]string{}
	for _, name := range []string{"fulcio", "rekor-server", "timestamp-server"} {
		programs[name] = judge.Path(t, name)
	}
	s := &instance{dir: t.TempDir(), issuer: newIssuer(t), other: newIssuer(t)}
	s.fulcio(t, programs["fulcio"])
	s.rekor(t, programs["rekor-server"])
	s.tsa(t, programs["timestamp-server"])
	s.root = s.trustedRoot(t, "trusted_root.json", "")
	return s
}

// services are these of the instance, for a subject that the issuer vouches for.
func (s *instance) services(by *issuer, email string) online.Services {
	return online.Services{
		TrustedRoot: s.root, FulcioURL: fulcioURL, RekorURL: rekorURL, TSAURL: tsaURL,
		IDToken: func(context.Context) (string, error) { return by.token(email) },
	}
}

func (s *instance) path(name string) string { return filepath.Join(s.dir, name) }

func (s *instance) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	return file.Write(t, s.path(name), string(data))
}

// fulcio starts the certificate authority, without a certificate transparency log.
func (s *instance) fulcio(t *testing.T, program string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private fulcio", Organization: []string{"example"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	s.write(t, "fulcio.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.writeKey(t, "fulcio.key", key)
	config := "oidc-issuers:\n"
	for _, i := range []*issuer{s.issuer, s.other} {
		config += fmt.Sprintf("  %q: {issuer-url: %q, client-id: sigstore, type: email}\n", i.url, i.url)
	}
	s.write(t, "fulcio.yaml", []byte(config))
	s.run(t, program, fulcioURL+"/healthz", "serve", "--host", "127.0.0.1", "--port", "5555", "--grpc-host", "127.0.0.1", "--grpc-port", "5554",
		"--metrics-port", "5553", "--ca", "fileca", "--fileca-cert", "fulcio.pem", "--fileca-key", "fulcio.key", "--fileca-key-passwd", "",
		"--fileca-watch=false", "--ct-log-url", "", "--config-path", "fulcio.yaml")
}

// rekor starts the transparency log.
func (s *instance) rekor(t *testing.T, program string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	s.writeKey(t, "rekor.key", key)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	s.write(t, "rekor.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(t, os.Mkdir(s.path("rekor"), 0o700))
	s.run(t, program, rekorURL+"/healthz", "serve", "--hostname", "127.0.0.1", "--http-port", "3003", "--grpc-port", "3013", "--http-metrics-port", "3023",
		"--storage-dir", "rekor", "--signer-filepath", "rekor.key", "--checkpoint-interval", "200ms", "--batch-max-age", "20ms")
}

// tsa starts the timestamp authority and asks it for its certificates.
func (s *instance) tsa(t *testing.T, program string) {
	t.Helper()
	s.run(t, program, "http://127.0.0.1:3004/ping", "serve", "--host", "127.0.0.1", "--port", "3004", "--scheme", "http",
		"--timestamp-signer", "memory", "--disable-ntp-monitoring")
	chain, err := fetch.Get(t.Context(), tsaURL+"/certchain")
	must(t, err)
	s.write(t, "tsa.pem", []byte(chain))
}

// trustedRoot makes a trusted root of the parts with cosign, as an operator does. More
// is added to what is said about the certificate authority, and to the arguments.
func (s *instance) trustedRoot(t *testing.T, name, more string, args ...string) []byte {
	t.Helper()
	process.Output(t, s.options(), judge.Path(t, "cosign"), append([]string{
		"trusted-root", "create", "--out", name,
		"--fulcio", "url=" + fulcioURL + ",certificate-chain=fulcio.pem" + more,
		"--rekor", "url=" + rekorURL + ",public-key=rekor.pub,start-time=" + since(),
		"--tsa", "url=" + tsaURL + ",certificate-chain=tsa.pem",
	}, args...)...)
	return []byte(file.Read(t, s.path(name)))
}

func (s *instance) writeKey(t *testing.T, name string, key crypto.Signer) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	s.write(t, name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// run starts a server that ends with the test, and waits until it answers.
func (s *instance) run(t *testing.T, program, ready string, args ...string) {
	t.Helper()
	process.Start(t, process.Options{Dir: s.dir}, program, args...).Ready(t, func() error {
		_, err := fetch.Get(t.Context(), ready)
		return err
	})
}

// options run programs in the directory of the instance.
func (s *instance) options(env ...string) process.Options {
	return process.Options{Dir: s.dir, Env: env}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
