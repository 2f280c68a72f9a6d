package signing_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// pluginName is the program that the test binary is when it is called so.
const pluginName = "sigstore-kms-box"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		if err := plugin(); err != nil {
			_ = handler.WriteErrorResponse(os.Stdout, err) // the caller sees that nothing was answered
		}
		return
	}
	os.Exit(m.Run())
}

// box keeps a key: what is behind a plugin, such as a hardware token.
type box struct {
	*signature.ECDSASignerVerifier
	forges bool
}

func (b box) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	if b.forges {
		message = strings.NewReader("something else")
	}
	return b.ECDSASignerVerifier.SignMessage(message, opts...)
}

func (box) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.New("the box makes no keys")
}

func (box) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.New("the box gives no keys away")
}
func (box) SupportedAlgorithms() []string { return []string{"ecdsa-p256-sha256"} }
func (box) DefaultAlgorithm() string      { return "ecdsa-p256-sha256" }

// plugin is the program: the reference holds the key, base64 of PKCS #8.
func plugin() error {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		return err
	}
	text, forges := strings.CutSuffix(strings.TrimPrefix(args.InitOptions.KeyResourceID, "box://"), "?forge")
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	keeper, err := signature.LoadECDSASignerVerifier(key.(*ecdsa.PrivateKey), crypto.SHA256)
	if err != nil {
		return err
	}
	_, err = handler.Dispatch(os.Stdout, os.Stdin, args, box{keeper, forges})
	return err
}

// installPlugin puts the program on the PATH and returns the reference of a new key.
func installPlugin(t *testing.T, curve elliptic.Curve) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, pluginName)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	key, err := ecdsa.GenerateKey(curve, nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return "box://" + base64.RawURLEncoding.EncodeToString(der)
}

func TestOpenKMS(t *testing.T) {
	ref := installPlugin(t, elliptic.P256())
	key, err := signing.OpenKMS(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := signing.TrustKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(t.Context(), digest, [][]byte{signWith(t, key, statement(t, digest, release.PolicyType, policy(1)))}); err != nil {
		t.Errorf("signed by the plugin: %v", err)
	}
	if err := readOPA(signedArchive(t, key, jwtFiles()), key.Public()); err != nil {
		t.Errorf("a JWT signed by the plugin: %v", err)
	}
}

// What a plugin returns is verified before it is handed on.
func TestKMSThatErrs(t *testing.T) {
	key, err := signing.OpenKMS(t.Context(), installPlugin(t, elliptic.P256())+"?forge")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signing.NewKeySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(t.Context(), statement(t, digest, release.PolicyType, policy(1))); err == nil {
		t.Error("Sign returned a signature of something else")
	}
	if _, err := signing.SignJWT(t.Context(), key, "release", jwtFiles()); err == nil {
		t.Error("SignJWT returned a signature of something else")
	}
}

func TestOpenKMSRefuses(t *testing.T) {
	for _, test := range []struct{ name, ref, want string }{
		{"no plugin", "nowhere://key", "no kms provider found"},
		{"no reference", "key.pem", "no kms provider found"},
		{"a key that the plugin does not have", "box://junk", "box://junk"},
		{"another curve", installPlugin(t, elliptic.P384()), "P-256"},
	} {
		if _, err := signing.OpenKMS(t.Context(), test.ref); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error that says %q", test.name, err, test.want)
		}
	}
}
