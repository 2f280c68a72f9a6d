package signing_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

const password = "correct horse"

func TestGenerateAndLoadKey(t *testing.T) {
	private, public, err := signing.GenerateKey([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(private); block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" {
		t.Errorf("the private half is\n%s", private)
	}
	key, err := signing.LoadKey(private, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Public(), public) {
		t.Errorf("the public half is\n%s\nwant\n%s", key.Public(), public)
	}
	parsed, err := signing.TrustKey(public)
	if err != nil {
		t.Fatal(err)
	}
	payload := statement(t, digest, release.PolicyType, policy(1))
	one, two := signWith(t, key, payload), signWith(t, key, payload)
	if _, err := parsed.Verify(t.Context(), digest, [][]byte{one}); err != nil {
		t.Error(err)
	}
	if bytes.Equal(one, two) {
		t.Error("signed twice, the same bytes: a transparency log refuses these")
	}
	for _, bundle := range [][]byte{one, two} {
		if bytes.ContainsAny(bundle, "\n\r") {
			t.Error("a Sigstore bundle of more than one line")
		}
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	private, public, err := signing.GenerateKey([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	encrypted := func(curve elliptic.Curve) []byte {
		pair, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(pair, cryptoutils.StaticPasswordFunc([]byte(password)))
		if err != nil {
			t.Fatal(err)
		}
		return cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der)
	}
	plain, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unencrypted, err := cryptoutils.MarshalPrivateKeyToPEM(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		file     []byte
		password string
		want     string
	}{
		{"a wrong password", private, "wrong", "wrong password"},
		{"no password", private, "", "password is empty"},
		{"the public half", public, password, "public half"},
		{"no PEM", []byte("junk"), password, "not a PEM"},
		{"a key that is not encrypted", unencrypted, password, "PRIVATE KEY"},
		{"another curve", encrypted(elliptic.P384()), password, "P-256"},
		{"a huge file", bytes.Repeat([]byte("x"), signing.MaxKeyFile+1), password, "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := signing.LoadKey(test.file, []byte(test.password)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
	if _, _, err := signing.GenerateKey(nil); err == nil {
		t.Error("GenerateKey leaves a key unprotected")
	}
}

// FuzzLoadKey reads damaged key files. Few are tried: each that is well formed takes a
// quarter of a second.
func FuzzLoadKey(f *testing.F) {
	private, _, err := signing.GenerateKey([]byte(password))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(private)
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if key, err := signing.LoadKey(file, []byte(password)); err == nil && len(key.Public()) == 0 {
			t.Error("a key without a public half")
		}
	})
}
