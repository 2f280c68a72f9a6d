package activation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/tests/releases"
)

// twice is a node that had version 1 in force and has version 2, and is stopped.
func twice(t *testing.T) (w *world, old, active *releases.Made) {
	t.Helper()
	w = newWorld(t)
	w.node.start(t)
	old = w.publish(t, releases.Release{Version: 1, Sequence: 1})
	w.node.poll(t)
	active = w.publish(t, releases.Release{Version: 2, Sequence: 3})
	w.node.poll(t)
	w.node.serves(t, 2)
	w.node.stop(t)
	w.node.take()
	return w, old, active
}

// files are those of a release on disk.
func (n *node) file(m *releases.Made, name string) string {
	return (&store{dir: n.Dir}).path(m.Digest(), name)
}

func edit(t *testing.T, path string, change func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(data []byte) []byte {
	data[len(data)/2] ^= 4
	return data
}

// What is on disk is verified like what comes from the network: damage, an older
// release in the place of a newer one, a missing file and a lost mark are told apart,
// nothing older than what was in force comes back, and the network mends it.
func TestRestartVerifiesTheDisk(t *testing.T) {
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, code string
		serves     int
		spoil      func(t *testing.T, n *node, old, active *releases.Made)
	}{
		{"the files are those of the older release", CodeOlderOnDisk, 0, func(t *testing.T, n *node, old, active *releases.Made) {
			for _, name := range []string{manifestFile, archiveFile, statementsFile} {
				data, err := os.ReadFile(n.file(old, name))
				if err != nil {
					t.Fatal(err)
				}
				edit(t, n.file(active, name), func([]byte) []byte { return data })
			}
		}},
		{"the state file names the older release", CodeOlderOnDisk, 2, func(t *testing.T, n *node, old, _ *releases.Made) {
			s := &store{dir: n.Dir}
			state, err := s.load()
			if err != nil {
				t.Fatal(err)
			}
			state.Active = old.Digest()
			if err := s.save(state); err != nil {
				t.Fatal(err)
			}
		}},
		{"the archive alone is that of the older release", CodeDiskTampered, 0, func(t *testing.T, n *node, old, active *releases.Made) {
			edit(t, n.file(active, archiveFile), func([]byte) []byte { return old.Archive })
		}},
		{"a byte of the archive", CodeDiskTampered, 0, func(t *testing.T, n *node, _, active *releases.Made) {
			edit(t, n.file(active, archiveFile), flip)
		}},
		{"a byte of the manifest", CodeDiskTampered, 0, func(t *testing.T, n *node, _, active *releases.Made) {
			edit(t, n.file(active, manifestFile), flip)
		}},
		{"the statements are another release's", "subject_mismatch", 0, func(t *testing.T, n *node, old, active *releases.Made) {
			data, err := os.ReadFile(n.file(old, statementsFile))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, n.file(active, statementsFile), func([]byte) []byte { return data })
		}},
		{"the statements are empty", "unsigned", 0, func(t *testing.T, n *node, _, active *releases.Made) {
			edit(t, n.file(active, statementsFile), func([]byte) []byte { return nil })
		}},
		{"the archive is gone", CodeDiskIncomplete, 0, func(t *testing.T, n *node, _, active *releases.Made) { remove(t, n.file(active, archiveFile)) }},
		{"the manifest is gone", CodeDiskIncomplete, 0, func(t *testing.T, n *node, _, active *releases.Made) { remove(t, n.file(active, manifestFile)) }},
		{"the statements are gone", CodeDiskIncomplete, 0, func(t *testing.T, n *node, _, active *releases.Made) { remove(t, n.file(active, statementsFile)) }},
		{"the release is gone", CodeDiskIncomplete, 0, func(t *testing.T, n *node, _, active *releases.Made) { remove(t, n.file(active, "")) }},
		{"the state file is gone", CodeMarkLost, 2, func(t *testing.T, n *node, _, _ *releases.Made) { remove(t, filepath.Join(n.Dir, stateFile)) }},
		{"a byte of the state file", CodeMarkLost, 2, func(t *testing.T, n *node, _, _ *releases.Made) {
			edit(t, filepath.Join(n.Dir, stateFile), func(data []byte) []byte {
				var e envelope
				if err := json.Unmarshal(data, &e); err != nil {
					t.Fatal(err)
				}
				e.State[slices.Index(e.State, '3')] = '1'
				spoilt, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				return spoilt
			})
		}},
		{"the signer is not trusted any more", "untrusted_key", 0, func(t *testing.T, n *node, _, _ *releases.Made) {
			n.trust.Store(releases.Trust(t, releases.Channel, "", releases.StrangeKey(t)))
		}},
		{"the node belongs to another channel now", CodeWrongChannel, 0, func(t *testing.T, n *node, _, _ *releases.Made) {
			n.trust.Store(releases.Trust(t, "staging", "", releases.TrustedKey(t)))
		}},
		{"all of it is an older copy, and the ledger knows better", CodeOlderOnDisk, 0, func(t *testing.T, n *node, old, active *releases.Made) {
			n.Known = []Mark{{releases.Channel, 3, active.Digest()}}
			remove(t, n.file(active, ""))
			state := saved{Active: old.Digest()}
			state.raise(Mark{releases.Channel, 1, old.Digest()})
			if err := (&store{dir: n.Dir}).save(state); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, old, active := twice(t)
			n := w.node
			tc.spoil(t, n, old, active)
			w.registry.Lie(silence)
			for range 2 { // it is not better the second time
				n.start(t)
				n.serves(t, tc.serves)
				if tc.code != CodeMarkLost {
					n.problem(t, tc.code)
				}
				events := []string{"refused " + tc.code}
				if tc.code == CodeMarkLost {
					events = []string{"degraded mark_lost"}
				}
				if tc.serves != 0 {
					events = append(events, "activated")
				}
				n.wantEvents(t, events...)
				if tc.serves != 0 { // what was found is in force and on record now
					break
				}
			}
			w.registry.Lie(nil)
			n.trust.Store(releases.Trust(t, releases.Channel, "", w.key))
			if code := n.poll(t); code != "" {
				t.Fatalf("with the network: %q", code)
			}
			n.serves(t, 2)
			n.problem(t, "")
			w.registry.Lie(silence)
			n.start(t)
			n.serves(t, 2)
			n.problem(t, "")
		})
	}
}

