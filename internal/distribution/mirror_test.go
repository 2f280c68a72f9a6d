package distribution

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestLayersComeFromMirrors(t *testing.T) {
	origin, mirror := serve(t, inProcess(true)), serve(t, inProcess(true))
	r, o := newRelease(t, "r1", 1), quiet(t)
	publish(t, origin.ref(t, "charter:production"), r, o)
	publish(t, mirror.ref(t, "copies/charter:production"), r, o)
	origin.reset()
	o.Mirrors = []string{mirror.ref(t, "copies/charter").String()}
	sameRelease(t, origin.ref(t, "charter:production"), o, r)
	requests, _ := origin.reset()
	for _, request := range requests {
		if strings.Contains(request, r.Manifest.Layer.Digest) {
			t.Errorf("the layer came from the origin: %s", request)
		}
	}
}

func TestAMirrorOfTheWholeRegistry(t *testing.T) {
	origin, mirror := serve(t, inProcess(true)), serve(t, inProcess(true))
	r, o := newRelease(t, "r1", 1), quiet(t)
	publish(t, mirror.ref(t, "policy/charter:production"), r, o)
	o.Mirrors = []string{"oci://" + strings.TrimPrefix(mirror.URL, "http://")}
	sameRelease(t, origin.ref(t, "policy/charter:production"), o, r)
}

func TestMirrorsThatCannotHelp(t *testing.T) {
	honest := inProcess(true)
	origin := serve(t, honest)
	r, o := newRelease(t, "r1", 1), quiet(t)
	publish(t, origin.ref(t, "charter:production"), r, o)
	lying := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r, "/blobs/") {
			replay(honest, w, r, flip)
			return true
		}
		return false
	}))
	empty, closed := serve(t, inProcess(true)), serve(t, inProcess(true))
	gone := closed.ref(t, "charter").String()
	closed.Close()
	o.Mirrors = []string{gone, empty.ref(t, "charter").String(), lying.ref(t, "charter").String(), filepath.Join(t.TempDir(), "no-layout")}
	sameRelease(t, origin.ref(t, "charter:production"), o, r)
}

func TestMirrorsAnswerWhenTheOriginDoesNot(t *testing.T) {
	origin, mirror := serve(t, inProcess(true)), serve(t, inProcess(true))
	old, current, o := newRelease(t, "r1", 1), newRelease(t, "r2", 1), quiet(t)
	ref := origin.ref(t, "charter:production")
	publish(t, ref, current, o)
	publish(t, mirror.ref(t, "charter:production"), old, o)
	o.Mirrors = []string{mirror.ref(t, "charter").String()}
	source := open(t, ref, o)
	if got := resolve(t, source, Resolved{}); got.Digest != current.Manifest.Digest() {
		t.Errorf("an old mirror hides the new release: got %s", got.Digest)
	}
	origin.Close()
	if got := resolve(t, source, Resolved{}); got.Digest != old.Manifest.Digest() {
		t.Errorf("without the origin: got %s, want what the mirror has", got.Digest)
	}
	mirror.Close()
	_, err := source.Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeUnreachable)
	if !strings.Contains(err.Error(), ref.String()) || !strings.Contains(err.Error(), o.Mirrors[0]) {
		t.Errorf("the error names not all that were asked: %v", err)
	}
	o.Mirrors = []string{"oci://"}
	_, err = Open(ref, o)
	wantCode(t, err, CodeBadReference)
}

// A directory or stick that somebody brings is a mirror, too.
func TestALayoutAsMirror(t *testing.T) {
	closed := serve(t, inProcess(true))
	ref := closed.ref(t, "charter:production")
	closed.Close()
	r, o := newRelease(t, "r1", 2), quiet(t)
	dir := filepath.Join(t.TempDir(), "layout")
	publish(t, mustRef(t, dir+":production"), r, o)
	o.Mirrors = []string{dir}
	sameRelease(t, ref, o, r)
}
