package distribution

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/oci"

	"github.com/westworld-charter/charter/internal/release"
)

// pack writes releases as a packed layout.
func pack(t testing.TB, releases ...Release) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteLayout(&b, releases...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tagged(r Release, tag string) Release {
	r.Tag = tag
	return r
}

func TestSaveAndLoad(t *testing.T) {
	release1, rollback, o := newRelease(t, "r1", 3), newRelease(t, "r0", 2), quiet(t)
	for name, from := range everyTarget(t) {
		t.Run(name, func(t *testing.T) {
			if !from.tagged() {
				t.Skip("one archive is one release")
			}
			publish(t, from.WithTag("production"), release1, o)
			publish(t, from.WithTag("rollback"), rollback, o)
			var saved, again bytes.Buffer
			for _, w := range []*bytes.Buffer{&saved, &again} {
				if err := Save(t.Context(), w, o, from.WithTag("production"), from.WithTag("rollback")); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(saved.Bytes(), again.Bytes()) {
				t.Error("saving the same twice gives other bytes")
			}
			for name, to := range everyTarget(t) {
				if !to.tagged() {
					continue
				}
				to = to.WithTag("")
				results, err := Load(t.Context(), bytes.NewReader(saved.Bytes()), int64(saved.Len()), to, o)
				if err != nil || len(results) != 2 {
					t.Fatalf("load into %s: %d results, %v", name, len(results), err)
				}
				sameRelease(t, to.WithTag("production"), o, release1)
				sameRelease(t, to.WithTag("rollback"), o, rollback)
				results, err = Load(t.Context(), bytes.NewReader(saved.Bytes()), int64(saved.Len()), to, o)
				if err != nil || results[0].Uploaded+results[1].Uploaded != 0 || results[0].Attached != 0 {
					t.Errorf("loading twice into %s: %+v, %v", name, results, err)
				}
				_, err = Load(t.Context(), bytes.NewReader(saved.Bytes()), int64(saved.Len()), to.WithTag("x"), o)
				wantCode(t, err, CodeBadReference)
			}
		})
	}
}

func TestLoadWithoutTags(t *testing.T) {
	a, b, o := newRelease(t, "a", 1), newRelease(t, "b", 1), quiet(t)
	dir := t.TempDir()
	var refs []Ref
	for name, r := range map[string]Release{"a": a, "b": b} {
		refs = append(refs, mustRef(t, filepath.Join(dir, name+".tar.gz")))
		publish(t, refs[len(refs)-1], r, o)
	}
	var both, one bytes.Buffer
	if err := errors.Join(Save(t.Context(), &both, o, refs...), Save(t.Context(), &one, o, mustRef(t, filepath.Join(dir, "a.tar.gz")))); err != nil {
		t.Fatal(err)
	}
	to := serve(t, inProcess(true)).ref(t, "charter")
	if _, err := Load(t.Context(), bytes.NewReader(both.Bytes()), int64(both.Len()), to, o); err != nil {
		t.Fatal(err)
	}
	sameRelease(t, to.WithDigest(a.Manifest.Digest()), o, a)
	sameRelease(t, to.WithDigest(b.Manifest.Digest()), o, b)
	_, err := Fetch(t.Context(), to, o)
	wantCode(t, err, CodeNotFound)
	for _, to := range []Ref{to, to.WithTag("production")} {
		if _, err := Load(t.Context(), bytes.NewReader(one.Bytes()), int64(one.Len()), to, o); err != nil {
			t.Fatal(err)
		}
		sameRelease(t, to, o, a)
	}
	var again bytes.Buffer
	if err := Save(t.Context(), &again, o, to); err != nil {
		t.Fatal(err)
	}
	saved, err := ReadLayout(bytes.NewReader(again.Bytes()), int64(again.Len()), Limits{})
	if err != nil || saved[0].Tag != "latest" {
		t.Errorf("saved as %q, %v", saved[0].Tag, err)
	}
}

// What others attached goes along, byte by byte.
func TestSaveTakesEverythingThatRefers(t *testing.T) {
	c, o := serve(t, inProcess(true)), quiet(t)
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)
	publish(t, ref, r, o)
	sbom := newReferrer(subjectOf(r.Manifest), []byte(`{"spdxVersion":"SPDX-2.3"}`))
	var m referrerManifest
	decode(t, sbom.manifest, &m)
	m.ArtifactType, m.Layers[0].MediaType = "application/spdx+json", "application/spdx+json"
	sbom.manifest, _ = json.Marshal(m)
	attachRaw(t, ref, r, []artifact{sbom}, o)

	file := filepath.Join(t.TempDir(), "release.tar")
	save(t, file, o, ref)
	to := serve(t, inProcess(true)).ref(t, "charter")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), bytes.NewReader(data), int64(len(data)), to, o); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []Ref{ref, mustRef(t, file), to.WithTag("production")} {
		sameRelease(t, ref, o, r)
		tree, err := Tree(t.Context(), ref, o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(tree.Referrers, func(n Node) bool {
			return n.Digest == release.Digest(sbom.manifest) && n.ArtifactType == m.ArtifactType
		}) {
			t.Errorf("%s has lost what refers to it: %+v", ref, tree.Referrers)
		}
	}
}

