package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/fleet"
	fleetapi "github.com/westworld-charter/charter/internal/httpapi/fleet"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/releases"
)

// interposed is a ledger that does something when it is written.
type interposed struct{ then func() }

func (l *interposed) AppendAll(context.Context, []ledger.Entry, ledger.Level) ([]ledger.Position, error) {
	if l.then != nil {
		l.then()
	}
	return nil, errors.New("it is away")
}

// A release that is published while the trust policy changes is judged by the new one,
// whichever of the two comes first.
func TestPublishedWhileTrustChanges(t *testing.T) {
	key, other := releases.TrustedKey(t), releases.StrangeKey(t)
	old, next := releases.Trust(t, releases.Channel, "", key), releases.Trust(t, releases.Channel, "", other)
	made := releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t)
	var archive bytes.Buffer
	if err := distribution.WriteLayout(&archive, distribution.Release{Manifest: made.Manifest, Layer: made.Archive, Statements: made.Statements}); err != nil {
		t.Fatal(err)
	}
	for _, during := range []bool{false, true} {
		log := &interposed{}
		s := &Server{log: slog.New(slog.DiscardHandler)}
		f, err := fleet.Open(fleet.Options{Dir: t.TempDir(), Log: log, Logger: s.log})
		if err != nil {
			t.Fatal(err)
		}
		s.fleet = f
		s.trust.Store(old)
		found, err := s.verifyArchive(t.Context(), archive.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		changed := atomic.Bool{}
		change := func() { // as loadTrust does, which waits for the step under way
			if !changed.Swap(true) {
				s.trust.Store(next)
			}
		}
		if during {
			log.then = change
		} else {
			change()
			s.verifyFleet(t.Context())
		}
		_, err = publishing{f, s}.Publish(t.Context(), "ana", found)
		refused, is := errors.AsType[*fleetapi.Refusal](err)
		switch {
		case during && (err != nil || !changed.Load() || len(f.Releases(releases.Channel)) != 1):
			t.Errorf("during: %v", err)
		case !during && (!is || refused.Code != "untrusted_key"):
			t.Errorf("before: %v", err)
		}
		if _, err := f.Begin(t.Context(), "ana", releases.Channel, 1, fleet.DefaultPlan()); err == nil {
			t.Errorf("changed during the publication %v: what nobody trusts is rolled out", during)
		}
	}
}
