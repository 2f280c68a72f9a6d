package distribution

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAServerInTroubleIsAskedAgain(t *testing.T) {
	honest := inProcess(true)
	var troubles atomic.Int32
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r, "/manifests/production") && troubles.Add(1) <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}))
	o, r := quiet(t), newRelease(t, "r1", 1)
	publish(t, c.ref(t, "charter:production"), r, o)
	o.Limits.Retries = 2
	sameRelease(t, c.ref(t, "charter:production"), o, r)
	if troubles.Load() != 3 {
		t.Errorf("asked %d times, want twice in vain", troubles.Load())
	}
}

// Never a pause long enough to be stalling, and never an end.
func TestAServerThatDrips(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
				_, _ = w.Write([]byte(" "))
				w.(http.Flusher).Flush()
			}
		}
	}))
	o := quiet(t)
	o.Limits.Total = 200 * time.Millisecond
	for _, ref := range []Ref{c.ref(t, "charter:production"), mustRef(t, c.URL+"/charter")} {
		_, err := Fetch(t.Context(), ref, o)
		wantCode(t, err, CodeUnreachable)
	}
}

// A statement that is listed before it is everywhere is not forgotten.
func TestAStatementThatComesLate(t *testing.T) {
	honest := inProcess(true)
	var late atomic.Bool
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if late.Load() && isGet(r, "/manifests/sha256:") {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}))
	o, r := quiet(t), newRelease(t, "r1", 2)
	publish(t, c.ref(t, "charter:production"), r, o)
	source := open(t, c.ref(t, "charter:production"), o)
	late.Store(true)
	first := resolve(t, source, Resolved{})
	if len(first.Statements) != 0 {
		t.Fatalf("%d statements, want none yet", len(first.Statements))
	}
	late.Store(false)
	if second := resolve(t, source, first); second.Unchanged || len(second.Statements) != 2 {
		t.Errorf("unchanged %t with %d statements, want both now", second.Unchanged, len(second.Statements))
	}
}

// A registry that had a referrers API and answers 404 once must not pass for one whose
// releases nobody signed.
func TestAReferrersAPIThatGoesAway(t *testing.T) {
	honest := inProcess(true)
	var gone atomic.Bool
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if gone.Load() && isGet(r, "/referrers/") {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}))
	o, r := quiet(t), newRelease(t, "r1", 1)
	publish(t, c.ref(t, "charter:production"), r, o)
	source := open(t, c.ref(t, "charter:production"), o)
	first := resolve(t, source, Resolved{})
	gone.Store(true)
	_, err := source.Resolve(t.Context(), first, 0)
	wantCode(t, err, CodeBadResponse)
	c.reset()
	resolve(t, source, first)
	requests, _ := c.reset()
	if !slices.ContainsFunc(requests, func(r string) bool { return strings.Contains(r, "/manifests/sha256-") }) {
		t.Errorf("after that the list under the tag counts, asked was %q", requests)
	}
	gone.Store(false)
	resolve(t, source, first)
	requests, _ = c.reset()
	if !slices.ContainsFunc(requests, func(r string) bool { return strings.Contains(r, "/referrers/") && strings.HasSuffix(r, " 200") }) {
		t.Errorf("the API that came back is not used: %q", requests)
	}
}

// Without a referrers API, two who attach at a time overwrite the list of each other.
func TestALostListOfReferrersIsWrittenAgain(t *testing.T) {
	honest := inProcess(false)
	lost := 0
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") && lost < 2 {
			lost++
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	}))
	o, r := quiet(t), newRelease(t, "r1", 1)
	publish(t, c.ref(t, "charter:production"), r, o)
	sameRelease(t, c.ref(t, "charter:production"), o, r)

	lost = -100
	broken := newRelease(t, "r2", 1)
	_, err := Push(t.Context(), c.ref(t, "charter:production"), broken.Manifest, broken.Layer, broken.Statements, o)
	wantCode(t, err, CodeBadResponse)
	sameRelease(t, c.ref(t, "charter:production"), o, r) // the tag has not moved
}

