package activation

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/releases"
)

// A release is in force one poll after it was published, and after a restart without
// any network.
func TestActivates(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	if code := n.poll(t); code != "not_found" {
		t.Fatalf("before anything is published: %q", code)
	}
	n.serves(t, 0)
	n.wantEvents(t, "degraded not_found")

	first := w.publish(t, releases.Release{Version: 1, Sequence: 1})
	if code := n.poll(t); code != "" {
		t.Fatal(code)
	}
	n.serves(t, 1)
	n.wantEvents(t, "activated", "recovered not_found")
	n.problem(t, "")
	s := n.Status()
	if s.Digest != first.Digest() || s.Sequence != 1 || s.Channel != releases.Channel || s.HighWater != (Mark{releases.Channel, 1, s.Digest}) ||
		s.Revision == "" || s.CharterDigest == "" || s.LayerDigest == "" || !s.Activated.Equal(noon()) || !s.LastChecked.Equal(noon()) || s.Expires.IsZero() {
		t.Errorf("%+v", s)
	}

	w.publish(t, releases.Release{Version: 2, Sequence: 3})
	if code := n.poll(t); code != "" {
		t.Fatal(code)
	}
	n.serves(t, 2)
	n.wantEvents(t, "activated")

	w.registry.Lie(silence)
	n.start(t)
	n.serves(t, 2)
	n.wantEvents(t, "activated")
	n.problem(t, "")
	if code := n.poll(t); code != "unreachable" {
		t.Errorf("code %q", code)
	}
	n.poll(t)
	n.serves(t, 2)
	n.wantEvents(t, "degraded unreachable")
	n.problem(t, "unreachable")
	w.registry.Lie(nil)
	n.poll(t)
	n.wantEvents(t, "recovered unreachable")
	n.problem(t, "")
}

// What did not change costs nothing: no layer, no statement, no manifest again, also
// after a restart.
func TestNothingIsFetchedTwice(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	made := w.publish(t, releases.Release{Version: 1, Sequence: 1})
	n.poll(t)
	before, manifests := w.registry.Gets("/blobs/"), w.registry.Gets("/manifests/")
	for range 5 {
		n.poll(t)
	}
	n.Source = w.registry.Source(t, w.registry.Ref(t, releases.Channel))
	n.start(t)
	n.poll(t)
	if got := w.registry.Gets(made.Manifest.Layer.Digest); got != 1 {
		t.Errorf("the layer was fetched %d times", got)
	}
	// The restarted source reads the statements again: they are small.
	if got := w.registry.Gets("/blobs/") - before; got > len(made.Statements) {
		t.Errorf("%d blobs were fetched again", got)
	}
	if got := w.registry.Gets("/manifests/") - manifests; got > 3 {
		t.Errorf("%d manifests were fetched again", got)
	}
}

// A rollback is signed beforehand: the older bundle with the next sequence. Nothing of
// it is fetched again.
func TestRollback(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	old := w.publish(t, releases.Release{Version: 1, Sequence: 1})
	n.poll(t)
	w.publish(t, releases.Release{Version: 2, Sequence: 3})
	n.poll(t)
	n.serves(t, 2)
	n.take()

	w.registry.Publish(t, releases.Channel, old)
	if code := n.poll(t); code != CodeOlderSequence {
		t.Errorf("an older release without a newer statement: %q", code)
	}
	n.serves(t, 2)
	if e := n.events[0]; e.Sequence != 1 || e.Digest != old.Digest() || e.Revision == "" || e.Channel != releases.Channel || !e.Time.Equal(noon()) {
		t.Errorf("the event does not say what was refused: %+v", e)
	}
	w.publish(t, releases.Release{Version: 1, Sequence: 4})
	if code := n.poll(t); code != "" {
		t.Errorf("the rollback: %q", code)
	}
	n.serves(t, 1)
	n.wantEvents(t, "refused older_sequence", "activated", "recovered older_sequence")
	if got := w.registry.Gets(old.Manifest.Layer.Digest); got != 1 {
		t.Errorf("the layer was fetched %d times", got)
	}
	if s := n.Status(); s.Sequence != 4 || s.HighWater.Sequence != 4 {
		t.Errorf("%+v", s)
	}
	// Release 3 is the past now.
	w.publish(t, releases.Release{Version: 2, Sequence: 3})
	if code := n.poll(t); code != CodeOlderSequence {
		t.Errorf("what was rolled back comes again: %q", code)
	}
	n.start(t)
	n.serves(t, 1)
}

// A bundle that is refused for its content is fetched once, however often it is
// offered; a registry that flips bytes may be better the next time.
func TestRefusedContentIsFetchedOnce(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	bad := w.publish(t, releases.Release{Version: 1, Sequence: 1, Edit: func(p *release.Policy) { p.Revision = "other" }})
	for range 3 {
		if code := n.poll(t); code != CodeRevisionMismatch {
			t.Errorf("code %q", code)
		}
	}
	if got := w.registry.Gets(bad.Manifest.Layer.Digest); got != 1 {
		t.Errorf("the layer was fetched %d times", got)
	}
	w.publish(t, releases.Release{Version: 1, Sequence: 3})
	if code := n.poll(t); code != "" {
		t.Errorf("the same bundle with a statement that is right: %q", code)
	}
	n.serves(t, 1)
}