// The next start may be without a network: what is on disk is looked at while there is
// one, and mended.
func TestMendsTheDisk(t *testing.T) {
	w, _, active := twice(t)
	n := w.node
	n.start(t)
	n.poll(t)
	n.take()
	edit(t, n.file(active, archiveFile), flip)
	n.poll(t)
	n.problem(t, CodeDiskTampered)
	n.poll(t)
	n.problem(t, "")
	if err := os.RemoveAll(n.file(active, "")); err != nil {
		t.Fatal(err)
	}
	w.registry.Lie(silence)
	n.poll(t)
	n.wantEvents(t, "degraded disk_tampered", "recovered disk_tampered", "degraded disk_incomplete", "degraded unreachable")
	n.start(t)
	n.serves(t, 2)
	n.problem(t, "")
}

// Without trust in what is on disk the older release must not be tempting.
func TestNeverBelowTheMark(t *testing.T) {
	w, old, active := twice(t)
	edit(t, w.node.file(active, archiveFile), flip)
	if _, err := os.Stat(w.node.file(old, archiveFile)); err != nil {
		t.Fatal("the release before is kept, so that a rollback costs nothing:", err)
	}
	w.node.start(t)
	w.node.serves(t, 0)
	w.registry.Publish(t, releases.Channel, old)
	if code := w.node.poll(t); code != CodeOlderSequence {
		t.Errorf("code %q", code)
	}
	w.node.serves(t, 0)
}

// An expired release statement degrades, and nothing else: the policy decides on,
// nothing older is accepted, over a restart too, and a newer statement ends it.
func TestExpires(t *testing.T) {
	w := newWorld(t)
	n := w.node
	n.start(t)
	old := w.publish(t, releases.Release{Version: 1, Sequence: 1})
	n.poll(t)
	expires := noon().Add(time.Hour)
	w.publish(t, releases.Release{Version: 2, Sequence: 3, Expires: expires})
	n.poll(t)
	n.take()

	n.at(expires.Add(-time.Nanosecond))
	n.poll(t)
	n.problem(t, "")
	n.at(expires)
	for range 3 {
		if code := n.poll(t); code != "" {
			t.Errorf("code %q", code)
		}
		n.problem(t, CodeExpired)
	}
	n.serves(t, 2)
	n.wantEvents(t, "degraded release_expired")
	w.registry.Lie(silence)
	n.start(t)
	n.serves(t, 2)
	n.problem(t, CodeExpired)
	n.wantEvents(t, "activated", "degraded release_expired")
	w.registry.Lie(nil)
	w.registry.Publish(t, releases.Channel, old)
	if code := n.poll(t); code != CodeOlderSequence {
		t.Errorf("an older one instead of an expired one: %q", code)
	}
	n.serves(t, 2)
	n.take()

	layer := release.Digest(old.Archive)
	before := w.registry.Gets(layer)
	w.publish(t, releases.Release{Version: 2, Sequence: 5, Expires: expires.Add(time.Hour)})
	if code := n.poll(t); code != "" {
		t.Errorf("a newer statement: %q", code)
	}
	n.wantEvents(t, "renewed", "recovered older_sequence", "recovered release_expired")
	n.problem(t, "")
	if s := n.Status(); s.Sequence != 5 || s.HighWater.Sequence != 5 || !s.Expires.Equal(expires.Add(time.Hour)) || !s.Activated.Equal(expires) {
		t.Errorf("%+v", s)
	}
	if got := w.registry.Gets(layer); got != before {
		t.Error("the layer was fetched again")
	}
	n.start(t)
	n.serves(t, 2)
	n.problem(t, "")
	if s := n.Status(); s.Sequence != 5 {
		t.Errorf("after a restart: %+v", s)
	}
}

// A disk that cannot be written: a release that cannot be stored is not put in force,
// because it could not be after a restart; one whose mark cannot be is, degraded, until
// the disk works again.
func TestDiskCannotBeWritten(t *testing.T) {
	w, _, _ := twice(t)
	n := w.node
	n.start(t)
	n.poll(t)
	n.take()
	next := releases.Release{Version: 3, Sequence: 5, Key: w.key}.Make(t)
	w.registry.Publish(t, releases.Channel, next)
	inTheWay := n.file(next, "")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if code := n.poll(t); code != CodeStoreFailed {
			t.Errorf("code %q", code)
		}
	}
	n.serves(t, 2)
	n.problem(t, CodeStoreFailed)
	n.wantEvents(t, "degraded store_failed")
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}

	inTheWay = filepath.Join(n.Dir, stateFile+".next") // which durable.WriteFile renames
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if code := n.poll(t); code != "" {
			t.Errorf("code %q", code)
		}
		n.serves(t, 3)
		n.problem(t, CodeStoreFailed)
	}
	n.wantEvents(t, "activated", "degraded store_failed", "recovered store_failed")
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	n.poll(t)
	n.poll(t)
	n.problem(t, "")
	n.wantEvents(t, "recovered store_failed")
	n.start(t)
	n.serves(t, 3)
	n.problem(t, "")
}
