package distribution

import (
	"slices"
	"strings"
	"testing"
)

// A node asks every few seconds: what it has must not cross the network again.
func TestAnUnchangedPollDownloadsNoBlob(t *testing.T) {
	for name, tc := range map[string]struct {
		api      bool
		requests int
	}{
		"referrers API": {true, 2},  // manifest, list
		"referrers tag": {false, 3}, // and the question whether there is an API
	} {
		t.Run(name, func(t *testing.T) {
			c, o := serve(t, inProcess(tc.api)), quiet(t)
			ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 3)
			publish(t, ref, r, o)
			source := open(t, ref, o)
			first := resolve(t, source, Resolved{})
			if first.Unchanged || len(first.Statements) != 3 {
				t.Fatalf("first answer: unchanged %t, %d statements", first.Unchanged, len(first.Statements))
			}
			if _, err := source.Layer(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			c.reset()

			second := resolve(t, source, first)
			requests, bytes := c.reset()
			if !second.Unchanged || second.Digest != first.Digest || !sameStatements(second.Statements, r.Statements) || string(second.Manifest) != string(first.Manifest) {
				t.Errorf("second answer differs: %+v", second)
			}
			noBlobs(t, requests)
			if len(requests) > tc.requests || bytes > 4096 {
				t.Errorf("an unchanged poll took %d bytes in %q", bytes, requests)
			}
			t.Logf("unchanged poll: %d bytes, %q", bytes, requests)
		})
	}
}

func noBlobs(t *testing.T, requests []string) {
	t.Helper()
	for _, r := range requests {
		if strings.Contains(r, "/blobs/") {
			t.Errorf("a blob was asked for: %s", r)
		}
	}
}

// After a restart the node has everything on disk.
func TestAfterARestartNothingLargeIsDownloaded(t *testing.T) {
	c, o := serve(t, inProcess(true)), quiet(t)
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)
	publish(t, ref, r, o)
	disk := Resolved{Digest: r.Manifest.Digest(), Manifest: r.Manifest.Bytes(), Statements: r.Statements}
	c.reset()
	if got := resolve(t, open(t, ref, o), disk); !got.Unchanged {
		t.Error("what is on disk counts as changed")
	}
	requests, _ := c.reset()
	if slices.ContainsFunc(requests, func(r string) bool { return strings.Contains(r, "GET /v2/charter/manifests/production") }) {
		t.Errorf("the manifest on disk was downloaded again: %q", requests)
	}
}

func TestANewStatementIsSeenWithoutTheOldOnes(t *testing.T) {
	c, o := serve(t, inProcess(true)), quiet(t)
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 5)
	publish(t, ref, r, o)
	source := open(t, ref, o)
	first := resolve(t, source, Resolved{})
	added := newStatement(t, r.Manifest.Digest(), 99)
	if _, err := Attach(t.Context(), ref, r.Manifest.Digest(), [][]byte{added}, o); err != nil {
		t.Fatal(err)
	}
	c.reset()
	second := resolve(t, source, first)
	requests, _ := c.reset()
	if second.Unchanged || second.Digest != first.Digest || len(second.Statements) != 6 {
		t.Errorf("unchanged %t, %d statements; want a change and 6", second.Unchanged, len(second.Statements))
	}
	blobs := slices.DeleteFunc(requests, func(r string) bool { return !strings.Contains(r, "/blobs/") })
	if len(blobs) != 1 {
		t.Errorf("downloaded %q, want the new statement alone", blobs)
	}
}

func TestANewReleaseIsSeen(t *testing.T) {
	c, o := serve(t, inProcess(true)), quiet(t)
	ref := c.ref(t, "charter:production")
	publish(t, ref, newRelease(t, "r1", 1), o)
	source := open(t, ref, o)
	first := resolve(t, source, Resolved{})
	second := newRelease(t, "r2", 2)
	publish(t, ref, second, o)
	got := resolve(t, source, first)
	if got.Unchanged || got.Digest != second.Manifest.Digest() || len(got.Statements) != 2 {
		t.Errorf("got %s with %d statements, unchanged %t", got.Digest, len(got.Statements), got.Unchanged)
	}
	if layer, err := source.Layer(t.Context(), got); err != nil || string(layer) != string(second.Layer) {
		t.Errorf("layer: %v", err)
	}
	// The old answer is still good for its own layer.
	if _, err := source.Layer(t.Context(), first); err != nil {
		t.Errorf("layer of the release before: %v", err)
	}
}
