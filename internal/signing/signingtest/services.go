package signingtest

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/go-json-experiment/json/jsontext"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

// answer writes what made returned, or its error as 400.
func answer(w http.ResponseWriter, r *http.Request, status int, made func(body []byte) ([]byte, error)) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		body, err = made(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs nothing
}

func (s *Sigstore) serveCertificate(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusOK, func(body []byte) ([]byte, error) {
		var request struct {
			PublicKeyRequest struct {
				PublicKey         struct{ Content string }
				ProofOfPossession []byte
			}
		}
		if err := json.Unmarshal(body, &request); err != nil {
			return nil, err
		}
		issuer, email, err := claims(r.Header.Get("Authorization"))
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode([]byte(request.PublicKeyRequest.PublicKey.Content))
		if block == nil {
			return nil, errors.New("no public key")
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		verifier, err := signature.LoadVerifier(public, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		if err := verifier.VerifySignature(strings.NewReader(string(request.PublicKeyRequest.ProofOfPossession)), strings.NewReader(email)); err != nil {
			return nil, fmt.Errorf("proof of possession: %w", err)
		}
		leaf, err := s.certify(email, issuer, public)
		if err != nil {
			return nil, err
		}
		var chain []string
		for _, der := range [][]byte{leaf, s.fulcio.Intermediates[0].Raw, s.fulcio.Root.Raw} {
			chain = append(chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		}
		return json.Marshal(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": chain}}})
	})
}

// claims reads an identity token without verifying it.
func claims(authorization string) (issuer, email string, err error) {
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		return "", "", errors.New("no identity token")
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", err
	}
	var token struct{ Iss, Email string }
	err = json.Unmarshal(data, &token)
	return token.Iss, token.Email, err
}

func (s *Sigstore) serveTimestamp(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusCreated, func(body []byte) ([]byte, error) {
		request, err := timestamp.ParseRequest(body)
		if err != nil {
			return nil, err
		}
		stamp := timestamp.Timestamp{
			HashAlgorithm: request.HashAlgorithm, HashedMessage: request.HashedMessage, Time: time.Now(),
			Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		}
		return stamp.CreateResponseWithOpts(s.tsa.Leaf, s.stamps, crypto.SHA256)
	})
}

// serveEntry answers with an entry of a log that holds nothing else.
func (s *Sigstore) serveEntry(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusCreated, func(data []byte) ([]byte, error) {
		var request rekorpb.CreateEntryRequest
		if err := protojson.Unmarshal(data, &request); err != nil {
			return nil, err
		}
		known, err := signature.NewAlgorithmRegistryConfig([]protocommon.PublicKeyDetails{protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256})
		if err != nil {
			return nil, err
		}
		entry, err := hashedrekord.ToLogEntry(request.GetHashedRekordRequestV002(), known)
		if err != nil {
			return nil, err
		}
		encoded, err := protojson.Marshal(entry)
		if err != nil {
			return nil, err
		}
		body := jsontext.Value(encoded)
		if err := body.Canonicalize(); err != nil {
			return nil, err
		}
		leaf := sha256.Sum256(append([]byte{0}, body...)) // RFC 6962, section 2.1
		checkpoint, err := s.checkpoint(leaf[:])
		if err != nil {
			return nil, err
		}
		return protojson.Marshal(&protorekor.TransparencyLogEntry{
			LogId:             &protocommon.LogId{KeyId: logID(s.logKey)},
			KindVersion:       &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"},
			CanonicalizedBody: body,
			InclusionProof: &protorekor.InclusionProof{
				TreeSize: 1, RootHash: leaf[:], Checkpoint: &protorekor.Checkpoint{Envelope: checkpoint},
			},
		})
	})
}

func (s *Sigstore) checkpoint(rootHash []byte) (string, error) {
	key, err := signature.LoadECDSASignerVerifier(s.logKey, crypto.SHA256)
	if err != nil {
		return "", err
	}
	signer, err := rekornote.NewNoteSigner(context.Background(), logHost, key)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s\n1\n%s\n", logHost, base64.StdEncoding.EncodeToString(rootHash))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	return string(signed), err
}
