// Package online signs with the help of Sigstore's services: with an identity instead
// of a key ([NewKeylessSigner]), or with a key that is entered in a transparency log
// and timestamped ([NewKeySigner]). It is apart from package signing because only who
// makes releases needs it: servers and nodes do not link it.
package online

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// serviceTimeout bounds one request to one service.
const serviceTimeout = 30 * time.Second

// serviceRetries is how often a service that answers 5xx or 429 is asked again.
const serviceRetries = 2

// Services are what a signature is made with beside a key. Empty URLs are services
// that are not used.
type Services struct {
	// TrustedRoot is Sigstore's trusted root (JSON). When given, what is signed is
	// verified with it before it is returned.
	TrustedRoot []byte
	FulcioURL   string // certificates; needs IDToken
	RekorURL    string // transparency log, version 2
	TSAURL      string // timestamps (RFC 3161), with the path
	// IDToken returns an OpenID Connect token for the audience "sigstore".
	IDToken func(ctx context.Context) (string, error)
}

type signer struct {
	key      *signing.Key // nil: a new key for every signature
	services Services
	root     root.TrustedMaterial // nil: not verified
}

// NewKeySigner returns a signer with a key, which is entered in the transparency log
// and timestamped as far as services for it are named.
func NewKeySigner(k signing.Key, s Services) (signing.Signer, error) {
	if k.PublicKey() == nil {
		return nil, errors.New("sign: no key")
	}
	if s.FulcioURL != "" || s.IDToken != nil {
		return nil, errors.New("sign: a certificate is asked for identities, not for keys")
	}
	trusted, err := s.trusted(&k)
	if err != nil {
		return nil, err
	}
	return &signer{key: &k, services: s, root: trusted}, nil
}

// NewKeylessSigner returns a signer with the identity of an OpenID Connect token:
// each signature has a new key and a certificate about it, an entry in the log and
// a timestamp.
func NewKeylessSigner(s Services) (signing.Signer, error) {
	switch {
	case s.IDToken == nil:
		return nil, errors.New("sign: keyless signing needs an identity token")
	case s.FulcioURL == "" || s.RekorURL == "" || s.TSAURL == "":
		return nil, errors.New("sign: keyless signing needs the URLs of Fulcio, Rekor and a timestamp authority")
	}
	trusted, err := s.trusted(nil)
	if err != nil {
		return nil, err
	}
	return &signer{services: s, root: trusted}, nil
}

func (s Services) trusted(k *signing.Key) (root.TrustedMaterial, error) {
	if s.TrustedRoot == nil {
		return nil, nil
	}
	trusted, err := root.NewTrustedRootFromJSON(s.TrustedRoot)
	if err != nil {
		return nil, fmt.Errorf("sign: trusted root: %w", err)
	}
	if k == nil {
		return trusted, nil
	}
	verifier, err := signature.LoadECDSAVerifier(k.PublicKey(), crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	key := root.NewTrustedPublicKeyMaterialFromMapping(map[string]*root.ExpiringKey{k.Hint(): root.NewExpiringKey(verifier, time.Time{}, time.Time{})})
	return root.TrustedMaterialCollection{trusted, key}, nil
}

func (s *signer) Describe() string {
	if s.key == nil {
		return "identity, certified by " + s.services.FulcioURL
	}
	return s.key.String()
}

func (s *signer) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	if _, err := release.ParseStatement(payload); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	opts, err := s.options(ctx)
	if err != nil {
		return nil, err
	}
	var keypair sign.Keypair
	if s.key != nil {
		keypair = pair{*s.key}
	} else if keypair, err = sign.NewEphemeralKeypair(nil); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	made, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: release.PayloadType}, keypair, opts)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signing.EncodeBundle(made)
}

func (s *signer) options(ctx context.Context) (sign.BundleOptions, error) {
	opts := sign.BundleOptions{Context: ctx, TrustedRoot: s.root}
	if s.key == nil {
		token, err := s.services.IDToken(ctx)
		if err != nil {
			return opts, fmt.Errorf("sign: identity token: %w", err)
		}
		opts.CertificateProvider = sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.services.FulcioURL, Timeout: serviceTimeout, Retries: serviceRetries, Transport: until{ctx}})
		opts.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: token}
	}
	if s.services.TSAURL != "" {
		opts.TimestampAuthorities = []*sign.TimestampAuthority{sign.NewTimestampAuthority(
			&sign.TimestampAuthorityOptions{URL: s.services.TSAURL, Timeout: serviceTimeout, Retries: serviceRetries, Transport: until{ctx}},
		)}
	}
	if s.services.RekorURL != "" {
		opts.TransparencyLogs = []sign.Transparency{sign.NewRekor(
			&sign.RekorOptions{BaseURL: s.services.RekorURL, Timeout: serviceTimeout, Retries: serviceRetries, Version: 2},
		)}
	}
	return opts, nil
}

// until ends requests with a context; sigstore-go makes some without one.
type until struct{ ctx context.Context }

func (u until) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r.WithContext(u.ctx))
}

// pair is a key as sigstore-go wants it.
type pair struct{ key signing.Key }

func (p pair) GetHashAlgorithm() protocommon.HashAlgorithm { return protocommon.HashAlgorithm_SHA2_256 }

func (p pair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}

func (p pair) GetHint() []byte                  { return []byte(p.key.Hint()) }
func (p pair) GetKeyAlgorithm() string          { return "ECDSA" }
func (p pair) GetPublicKey() crypto.PublicKey   { return p.key.PublicKey() }
func (p pair) GetPublicKeyPem() (string, error) { return string(p.key.Public()), nil }

func (p pair) SignData(ctx context.Context, data []byte) (sig, digest []byte, err error) {
	sum := sha256.Sum256(data)
	sig, err = p.key.Sign(ctx, data)
	return sig, sum[:], err
}
