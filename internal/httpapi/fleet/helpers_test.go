package fleetapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/wire"
)

// site serves the API over a real fleet, to one caller.
type site struct {
	routes  []wire.Route
	handler http.Handler
	fleet   *fleet.Fleet
	caller  Caller
	results []string
}

func newSite(t testing.TB) *site {
	t.Helper()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	f, err := fleet.Open(fleet.Options{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{fleet: f, caller: Caller{Principal: "token:ana", Anybody: true}}
	s.routes, err = Routes(Options{
		Fleet: f, Caller: func(context.Context) Caller { return s.caller }, Verify: verified,
		OPAs: func() []fleet.OPA {
			return []fleet.OPA{{ID: "opa-1", Bundle: "production", Revision: "production-1.0.0+a", Arrived: now}}
		},
		Reported: func(result string) { s.results = append(s.results, result) },
	})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	for _, r := range s.routes {
		e.Add(r.Method, r.Path, echo.WrapHandler(r.Handler))
	}
	s.handler = e
	return s
}

// answer is what was answered.
type answer struct{ *httptest.ResponseRecorder }

func (a answer) status(t testing.TB) string {
	t.Helper()
	if a.Header().Get("Content-Type") != wire.TypeJSON || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", a.Header())
	}
	return strconv.Itoa(a.Code)
}

func (s *site) do(method, path, media, body string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return answer{w}
}

// made is a release whose archive is a text.
func made(sequence int64, text string) fleet.Release {
	archive := []byte(text)
	minor := strings.Index("abc", text)
	m := release.NewManifest(release.Digest(archive), int64(len(archive)), fmt.Sprintf("production-1.%d.0+%s", minor, text))
	return fleet.Release{
		Channel: "production", Sequence: sequence, Digest: m.Digest(), Layer: m.Layer.Digest, Revision: m.Revision, Signers: []string{"release"},
		CharterDigest: release.Digest([]byte("charter " + text)), Expires: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC),
		Content: fleet.Content{Manifest: m.Bytes(), Archive: archive, Statements: []byte("{}\n")},
	}
}

// verified stands for whoever verifies: an archive is SEQUENCE TEXT, with commas.
func verified(_ context.Context, archive []byte) ([]fleet.Release, error) {
	var list []fleet.Release
	for part := range strings.SplitSeq(string(archive), ",") {
		var sequence int64
		var text string
		if _, err := fmt.Sscanf(part, "%d %s", &sequence, &text); err != nil {
			return nil, &Refusal{"unsigned", errors.New("no statement about it is signed")}
		}
		list = append(list, made(sequence, text))
	}
	return list, nil
}
