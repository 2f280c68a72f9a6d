package distribution

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
)

// everyTarget returns references of every kind that can be written to.
func everyTarget(t *testing.T) map[string]Ref {
	t.Helper()
	with, without := serve(t, inProcess(true)), serve(t, inProcess(false))
	return map[string]Ref{
		"registry":                       with.ref(t, "charter:production"),
		"registry without referrers API": without.ref(t, "charter:production"),
		"layout":                         mustRef(t, filepath.Join(t.TempDir(), "layout")+":production"),
		"archive":                        mustRef(t, filepath.Join(t.TempDir(), "charter.tar.gz")),
	}
}

func TestWhatIsPushedIsFetched(t *testing.T) {
	first, second := newRelease(t, "r1", 3), newRelease(t, "r2", 2)
	for name, ref := range everyTarget(t) {
		t.Run(name, func(t *testing.T) {
			o := quiet(t)
			result := publish(t, ref, first, o)
			if result.Digest != first.Manifest.Digest() || result.Uploaded == 0 || result.Attached != 3 {
				t.Errorf("first push: %+v", result)
			}
			sameRelease(t, ref, o, first)
			if again := publish(t, ref, first, o); again.Uploaded != 0 || again.Attached != 0 || again.Moved {
				t.Errorf("pushing the same again did something: %+v", again)
			}
			publish(t, ref, second, o)
			sameRelease(t, ref, o, second)
			if ref.tagged() {
				sameRelease(t, ref.WithDigest(first.Manifest.Digest()), o, first)
			}
		})
	}
}

func TestAttach(t *testing.T) {
	for name, ref := range everyTarget(t) {
		t.Run(name, func(t *testing.T) {
			o, r := quiet(t), newRelease(t, "r1", 1)
			publish(t, ref, r, o)
			r.Statements = append(r.Statements, newStatement(t, r.Manifest.Digest(), 7))
			for want := range slices.Backward([]int{0, 1}) {
				result, err := Attach(t.Context(), ref, r.Manifest.Digest(), r.Statements, o)
				if err != nil || result.Attached != want {
					t.Fatalf("attached %d (%v), want %d", result.Attached, err, want)
				}
				sameRelease(t, ref, o, r)
			}
			other := newRelease(t, "r2", 0)
			_, err := Attach(t.Context(), ref, other.Manifest.Digest(), r.Statements, o)
			if code := codeOf(err); err == nil || code != CodeNotFound && code != CodeManifestDigestMismatch {
				t.Errorf("attaching to a release that is not there: %v", err)
			}
		})
	}
}

// Whoever follows a tag finds the statements: it moves last.
func TestTheTagMovesLast(t *testing.T) {
	for _, api := range []bool{true, false} {
		c := serve(t, inProcess(api))
		publish(t, c.ref(t, "charter:production"), newRelease(t, "r1", 2), quiet(t))
		requests, _ := c.reset()
		last := requests[len(requests)-1]
		if !strings.HasPrefix(last, "PUT /v2/charter/manifests/production") {
			t.Errorf("the last request is %s, want the tag", last)
		}
	}
}

// A statement that somebody else attached, at another time, is the same statement.
func TestAStatementIsAttachedOnce(t *testing.T) {
	c, o := serve(t, inProcess(true)), quiet(t)
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)
	a := newReferrer(subjectOf(r.Manifest), r.Statements[0])
	a.manifest = bytes.Replace(a.manifest, []byte(referrerCreated), []byte("2026-01-02T03:04:05Z"), 1)
	publish(t, ref, Release{Manifest: r.Manifest, Layer: r.Layer}, o)
	attachRaw(t, ref, r, []artifact{a}, o)
	if result := publish(t, ref, r, o); result.Attached != 0 {
		t.Errorf("push attached it again: %+v", result)
	}
	if result, err := Attach(t.Context(), ref, r.Manifest.Digest(), r.Statements, o); err != nil || result.Attached != 0 {
		t.Errorf("attach attached it again: %+v, %v", result, err)
	}
}

func TestWhatCannotBePushed(t *testing.T) {
	ref, o := mustRef(t, filepath.Join(t.TempDir(), "layout")+":production"), quiet(t)
	good, other := newRelease(t, "r1", 1), newRelease(t, "r2", 0)
	foreign, err := release.ParseManifest(bytes.Replace(good.Manifest.Bytes(), []byte(release.Digest(release.Config())), []byte(someDigest), 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ref        Ref
		manifest   release.Manifest
		layer      []byte
		statements [][]byte
		code       string
	}{
		"another archive":             {ref, good.Manifest, other.Layer, nil, CodeLayerDigestMismatch},
		"no manifest":                 {ref, release.Manifest{}, good.Layer, nil, CodeUnsupported},
		"another configuration":       {ref, foreign, good.Layer, nil, CodeUnsupported},
		"pinned to something else":    {ref.WithDigest(someDigest), good.Manifest, good.Layer, nil, CodeBadReference},
		"an archive nobody may fetch": {ref, release.NewManifest(someDigest, release.MaxLayer+1, "r"), good.Layer, nil, CodeBadManifest},
		"a statement that is none":    {ref, good.Manifest, good.Layer, [][]byte{[]byte("nonsense")}, CodeBadStatements},
		"a server":                    {mustRef(t, "http://127.0.0.1:1/charter"), good.Manifest, good.Layer, nil, CodeUnsupported},
		"a packed layout":             {mustRef(t, "x.tar"), good.Manifest, good.Layer, nil, CodeUnsupported},
		"below what is not there":     {mustRef(t, filepath.Join(t.TempDir(), "none", "a.tar.gz")), good.Manifest, good.Layer, nil, CodeNotFound},
		"an archive of another form":  {mustRef(t, filepath.Join(t.TempDir(), "a.tar.gz")), release.NewManifest(good.Manifest.Layer.Digest, good.Manifest.Layer.Size, "else"), good.Layer, nil, CodeUnsupported},
	} {
		_, err := Push(t.Context(), tc.ref, tc.manifest, tc.layer, tc.statements, o)
		if err == nil || codeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
}