func save(t testing.TB, file string, o Options, refs ...Ref) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Save(t.Context(), f, o, refs...); err != nil {
		t.Fatal(err)
	}
}

func TestReferencesIntoALayout(t *testing.T) {
	a, b, o := tagged(newRelease(t, "a", 1), "one"), tagged(newRelease(t, "b", 2), "two"), quiet(t)
	dir := t.TempDir()
	both, single := filepath.Join(dir, "both.tar"), filepath.Join(dir, "single.tar")
	write(t, both, string(pack(t, a, b)))
	write(t, single, string(pack(t, tagged(a, ""))))
	sameRelease(t, mustRef(t, both+":one"), o, a)
	sameRelease(t, mustRef(t, both+":two"), o, b)
	sameRelease(t, mustRef(t, both+"@"+b.Manifest.Digest()), o, b)
	sameRelease(t, mustRef(t, single), o, a)
	for text, code := range map[string]string{
		both:                           CodeBadReference, // which?
		both + ":three":                CodeNotFound,
		both + "@" + someDigest:        CodeNotFound,
		single + ":one":                CodeNotFound,
		filepath.Join(dir, "none.tar"): CodeNotFound,
		filepath.Join(dir, "none"):     CodeNotFound,
		dir:                            CodeBadLayout,
	} {
		_, err := Fetch(t.Context(), mustRef(t, text), o)
		wantCode(t, err, code)
	}
	_, err := Fetch(t.Context(), mustRef(t, both), o)
	if !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("the error does not name the tags: %v", err)
	}
	_, err = Push(t.Context(), mustRef(t, single), a.Manifest, a.Layer, nil, o)
	wantCode(t, err, CodeUnsupported)
	if err := WriteLayout(&bytes.Buffer{}, a, tagged(b, "one")); codeOf(err) != CodeBadReference {
		t.Errorf("two releases with one tag: %v", err)
	}
}

// oras finds in our layout what refers to a release, and we in that of oras.
func TestLayoutsOfOras(t *testing.T) {
	r, o := tagged(newRelease(t, "r1", 2), "production"), quiet(t)
	file := filepath.Join(t.TempDir(), "release.tar")
	write(t, file, string(pack(t, r)))
	store, err := oci.NewFromTar(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	found, err := store.Predecessors(t.Context(), ociDescriptor(subjectOf(r.Manifest)))
	if err != nil || len(found) != 2 {
		t.Errorf("oras finds %d referrers (%v), want 2", len(found), err)
	}
	if d, err := store.Resolve(context.Background(), "production"); err != nil || d.Digest.String() != r.Manifest.Digest() {
		t.Errorf("oras finds %s (%v)", d.Digest, err)
	}
	dir := filepath.Join(t.TempDir(), "layout") // written by oras, see openTarget
	publish(t, mustRef(t, dir+":production"), r, o)
	sameRelease(t, mustRef(t, dir), o, r)
}

// A registry without referrers API keeps the list under a tag; what copies whole
// repositories brings that tag along.
func TestAListOfReferrersUnderATag(t *testing.T) {
	r := newRelease(t, "r1", 1)
	referrers, err := r.artifacts()
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{describe(referrers[0])}})
	if err != nil {
		t.Fatal(err)
	}
	list = bytes.Replace(list, []byte(`"schemaVersion":0`), []byte(`"schemaVersion":2`), 1)
	image := subjectOf(r.Manifest)
	image.Annotations = map[string]string{ocispec.AnnotationRefName: "production"}
	tag := release.Descriptor{
		MediaType: ocispec.MediaTypeImageIndex, Digest: release.Digest(list), Size: int64(len(list)),
		Annotations: map[string]string{ocispec.AnnotationRefName: referrersTag(r.Manifest.Digest())},
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []release.Descriptor{image, tag}})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index}
	for _, data := range [][]byte{r.Manifest.Bytes(), release.Config(), r.Layer, list, referrers[0].manifest, referrers[0].blobs[0], referrers[0].blobs[1]} {
		files[blobPath(release.Digest(data))] = data
	}
	file := filepath.Join(t.TempDir(), "release.tar")
	write(t, file, string(tarOf(t, files)))
	sameRelease(t, mustRef(t, file+":production"), quiet(t), r)
}