// What nobody can have made is not even asked for.
func TestAListOfNonsense(t *testing.T) {
	honest := inProcess(true)
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if !isGet(r, "/referrers/") {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[{"digest":"../../../x","size":1},{"digest":"sha512:00","size":1},{"digest":"` + someDigest + `","size":70000}]}`))
		return true
	}))
	o := quiet(t)
	publish(t, c.ref(t, "charter:production"), newRelease(t, "r1", 0), o)
	c.reset()
	if got := resolve(t, open(t, c.ref(t, "charter:production"), o), Resolved{}); len(got.Statements) != 0 {
		t.Errorf("%d statements", len(got.Statements))
	}
	if requests, _ := c.reset(); len(requests) != 2 {
		t.Errorf("asked for more than the manifest and the list: %q", requests)
	}
}

// What was read of a long list is not read again after a failure.
func TestAFailureInTheMiddle(t *testing.T) {
	honest := inProcess(true)
	var blobs atomic.Int32
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r, "/blobs/") && blobs.Add(1) == 4 {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	}))
	o, r := quiet(t), newRelease(t, "r1", 5)
	publish(t, c.ref(t, "charter:production"), r, o)
	source := open(t, c.ref(t, "charter:production"), o)
	_, err := source.Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeUnreachable)
	c.reset()
	if got := resolve(t, source, Resolved{}); len(got.Statements) != 5 {
		t.Fatalf("%d statements", len(got.Statements))
	}
	requests, _ := c.reset()
	again := slices.DeleteFunc(requests, func(r string) bool { return !strings.Contains(r, "/blobs/") })
	if len(again) != 2 {
		t.Errorf("downloaded %d statements, want the 2 that were missing", len(again))
	}
}

func TestLimitsOfTheCaller(t *testing.T) {
	r := newRelease(t, "r1", 5)
	for name, ref := range everyTarget(t) {
		o := quiet(t)
		publish(t, ref, r, o)
		o.Limits.Layer = 100
		_, err := Fetch(t.Context(), ref, o)
		wantCode(t, err, CodeTooLarge)
		o = quiet(t)
		o.Limits.Statements = 1000
		_, err = Fetch(t.Context(), ref, o)
		wantCode(t, err, CodeTooLarge)
		o = quiet(t)
		o.Limits.Referrers = 4
		_, err = Fetch(t.Context(), ref, o)
		if code := codeOf(err); code != CodeTooManyReferrers && code != CodeTooManyStatements {
			t.Errorf("%s: 5 statements where 4 are allowed: %v", name, err)
		}
		// Nor is more attached than others would read.
		_, err = Attach(t.Context(), ref, r.Manifest.Digest(), [][]byte{newStatement(t, r.Manifest.Digest(), 9)}, o)
		if code := codeOf(err); code != CodeTooManyReferrers && code != CodeTooManyStatements {
			t.Errorf("%s: attaching one too many: %v", name, err)
		}
	}
}

func TestASourceIsSharedByMany(t *testing.T) {
	c, server := serve(t, inProcess(true)), serve(t, newBundleServer(newRelease(t, "r1", 2)))
	o, r := quiet(t), newRelease(t, "r1", 2)
	publish(t, c.ref(t, "charter:production"), r, o)
	for _, ref := range []Ref{c.ref(t, "charter:production"), mustRef(t, server.URL+"/charter")} {
		source := open(t, ref, o)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, err := source.Resolve(t.Context(), Resolved{}, 0)
				if err != nil || len(got.Statements) != 2 {
					t.Errorf("%d statements, %v", len(got.Statements), err)
					return
				}
				if _, err := source.Layer(t.Context(), got); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func TestProgress(t *testing.T) {
	r := newRelease(t, "r1", 0)
	for name, ref := range everyTarget(t) {
		o := quiet(t)
		publish(t, ref, r, o)
		var done, total int64
		o.Progress = func(what string, d, n int64) {
			if what != "download" || d > n {
				t.Errorf("%s: %s %d of %d", name, what, d, n)
			}
			done, total = d, n
		}
		if _, err := Fetch(t.Context(), ref, o); err != nil {
			t.Fatal(err)
		}
		if ref.kind == kindArchive {
			continue // is simply read
		}
		if done != total || total != r.Manifest.Layer.Size {
			t.Errorf("%s: ended at %d of %d, the layer has %d", name, done, total, r.Manifest.Layer.Size)
		}
	}
	// Large content is counted on its way up, too.
	b := newRelease(t, strings.Repeat("long ", 10), 0)
	b.Layer = append(b.Layer, make([]byte, 2<<20)...)
	b.Manifest = manifestFor(b.Layer)
	var up int64
	o := quiet(t)
	o.Progress = func(_ string, d, _ int64) { up = d }
	c := serve(t, inProcess(true))
	if _, err := Push(t.Context(), c.ref(t, "charter:big"), b.Manifest, b.Layer, nil, o); err != nil {
		t.Fatal(err)
	}
	if up != int64(len(b.Layer)) {
		t.Errorf("%d bytes went up, want %d", up, len(b.Layer))
	}
}