// Newer statements about the release in force count only when they are about it, and
// the one that expires last counts.
func TestRenewals(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	soon, later := noon().Add(time.Hour), noon().Add(2*time.Hour)
	w.publish(t, releases.Release{Version: 1, Sequence: 1, Expires: soon})
	n.poll(t)
	n.take()
	w.publish(t, releases.Release{Version: 1, Sequence: 1, Expires: later})
	if code := n.poll(t); code != "" || !n.Status().Expires.Equal(later) {
		t.Errorf("the same sequence until later: %q, %+v", code, n.Status())
	}
	n.wantEvents(t, "renewed")
	w.publish(t, releases.Release{Version: 1, Sequence: 3, Edit: func(p *release.Policy) { p.Revision = "other" }})
	if code := n.poll(t); code != CodeRevisionMismatch {
		t.Errorf("another revision: %q", code)
	}
	w.publish(t, releases.Release{Version: 1, Sequence: 5, Edit: func(p *release.Policy) { p.CharterDigest = release.Digest(nil) }})
	if code := n.poll(t); code != CodeCharterMismatch {
		t.Errorf("another charter: %q", code)
	}
	if s := n.Status(); s.Sequence != 1 || s.HighWater.Sequence != 1 {
		t.Errorf("%+v", s)
	}
	n.serves(t, 1)
}

// The release in force and the one before are kept, and no others.
func TestCollects(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	var last []string
	for version := 1; version <= 4; version++ {
		m := w.publish(t, releases.Release{Version: version, Sequence: int64(2*version - 1)})
		n.poll(t)
		last = append(last, m.Digest())
	}
	want := last[2:]
	slices.Sort(want)
	if got, err := n.store.digests(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v: want %v", got, err, want)
	}
}

// Two processes on one directory would overwrite each other's mark.
func TestOneProcess(t *testing.T) {
	w := newWorld(t)
	w.node.start(t)
	if _, err := Open(t.Context(), w.node.Options); err == nil {
		t.Error("a second Activator took the directory")
	}
	if _, err := Open(t.Context(), Options{Dir: t.TempDir()}); err == nil {
		t.Error("options without a source were taken")
	}
}

// What a server verifies before it publishes is what nodes verify.
func TestVerifyRelease(t *testing.T) {
	key := releases.TrustedKey(t)
	trust := releases.Trust(t, releases.Channel, "", key)
	verify := func(r releases.Release, archive []byte) (Verified, string) {
		r.Key = key
		m := r.Make(t)
		if archive == nil {
			archive = m.Archive
		}
		v, err := VerifyRelease(t.Context(), trust, distribution.Resolved{Digest: m.Digest(), Manifest: m.Manifest.Bytes(), Statements: m.Statements}, archive, noon())
		if err != nil {
			return v, CodeOf(err)
		}
		return v, ""
	}
	v, code := verify(releases.Release{Version: 1, Sequence: 7}, nil)
	if code != "" || v.Sequence != 7 || v.Revision != v.Policy.Revision() || v.Bundle.LayerDigest() != v.LayerDigest || !slices.Equal(v.Signers, []string{"signer0"}) {
		t.Errorf("%q, %+v", code, v.Release)
	}
	for want, r := range map[string]releases.Release{
		CodeExpired: {Version: 1, Sequence: 1, Expires: noon()}, CodeWrongChannel: {Version: 1, Sequence: 1, Channel: "staging"},
		CodeMissingStatement: {Version: 1, Sequence: 1, Types: []string{release.SignatureType}},
	} {
		if _, code := verify(r, nil); code != want {
			t.Errorf("code %q, want %q", code, want)
		}
	}
	if _, code := verify(releases.Release{Version: 1, Sequence: 1}, releases.Archive(t, releases.Bundle(t, 2))); code != CodeLayerMismatch {
		t.Errorf("another archive: %q", code)
	}
}

// What is in the state file may be anybody's.
func FuzzStateFile(f *testing.F) {
	good := &store{dir: f.TempDir()}
	state := saved{Active: release.Digest(nil)}
	state.raise(Mark{"production", 3, release.Digest(nil)})
	if err := good.save(state); err != nil {
		f.Fatal(err)
	}
	f.Add(good.state)
	f.Add([]byte(`{"state":null,"sha256":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &store{dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(s.dir, stateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := s.load()
		if err != nil {
			return
		}
		if err := s.save(read); err != nil {
			t.Fatal(err)
		}
		if again, err := s.load(); err != nil || again.Active != read.Active || !slices.Equal(again.Marks, read.Marks) {
			t.Errorf("%+v, %v after %+v", again, err, read)
		}
	})
}