// tarOf packs files as any tar does, directories included.
func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "./blobs/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBadLayouts(t *testing.T) {
	r := tagged(newRelease(t, "r1", 1), "production")
	good := pack(t, r)
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	small := Limits{Layout: 1000}
	for name, tc := range map[string]struct {
		data []byte
		lim  Limits
		code string
	}{
		"empty":             {nil, Limits{}, CodeBadLayout},
		"no tar":            {[]byte(strings.Repeat("x", 2048)), Limits{}, CodeBadLayout},
		"half a tar":        {good[:len(good)/2], Limits{}, CodeBadLayout},
		"too large":         {good, small, CodeTooLarge},
		"no index":          {tarOf(t, map[string][]byte{"oci-layout": layout}), Limits{}, CodeBadLayout},
		"another version":   {tarOf(t, map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"9"}`)}), Limits{}, CodeBadLayout},
		"a broken index":    {tarOf(t, map[string][]byte{"oci-layout": layout, "index.json": []byte("{")}), Limits{}, CodeBadLayout},
		"an index of none":  {tarOf(t, map[string][]byte{"oci-layout": layout, "index.json": []byte(`{"schemaVersion":2}`)}), Limits{}, CodeNotFound},
		"an odd digest":     {tarOf(t, map[string][]byte{"oci-layout": layout, "index.json": []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`)}), Limits{}, CodeBadLayout},
		"a large index":     {tarOf(t, map[string][]byte{"oci-layout": layout, "index.json": bytes.Repeat([]byte(" "), 2<<20)}), Limits{}, CodeTooLarge},
		"a file twice":      {slices.Concat(good[:len(good)-1024], good), Limits{}, CodeBadLayout},
		"a flipped layer":   {bytes.Replace(good, r.Layer[20:40], flip(r.Layer[20:40]), 1), Limits{}, CodeLayerDigestMismatch},
		"a flipped release": {bytes.Replace(good, []byte(`"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest`), []byte(`"schemaVersion":2,"mediaType":"application/vnd.oci.image.nanifest`), 1), Limits{}, CodeNotFound},
		"too many refer":    {pack(t, tagged(newRelease(t, "r1", 5), "x")), Limits{Referrers: 4}, CodeTooManyReferrers},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadLayout(bytes.NewReader(tc.data), int64(len(tc.data)), tc.lim)
			wantCode(t, err, tc.code)
		})
	}
	if _, err := ReadLayout(bytes.NewReader(good), int64(len(good)), Limits{}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// What lies in a layout under a digest is that, or nothing.
func TestALayoutThatWasTamperedWith(t *testing.T) {
	a, b, o := newRelease(t, "a", 1), newRelease(t, "b", 1), quiet(t)
	dir := filepath.Join(t.TempDir(), "layout")
	ref := mustRef(t, dir+":production")
	referrer := newReferrer(subjectOf(a.Manifest), a.Statements[0])
	for name, tc := range map[string]struct {
		digest string
		data   []byte
		code   string
	}{
		"another manifest":  {a.Manifest.Digest(), b.Manifest.Bytes(), CodeManifestDigestMismatch},
		"another archive":   {a.Manifest.Layer.Digest, b.Layer, CodeLayerDigestMismatch},
		"another statement": {release.Digest(a.Statements[0]), b.Statements[0], CodeStatementDigestMismatch},
		"another referrer":  {release.Digest(referrer.manifest), append(bytes.Clone(referrer.manifest), ' '), CodeStatementDigestMismatch},
		"no archive":        {a.Manifest.Layer.Digest, nil, CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			publish(t, ref, a, o)
			blob := filepath.Join(dir, filepath.FromSlash(blobPath(tc.digest)))
			if err := os.Remove(blob); err != nil {
				t.Fatal(err)
			}
			if tc.data != nil {
				write(t, blob, string(tc.data))
			}
			for _, ref := range []Ref{ref, ref.WithDigest(a.Manifest.Digest())} {
				_, err := Fetch(t.Context(), ref, o)
				wantCode(t, err, tc.code)
			}
		})
	}
}

