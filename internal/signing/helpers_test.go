package signing_test

import (
	"os"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// digest is that of a manifest somewhere.
const digest = "sha256:" + "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func newKey(t testing.TB) (key signing.Key, public []byte) {
	t.Helper()
	key, err := signing.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, key.Public()
}

func statement(t testing.TB, subject, predicateType string, predicate any) []byte {
	t.Helper()
	s, err := release.NewStatement(subject, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func signWith(t testing.TB, key signing.Key, payload []byte) []byte {
	t.Helper()
	signer, err := signing.NewKeySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := signer.Sign(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func policy(sequence int) map[string]any {
	return map[string]any{
		"channel": "production", "sequence": sequence, "expires": "2030-01-01T00:00:00Z", "revision": "r", "charterDigest": digest,
	}
}

// files are what a trust policy names.
type files map[string][]byte

func (f files) read(name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return data, nil
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
}

func trust(t testing.TB, yaml string, f files) *signing.Trust {
	t.Helper()
	parsed, err := signing.ParseTrust("trust.yaml", []byte(yaml), f.read)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

const header = "apiVersion: charter/v1\nkind: Trust\nchannel: production\n"
