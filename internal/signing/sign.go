package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/westworld-charter/charter/internal/release"
)

// bundleType is the media type of what is signed here.
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Signer signs statements. It is safe for concurrent use.
type Signer interface {
	// Sign returns a Sigstore bundle v0.3 of the payload, an in-toto statement, as
	// one line of JSON without a line break.
	Sign(ctx context.Context, payload []byte) ([]byte, error)
	// Describe says for people with what is signed.
	Describe() string
}

type keySigner struct{ key Key }

// NewKeySigner returns a signer with a key, which asks no service.
func NewKeySigner(k Key) (Signer, error) {
	if k.signer == nil {
		return nil, errors.New("sign: no key")
	}
	return keySigner{k}, nil
}

func (s keySigner) Describe() string { return s.key.String() }

func (s keySigner) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	if _, err := release.ParseStatement(payload); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := s.key.Sign(ctx, preAuthEncoding(payload))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return EncodeBundle(&protobundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: s.key.Hint()}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: release.PayloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
		}},
	})
}

// preAuthEncoding is what is signed of a statement (DSSE, protocol, PAE).
func preAuthEncoding(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(release.PayloadType), release.PayloadType, len(payload), payload)
}

// EncodeBundle returns a Sigstore bundle as one line of JSON.
func EncodeBundle(b *protobundle.Bundle) ([]byte, error) {
	data, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode Sigstore bundle: %w", err)
	}
	var line bytes.Buffer // protojson varies its spaces at random
	if err := json.Compact(&line, data); err != nil {
		return nil, fmt.Errorf("encode Sigstore bundle: %w", err)
	}
	return line.Bytes(), nil
}
