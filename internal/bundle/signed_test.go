package bundle_test

import (
	"bytes"
	"testing"

	"github.com/westworld-charter/charter/internal/bundle"
)

// An archive with a JWT inside is for stock OPA alone.
func TestSignedArchive(t *testing.T) {
	b := newBundle(t, sample())
	var out bytes.Buffer
	jwt := []byte(`{"signatures":["a.b.c"]}`)
	if err := b.WriteSignedTar(&out, jwt); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Read(bytes.NewReader(out.Bytes()), bundle.Limits{}); code(t, err) != bundle.CodeJWTBundle {
		t.Errorf("Read: %v, want %s", err, bundle.CodeJWTBundle)
	}
	read, got, err := bundle.ReadSigned(bytes.NewReader(out.Bytes()), bundle.Limits{})
	if err != nil || !bytes.Equal(got, jwt) || read.LayerDigest() != b.LayerDigest() {
		t.Errorf("ReadSigned returned %s and %v, want the bundle as it was and %s", got, err, jwt)
	}
	if _, _, err := bundle.ReadSigned(bytes.NewReader(archive(t, b)), bundle.Limits{}); code(t, err) != bundle.CodeUnexpectedFile {
		t.Errorf("ReadSigned of an archive without a JWT: %v", err)
	}
	huge := bytes.Repeat([]byte(" "), 1<<20+1)
	out.Reset()
	if err := b.WriteSignedTar(&out, huge); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bundle.ReadSigned(&out, bundle.Limits{}); code(t, err) != bundle.CodeTooLarge {
		t.Errorf("ReadSigned of a huge JWT: %v", err)
	}
}

func FuzzReadSigned(f *testing.F) {
	var out bytes.Buffer
	if err := newBundle(f, sample()).WriteSignedTar(&out, []byte(`{"signatures":["a.b.c"]}`)); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		b, jwt, err := bundle.ReadSigned(bytes.NewReader(data), bundle.Limits{Compressed: 1 << 20, Unpacked: 1 << 20, Files: 100})
		if err != nil {
			code(t, err)
			return
		}
		var again bytes.Buffer
		if err := b.WriteSignedTar(&again, jwt); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Read(&again, bundle.Limits{}); code(t, err) != bundle.CodeJWTBundle {
			t.Errorf("a node would take it: %v", err)
		}
	})
}