// Nothing outside of a layout directory is read.
func TestALayoutThatPointsOutside(t *testing.T) {
	r, dir, o := newRelease(t, "r1", 0), t.TempDir(), quiet(t)
	publish(t, mustRef(t, filepath.Join(dir, "layout:production")), r, o)
	blob := filepath.Join(dir, "layout", filepath.FromSlash(blobPath(r.Manifest.Layer.Digest)))
	if err := os.Rename(blob, filepath.Join(dir, "outside")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "outside"), blob); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), mustRef(t, filepath.Join(dir, "layout:production")), o); err == nil {
		t.Error("a link out of the layout was followed")
	}
}

func TestTree(t *testing.T) {
	r, o := newRelease(t, "r1", 2), quiet(t)
	for name, ref := range everyTarget(t) {
		publish(t, ref, r, o)
		tree, err := Tree(t.Context(), ref, o)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Digest != r.Manifest.Digest() || tree.Tag != ref.Tag() || len(tree.Referrers) != 2 || tree.Layers[0].Digest != r.Manifest.Layer.Digest {
			t.Errorf("%s: %+v", name, tree)
		}
		for _, n := range tree.Referrers {
			if n.ArtifactType != BundleType || n.Annotations[predicateAnnotation] != release.SignatureType || n.Statement == nil {
				t.Errorf("%s: referrer %+v", name, n)
			}
		}
	}
}

func FuzzReadLayout(f *testing.F) {
	r := newRelease(f, "r1", 1)
	f.Add(pack(f, tagged(r, "production")))
	f.Add(pack(f, r, newRelease(f, "r2", 0)))
	f.Add(tarOf(f, map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": []byte(`{"schemaVersion":2,"manifests":[]}`)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		releases, err := ReadLayout(bytes.NewReader(data), int64(len(data)), Limits{Layout: 1 << 20})
		if err != nil {
			if !slices.Contains(Codes(), codeOf(err)) {
				t.Errorf("code %q", codeOf(err))
			}
			return
		}
		for _, r := range releases {
			if err := checkLayer(r.Manifest, r.Layer); err != nil {
				t.Error(err)
			}
		}
		// What was read can be written, unless tags collide, and read again.
		var b bytes.Buffer
		if err := WriteLayout(&b, releases...); err == nil {
			if _, err := ReadLayout(bytes.NewReader(b.Bytes()), int64(b.Len()), Limits{}); err != nil {
				t.Errorf("our own layout: %v", err)
			}
		}
	})
}

func FuzzReferrersIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"` + someDigest + `","size":1}]}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../x","size":-1}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseIndex(data)
		if err != nil {
			wantCode(t, err, CodeBadLayout)
			return
		}
		for _, d := range list {
			if p := blobPath(d.Digest); !filepath.IsLocal(p) || strings.Count(p, "/") != 2 {
				t.Errorf("digest %q leads to %q", d.Digest, p)
			}
		}
	})
}

func FuzzReadStatements(f *testing.F) {
	f.Add([]byte("{}\n{\"a\": 1}\n"))
	f.Add([]byte("{\n  \"mediaType\": \"x\"\n}"))
	f.Add([]byte("1 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadStatements(bytes.NewReader(data), Limits{})
		if err != nil {
			if code := codeOf(err); code != CodeBadStatements && code != CodeTooLarge && code != CodeTooManyStatements {
				t.Errorf("code %s", code)
			}
			return
		}
		encoded := EncodeStatements(list)
		again, err := ReadStatements(bytes.NewReader(encoded), Limits{})
		if err != nil || !bytes.Equal(EncodeStatements(again), encoded) || bytes.Count(encoded, []byte("\n")) != len(list) {
			t.Errorf("%q becomes %q and then %q (%v)", data, encoded, EncodeStatements(again), err)
		}
	})
}

func FuzzRevisionOf(f *testing.F) {
	f.Add(newRelease(f, "r1", 0).Layer)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifestOf(data)
		if err != nil {
			wantCode(t, err, CodeBadArchive)
		} else if m.Layer.Digest != release.Digest(data) {
			t.Error("another digest")
		}
	})
}
