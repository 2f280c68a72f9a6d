package distribution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/westworld-charter/charter/internal/release"
)

// maxRounds is how often the archive and its statements are asked for while they
// change.
const maxRounds = 3

// serverSource is an archive on an HTTP server that speaks the bundle API of OPA, or
// serves files: GET with ETag and If-None-Match, and with Prefer for long polling. The
// statements are at the same URL with .sigstore.json behind the path.
type serverSource struct {
	client     *http.Client
	ref        Ref
	archive    string // URLs
	statements string
	o          Options

	mu     sync.Mutex
	latest serverState
}

// serverState is the last answer of a server.
type serverState struct {
	manifest       release.Manifest
	layer          []byte // until it is asked for
	etag           string
	statements     [][]byte
	statementsETag string
}

func newServer(ref Ref, o Options) (*serverSource, error) {
	u, err := url.Parse(ref.location)
	if err != nil {
		return nil, &Error{CodeBadReference, ref.location, err}
	}
	if u.Scheme == "http" && !loopback(u.Host) && !o.InsecurePlainHTTP {
		return nil, &Error{CodeInsecureTransport, ref.location, errors.New("plain HTTP to another machine: use https, or allow it expressly")}
	}
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	beside := *u
	beside.Path += statementsSuffix
	if beside.RawPath != "" {
		beside.RawPath += statementsSuffix
	}
	return &serverSource{client: client, ref: ref, archive: u.String(), statements: beside.String(), o: o}, nil
}

func (s *serverSource) Resolve(ctx context.Context, previous Resolved, wait time.Duration) (Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Limits.Total+wait)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	state, err := s.startFrom(previous)
	if err != nil {
		return Resolved{}, fail(s.archive, err)
	}
	for range maxRounds {
		changed, err := s.getArchive(ctx, &state, wait)
		if err != nil {
			return Resolved{}, fail(s.archive, err)
		}
		replaced, err := s.getStatements(ctx, &state)
		if err != nil {
			return Resolved{}, fail(s.statements, err)
		}
		s.latest = state
		if !changed && !replaced || state.etag == "" {
			break
		}
		wait = 0 // and look again: both may have changed between the two requests
	}
	return newResolved(state.manifest, state.statements, previous), nil
}

// startFrom returns what is known: the last answer, or what the caller has.
func (s *serverSource) startFrom(previous Resolved) (serverState, error) {
	if s.latest.etag != "" || previous.Digest == "" {
		return s.latest, nil
	}
	manifest, err := previous.manifest()
	// Servers of bundles use the digest as the ETag; others answer in full.
	return serverState{manifest: manifest, etag: `"` + manifest.Layer.Digest + `"`, statements: previous.Statements}, err
}

func (s *serverSource) getArchive(ctx context.Context, state *serverState, wait time.Duration) (changed bool, err error) {
	body, etag, err := s.get(ctx, s.archive, state.etag, wait, s.o.Limits.Layer)
	if err != nil || body == nil {
		return false, err
	}
	manifest, err := manifestOf(body)
	if err != nil {
		return false, err
	}
	changed = manifest.Digest() != state.manifest.Digest()
	state.manifest, state.layer, state.etag = manifest, body, etag
	return changed, nil
}

func (s *serverSource) getStatements(ctx context.Context, state *serverState) (changed bool, err error) {
	body, etag, err := s.get(ctx, s.statements, state.statementsETag, 0, s.o.Limits.Statements)
	if codeOf(err) == CodeNotFound {
		changed = len(state.statements) > 0
		state.statements, state.statementsETag = nil, ""
		return changed, nil
	}
	if err != nil || body == nil {
		return false, err
	}
	statements, err := readStatements(bytes.NewReader(body), s.o.Limits)
	if err != nil {
		return false, err
	}
	changed = !sameStatements(statements, state.statements)
	state.statements, state.statementsETag = statements, etag
	return changed, nil
}

// get fetches a document. body is nil when it is still the one with that ETag.
func (s *serverSource) get(ctx context.Context, url, etag string, wait time.Duration, limit int64) (body []byte, newTag string, err error) {
	resp, err := s.ask(ctx, url, etag, wait)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests && wait > 0 {
		// There is no place to wait: ask as others do.
		_ = resp.Body.Close()
		resp, err = s.ask(ctx, url, etag, 0)
	}
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return nil, etag, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", &errcode.ErrorResponse{Method: http.MethodGet, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	}
	body, err = readAll(resp.Body, limit, s.o.progress("download", resp.ContentLength))
	if body == nil {
		body = []byte{}
	}
	return body, resp.Header.Get("ETag"), err
}

// ask sends a request. With an ETag the server may say that nothing changed, and wait
// so long before it does.
func (s *serverSource) ask(ctx context.Context, url, etag string, wait time.Duration) (*http.Response, error) {
	req, err := http.NewRequestWithContext(withWait(ctx, wait), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, s.o.Header)
	req.Header.Set("User-Agent", s.o.userAgent())
	token, err := s.o.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	// Never a delta: what is signed is the whole.
	prefer := "modes=snapshot"
	if seconds := int64(wait / time.Second); seconds > 0 && etag != "" {
		prefer += fmt.Sprintf(";wait=%d", seconds)
	}
	req.Header.Set("Prefer", prefer)
	return s.client.Do(req)
}

func (s *serverSource) Layer(ctx context.Context, r Resolved) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Limits.Total)
	defer cancel()
	manifest, err := r.manifest()
	if err != nil {
		return nil, fail(s.archive, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	layer := s.latest.layer
	if layer == nil || release.Digest(layer) != manifest.Layer.Digest {
		if layer, _, err = s.get(ctx, s.archive, "", 0, s.o.Limits.Layer); err != nil {
			return nil, fail(s.archive, err)
		}
	}
	s.latest.layer = nil
	return layer, fail(s.archive, checkLayer(manifest, layer))
}
