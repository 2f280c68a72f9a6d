package signing_test

import (
	"bytes"
	"strings"
	"testing"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/signing"
)

func jwtFiles() map[string][]byte {
	return map[string][]byte{
		".manifest":             []byte(`{"revision":"mini-1.0.0+ab12cd34ef56","roots":["charter"],"rego_version":1}`),
		"charter.yaml":          []byte("apiVersion: charter/v1\n"),
		"data.json":             []byte("{\"charter\":{\"b\":[1.50,1e3,\"<&>\\u2028é\"], \"a\":null}}\n"),
		"charter/decision.rego": []byte("package charter\n\ndecision := {\"allow\": false}\n"),
	}
}

func signedArchive(t *testing.T, key signing.Key, files map[string][]byte) []byte {
	t.Helper()
	b, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := signing.SignJWT(t.Context(), key, "release", b.Files())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := b.WriteSignedTar(&out, jwt); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readOPA loads an archive as stock OPA does that is configured with a key.
func readOPA(archive, public []byte) error {
	keys := map[string]*opabundle.KeyConfig{"release": {Key: string(public), Algorithm: "ES256"}}
	_, err := opabundle.NewReader(bytes.NewReader(archive)).
		WithBundleVerificationConfig(opabundle.NewVerificationConfig(keys, "", "", nil)).Read()
	return err
}

func TestJWTIsVerifiedByOPA(t *testing.T) {
	key, public := newKey(t)
	_, other := newKey(t)
	archive := signedArchive(t, key, jwtFiles())
	if err := readOPA(archive, public); err != nil {
		t.Errorf("OPA refuses it: %v", err)
	}
	if err := readOPA(archive, other); err == nil {
		t.Error("OPA accepts it with another key")
	}
	if !bytes.Equal(archive, signedArchive(t, key, jwtFiles())) {
		t.Error("signed again, the archive has other bytes")
	}
}

// Every file is signed: none can be changed, removed or added.
func TestJWTHoldsEveryFile(t *testing.T) {
	key, public := newKey(t)
	jwt, err := signing.SignJWT(t.Context(), key, "release", jwtFiles())
	if err != nil {
		t.Fatal(err)
	}
	for name := range jwtFiles() {
		for what, change := range map[string]func(map[string][]byte){
			"changed": func(f map[string][]byte) {
				f[name] = bytes.Replace(f[name], []byte("1"), []byte("2"), 1)
				f[name] = bytes.Replace(f[name], []byte("false"), []byte("true "), 1)
			},
			"removed": func(f map[string][]byte) { delete(f, name) },
			"added":   func(f map[string][]byte) { f["charter/more.rego"] = []byte("package charter.more\n") },
		} {
			files := jwtFiles()
			change(files)
			b, err := bundle.New(files)
			if err != nil {
				continue // no bundle without a manifest
			}
			var out bytes.Buffer
			if err := b.WriteSignedTar(&out, jwt); err != nil {
				t.Fatal(err)
			}
			if err := readOPA(out.Bytes(), public); err == nil {
				t.Errorf("%s %s: OPA accepts it", name, what)
			}
		}
	}
}

func TestSignJWTRefuses(t *testing.T) {
	key, _ := newKey(t)
	for name, files := range map[string]map[string][]byte{
		"data that is no JSON": {"data.json": []byte("{")},
		"two values":           {"data.json": []byte("{} {}")},
		"a YAML document":      {"data.yaml": []byte("a: 1")},
		"a signature":          {".signatures.json": []byte("{}")},
	} {
		if _, err := signing.SignJWT(t.Context(), key, "release", files); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := signing.SignJWT(t.Context(), key, "", jwtFiles()); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("without the name of the key: %v", err)
	}
}

// FuzzJWTHash holds that a document is hashed as OPA hashes it.
func FuzzJWTHash(f *testing.F) {
	key, public := newKey(f)
	f.Add([]byte(`{"charter":{"x":[1.0,-0,1e400,"\ud800",true,null,{}]}}`))
	f.Add([]byte(`{"charter":{"a":1,"a":2}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files := jwtFiles()
		files["data.json"] = data
		jwt, err := signing.SignJWT(t.Context(), key, "release", files)
		if err != nil {
			return
		}
		b, err := bundle.New(files)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := b.WriteSignedTar(&out, jwt); err != nil {
			t.Fatal(err)
		}
		if err := readOPA(out.Bytes(), public); err != nil && (strings.Contains(err.Error(), "digest") || strings.Contains(err.Error(), "signature")) {
			t.Errorf("OPA hashes it differently: %v", err)
		}
	})
}
