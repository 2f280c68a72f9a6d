package bundle_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"
	"pgregory.net/rapid"

	"github.com/westworld-charter/charter/internal/bundle"
)

const manifest = `{"revision":"mini-1.0.0+ab12cd34ef56","roots":["charter"],"rego_version":1}`

// golden is the layer digest of [sample].
const golden = "sha256:3e2d0b0422a378db11019ef307392a4632743cc9941eb608d6f2cfa9e98288c2"

func sample() map[string][]byte {
	return map[string][]byte{
		".manifest":                      []byte(manifest),
		"charter.yaml":                   []byte("apiVersion: charter/v1\n"),
		"data.json":                      []byte(`{"charter":{"tables":{}}}`),
		"charter/decision.rego":          []byte("package charter\n\ndecision := {\"allow\": false}\n"),
		"charter/patterns/patterns.rego": []byte("package charter.patterns\n"),
	}
}

func newBundle(t testing.TB, files map[string][]byte) *bundle.Bundle {
	t.Helper()
	b, err := bundle.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func archive(t testing.TB, b *bundle.Bundle) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.WriteTar(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// code returns the code of a bundle error, "" for nil.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*bundle.Error](err)
	if !ok {
		t.Fatalf("not a bundle error: %v", err)
	}
	return e.Code
}

func contents(b *bundle.Bundle) map[string]string {
	all := map[string]string{}
	for _, p := range b.Paths() {
		data, _ := b.File(p)
		all[p] = string(data)
	}
	return all
}

func TestAccessors(t *testing.T) {
	files := sample()
	b := newBundle(t, files)
	files["data.json"][0] = 'X' // the bundle has its own copy
	if data, ok := b.File("data.json"); !ok || data[0] != '{' {
		t.Error("a bundle changed after it was made")
	}
	if _, ok := b.File("absent"); ok {
		t.Error("a file that is not there was found")
	}
	if got, want := b.Modules(), []string{"charter/decision.rego", "charter/patterns/patterns.rego"}; !slices.Equal(got, want) {
		t.Errorf("modules %v", got)
	}
	m := b.Manifest()
	m.Roots[0] = "other"
	if m = b.Manifest(); m.Revision != "mini-1.0.0+ab12cd34ef56" || m.RegoVersion != 1 || !slices.Equal(m.Roots, []string{"charter"}) {
		t.Errorf("manifest %+v", m)
	}
}

// Files that only some readers see, or see elsewhere, would let a bundle mean
// two things.
func TestPaths(t *testing.T) {
	for p, want := range map[string]string{
		"a.rego": "", "charter/x/y-z_1.rego": "", strings.Repeat("a", 95) + ".rego": "",
		strings.Repeat("a", 96) + ".rego": bundle.CodeBadPath,
		"":                                bundle.CodeBadPath,
		"/a.rego":                         bundle.CodeBadPath,
		"../a.rego":                       bundle.CodeBadPath,
		"..":                              bundle.CodeBadPath,
		".":                               bundle.CodeBadPath,
		"a/../b.rego":                     bundle.CodeBadPath,
		"./a.rego":                        bundle.CodeBadPath,
		"a//b.rego":                       bundle.CodeBadPath,
		"a.rego/":                         bundle.CodeBadPath,
		`a\b.rego`:                        bundle.CodeBadPath,
		"c:/a.rego":                       bundle.CodeBadPath,
		"a b.rego":                        bundle.CodeBadPath,
		"ä.rego":                          bundle.CodeBadPath,
		"a\x00.rego":                      bundle.CodeBadPath,
		"policy.wasm":                     bundle.CodeUnexpectedFile,
		"patch.json":                      bundle.CodeUnexpectedFile,
		"data.yaml":                       bundle.CodeUnexpectedFile,
		"charter/data.json":               bundle.CodeUnexpectedFile,
		"charter/.manifest":               bundle.CodeUnexpectedFile,
		"README.md":                       bundle.CodeUnexpectedFile,
		".signatures.json":                bundle.CodeJWTBundle,
		"Charter/decision.rego":           bundle.CodeDuplicatePath,
		"charter/decision.rego/x.rego":    bundle.CodeDuplicatePath,
	} {
		files := sample()
		files[p] = []byte("package charter")
		_, err := bundle.New(files)
		if got := code(t, err); got != want {
			t.Errorf("%q: code %q, want %q", p, got, want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("a long error: %v", err)
		}
	}
}

func TestManifest(t *testing.T) {
	for text, want := range map[string]string{
		manifest: "",
		`{"revision":"r","roots":["charter"],"rego_version":1,"metadata":{"built_with":{"opa":"1"}}}`: "",
		``:   bundle.CodeBadManifest,
		`[]`: bundle.CodeBadManifest,
		`{`:  bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":1`:                                        bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":1}{}`:                                     bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":1,"wasm":[]}`:                             bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":1,"file_rego_versions":{"a.rego":0}}`:     bundle.CodeBadManifest,
		`{"revision":"r","Revision":"s","roots":["charter"],"rego_version":1}`:                        bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"roots":["charter"],"rego_version":1}`:                   bundle.CodeBadManifest,
		`{"revision":1,"roots":["charter"],"rego_version":1}`:                                         bundle.CodeBadManifest,
		`{"revision":null,"roots":["charter"],"rego_version":1}`:                                      bundle.CodeBadManifest,
		`{"revision":"","roots":["charter"],"rego_version":1}`:                                        bundle.CodeBadManifest,
		`{"revision":"a\nb","roots":["charter"],"rego_version":1}`:                                    bundle.CodeBadManifest,
		`{"revision":"` + strings.Repeat("r", 257) + `","roots":["charter"],"rego_version":1}`:        bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"]}`:                                                        bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":0}`:                                       bundle.CodeBadManifest,
		`{"revision":"r","roots":["charter"],"rego_version":1,"` + strings.Repeat("x", 2000) + `":1}`: bundle.CodeBadManifest,
		`{"revision":"r","rego_version":1}`:                                                           bundle.CodeBadRoots,
		`{"revision":"r","roots":[],"rego_version":1}`:                                                bundle.CodeBadRoots,
		`{"revision":"r","roots":[""],"rego_version":1}`:                                              bundle.CodeBadRoots,
		`{"revision":"r","roots":["charter","charter_state"],"rego_version":1}`:                       bundle.CodeBadRoots,
		`{"revision":"r","roots":["charter/tables"],"rego_version":1}`:                                bundle.CodeBadRoots,
	} {
		files := sample()
		files[".manifest"] = []byte(text)
		_, err := bundle.New(files)
		if got := code(t, err); got != want {
			t.Errorf("%.100s: code %q, want %q", text, got, want)
		}
	}
	files := sample()
	delete(files, ".manifest")
	if _, err := bundle.New(files); code(t, err) != bundle.CodeMissingManifest {
		t.Errorf("no manifest: %v", err)
	}
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	segment := rapid.StringMatching(`[a-zA-Z0-9_-]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		files := map[string][]byte{".manifest": []byte(manifest)}
		for range rapid.IntRange(0, 12).Draw(t, "files") {
			path := strings.ToLower(strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), "/")) + ".rego"
			files[path] = rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "data")
		}
		b, err := bundle.New(files)
		if err != nil {
			t.Fatal(err)
		}
		var first, second bytes.Buffer
		if err := b.WriteTar(&first); err != nil {
			t.Fatal(err)
		}
		back, err := bundle.Read(bytes.NewReader(first.Bytes()), bundle.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(contents(b), contents(back)) {
			t.Fatal("a file was lost or changed")
		}
		if err := back.WriteTar(&second); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) || b.LayerDigest() != back.LayerDigest() {
			t.Fatal("one bundle, two archives")
		}
	})
}

// The digest is what people sign and vote on: it must be a function of the
// files alone, and of all of them.
func TestLayerDigest(t *testing.T) {
	want := newBundle(t, sample()).LayerDigest()
	if !strings.HasPrefix(want, "sha256:") || len(want) != len("sha256:")+64 {
		t.Fatalf("digest %q", want)
	}
	local := time.Local //nolint:gosmopolitan // what the test is about
	defer func() { time.Local = local }()
	time.Local = time.FixedZone("elsewhere", 13*3600)
	dir := t.TempDir()
	if err := newBundle(t, sample()).WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	opened, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := opened.LayerDigest(); got != want {
		t.Errorf("in another place and zone the digest is %s, want %s", got, want)
	}
	for p := range sample() {
		files := sample()
		files[p] = append(files[p], '\n')
		if newBundle(t, files).LayerDigest() == want {
			t.Errorf("a change of %s does not show in the digest", p)
		}
	}
	// Bytes that users have signed must not change with a release of Charter. A
	// new compressor is a new format and belongs into the changelog.
	if want != golden {
		t.Errorf("the archive of the same files is now %s", want)
	}
}

func TestStockOPALoadsIt(t *testing.T) {
	got, err := opabundle.NewReader(bytes.NewReader(archive(t, newBundle(t, sample())))).Read()
	if err != nil {
		t.Fatal(err)
	}
	if got.Manifest.Revision != "mini-1.0.0+ab12cd34ef56" || len(got.Modules) != 2 || fmt.Sprint(got.Data) != "map[charter:map[tables:map[]]]" {
		t.Errorf("stock OPA sees revision %s, %d modules, data %v", got.Manifest.Revision, len(got.Modules), got.Data)
	}
}

type fullDisk struct{ left int }

func (w *fullDisk) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// An archive cut short must never be reported as written.
func TestWriteTarReportsEveryError(t *testing.T) {
	b := newBundle(t, sample())
	for left := range len(archive(t, b)) {
		if err := b.WriteTar(&fullDisk{left: left}); code(t, err) != bundle.CodeIO {
			t.Fatalf("no error with a disk of %d bytes: %v", left, err)
		}
	}
}
