package app

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	bundlesapi "github.com/westworld-charter/charter/internal/httpapi/bundles"
	"github.com/westworld-charter/charter/tests/releases"
)

// waiting asks for another bundle than the one in force, as OPA does, and returns what
// comes, "" when nothing does.
func waiting(t *testing.T, url, etag string) <-chan *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/bundles/charter", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("If-None-Match", etag)
	r.Header.Set("Prefer", "modes=snapshot,delta;wait=60")
	answer := make(chan *http.Response, 1)
	go func() {
		defer close(answer)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		_ = res.Body.Close() // the header says it all
		answer <- res
	}()
	return answer
}

func etagOf(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url + "/bundles/charter")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	b, err := bundle.Read(res.Body, bundle.DefaultLimits())
	if err != nil || res.Header.Get("ETag") != `"`+b.LayerDigest()+`"` || res.Header.Get("Content-Type") != bundlesapi.TypeBundle {
		t.Fatalf("%v %v", err, res.Header)
	}
	return res.Header.Get("ETag")
}

// await waits until somebody waits for a bundle.
func (s *serving) await(t *testing.T) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.bundles.Waiting() == 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("nobody waits")
		}
	}
}

// Another charter reaches who waits for it, and a new state alone does not.
func TestBundleFollowsTheCharter(t *testing.T) {
	dir := t.TempDir()
	o := unrecorded()
	text, err := os.ReadFile(example1)
	if err != nil {
		t.Fatal(err)
	}
	o.Charter, o.State, o.InsecureSelfAsserted = put(t, filepath.Join(dir, "charter.yaml"), string(text)), put(t, filepath.Join(dir, "state.json"), "{}"), true
	s := offered(t, o)
	etag := etagOf(t, s.url)
	answer := waiting(t, s.url, etag)
	s.await(t)
	put(t, o.State, `{"standing":{"edge-9":{"state":"suspended"}}}`)
	s.twice(t)
	select {
	case res := <-answer:
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	default:
	}
	put(t, o.Charter, strings.Replace(string(text), "version: ", "version: 9", 1))
	s.twice(t)
	res := <-answer
	if res == nil || res.StatusCode != http.StatusOK || res.Header.Get("ETag") == etag || res.Header.Get("ETag") != etagOf(t, s.url) {
		t.Errorf("%+v", res)
	}
}

// Who waits does not hold up a shutdown.
func TestWaitingEndsWithTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := unrecorded()
	o.Charter, o.InsecureSelfAsserted, o.Listen = example1, true, "127.0.0.1:0"
	s := offered(t, o)
	address, err := s.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	url := "http://" + address.String()
	etag := etagOf(t, url)
	answer := waiting(t, url, etag)
	s.await(t)
	begun := time.Now()
	cancel()
	if res := <-answer; res == nil || res.StatusCode != http.StatusNotModified || res.Header.Get("ETag") != etag {
		t.Errorf("%+v", res)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := <-ended; err != nil || time.Since(begun) > o.Timeouts.Shutdown/2 {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

// A server that follows releases hands them on with what is stated about them, so a node
// can follow it, and one that waits has the next one at once.
func TestServerHandsReleasesOn(t *testing.T) {
	registry, key := releases.NewRegistry(t), releases.TrustedKey(t)
	first := releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t)
	registry.Publish(t, releases.Channel, first)
	s := started(t, server(), nodeOptions(t, registry, key))
	res, err := http.Get(s.url + "/bundles/charter")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	if archive, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(archive, first.Archive) {
		t.Errorf("another archive: %v %v", err, res.Header)
	}
	if got := res.Header.Get(bundlesapi.ReleaseHeader); got != first.Digest() {
		t.Errorf("the release is %s, not %s", got, first.Digest())
	}
	o := nodeOptions(t, registry, key)
	o.Bundle, o.Releases.LongPoll = s.url+"/bundles/charter", time.Minute
	n := started(t, CharterNode(), o)
	until(t, "the first release", func() bool { return n.allows(t, 1) })
	registry.Publish(t, releases.Channel, releases.Release{Version: 2, Sequence: 3, Key: key}.Make(t))
	until(t, "the next release", func() bool { return n.allows(t, 2) })
}
