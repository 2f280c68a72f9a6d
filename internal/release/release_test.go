package release

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	layerDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	golden      = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.cncf.openpolicyagent.config.v1+json",` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},` +
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",` +
		`"digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":4711,` +
		`"annotations":{"org.opencontainers.image.title":"bundle.tar.gz"}}],` +
		`"annotations":{"org.opencontainers.image.revision":"production-1.2.0+0123456789ab"}}`
	goldenDigest = "sha256:8691c315fdda4c9ace0e7396e791a7ccf411bdbe6b4ca818786c3436735743de"
)

// Whoever pinned, voted on or signed a release did so for these bytes: a change of
// them is a change of every release digest.
func TestManifestBytes(t *testing.T) {
	m := NewManifest(layerDigest, 4711, "production-1.2.0+0123456789ab")
	if string(m.Bytes()) != golden {
		t.Errorf("the manifest is\n%s\nwant\n%s", m.Bytes(), golden)
	}
	if m.Digest() != goldenDigest {
		t.Errorf("its digest is %s, want %s", m.Digest(), goldenDigest)
	}
	if without := NewManifest(layerDigest, 4711, ""); strings.Contains(string(without.Bytes()), "revision") {
		t.Errorf("a manifest without a revision: %s", without.Bytes())
	}
}

// The digest is the same in another place, time zone and language.
func TestManifestDigestElsewhere(t *testing.T) {
	if os.Getenv("CHARTER_ELSEWHERE") != "" {
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestManifestBytes$")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8", "CHARTER_ELSEWHERE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in another time zone: %v\n%s", err, out)
	}
}

func TestParseManifest(t *testing.T) {
	m, err := ParseManifest([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	if m.Digest() != goldenDigest || m.Layer.Digest != layerDigest || m.Layer.Size != 4711 || m.Revision != "production-1.2.0+0123456789ab" {
		t.Errorf("ParseManifest returned %+v", m)
	}
	foreign := strings.Replace(golden, `"schemaVersion"`, ` "artifactType":"x/y", "subject":{"digest":"sha256:00"}, "schemaVersion"`, 1)
	if f, err := ParseManifest([]byte(foreign)); err != nil || f.Digest() == goldenDigest {
		t.Errorf("a manifest that somebody else wrote: %v", err)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	layer := golden[strings.Index(golden, `"layers":[`)+len(`"layers":[`) : strings.Index(golden, `}],`)+1]
	for _, test := range []struct{ name, old, new, want string }{
		{"not JSON", "{", "", "manifest"},
		{"more behind it", `0123456789ab"}}`, `0123456789ab"}} {}`, "after top-level value"},
		{"two layers", layer, layer + "," + layer, "2 layers"},
		{"no layer", layer, "", "0 layers"},
		{"an index", "manifest.v1+json", "index.v1+json", "mediaType"},
		{"a field twice", `"layers":`, `"layers":[],"layers":`, "duplicate"},
		{"a field in another case is another field", `"layers":`, `"Layers":`, "0 layers"},
		{"digest of another kind", "sha256:a", "sha512:a", "digest"},
		{"digest in upper case", "sha256:aa", "sha256:AA", "digest"},
		{"a short digest", "sha256:aa", "sha256:a", "digest"},
		{"size zero", "4711", "0", "a layer of 0 bytes"},
		{"size negative", "4711", "-1", "a layer of -1 bytes"},
		{"too large", "4711", "67108865", "a layer of 67108865 bytes"},
		{"a huge configuration", `"size":2`, `"size":1048577`, "configuration"},
		{"another layer type", "layer.v1.tar+gzip", "layer.v1.tar+zstd", "zstd"},
		{"invalid UTF-8", "production", "prod\xffuction", "UTF-8"},
		{"a huge manifest", "{", "{" + strings.Repeat(" ", MaxManifest), "more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseManifest([]byte(strings.Replace(golden, test.old, test.new, 1)))
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeBadManifest || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s that says %q", err, CodeBadManifest, test.want)
			}
		})
	}
}

func TestValidDigest(t *testing.T) {
	for text, want := range map[string]bool{
		layerDigest: true, Digest(nil): true, "": false, "sha256:": false, layerDigest + "a": false, "sha256:" + strings.Repeat("g", 64): false,
	} {
		if ValidDigest(text) != want {
			t.Errorf("ValidDigest(%q) is not %v", text, want)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(strings.Replace(golden, "4711", "1e3", 1)))
	f.Add([]byte(`{"schemaVersion":2,"layers":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			if m.Digest() != Digest(nil) {
				t.Error("an error and a manifest")
			}
			return
		}
		again, err := ParseManifest(m.Bytes())
		if err != nil || again.Digest() != Digest(data) || again.Layer.Digest != m.Layer.Digest || !ValidDigest(m.Layer.Digest) {
			t.Errorf("read again: %+v, %v", again, err)
		}
	})
}
