package bundlesapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/wire"
)

// maxName bounds the name of a bundle in bytes.
const maxName = 256

// Media types of answers. OPA takes that of bundles to mean that the server knows long
// polling.
const (
	TypeBundle     = "application/vnd.openpolicyagent.bundles"
	TypeStatements = "application/x-ndjson"
)

// ReleaseHeader carries [Release.ReleaseDigest] in answers.
const ReleaseHeader = "Charter-Release-Digest"

// busyRetry is when those come back who could not wait.
const busyRetry = 10 * time.Second

func (a *API) handle(w http.ResponseWriter, r *http.Request) {
	if err := a.serve(w, r); err != nil {
		wire.Refuse(w, a.Log, wire.From(err))
	}
}

// serve answers with what there is now, or when the client has that and prefers to
// wait, with what comes next.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	asked, statements, err := a.request(r)
	if err != nil {
		return err
	}
	has := r.Header.Values("If-None-Match")
	d, changed, err := a.current(asked, statements)
	if err != nil {
		return err
	}
	if matches(has, d.etag) {
		if wait := min(preferredWait(r.Header), a.MaxWait); wait > 0 && r.Method != http.MethodHead {
			leave, err := a.enter(w, wait)
			if err != nil {
				return err
			}
			defer leave()
			if d, err = a.next(r.Context(), asked, statements, has, d, changed, wait); err != nil {
				return err
			}
		}
	}
	if r.Context().Err() == nil { // else nobody is there any more
		a.send(w, r, d, matches(has, d.etag))
	}
	return nil
}

// next waits for something that the client does not have, and returns what there is
// when the time is over.
func (a *API) next(ctx context.Context, asked Request, statements bool, has []string, d document, changed <-chan struct{}, wait time.Duration) (document, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for matches(has, d.etag) {
		select {
		case <-changed:
			var err error
			if d, changed, err = a.current(asked, statements); err != nil {
				return d, err
			}
		case <-over.C:
			return d, nil
		case <-a.closed:
			return d, nil
		case <-ctx.Done():
			return d, nil
		}
	}
	return d, nil
}

// enter takes a place among those who wait, and keeps the connection for as long.
func (a *API) enter(w http.ResponseWriter, wait time.Duration) (leave func(), err error) {
	if a.waiting.Add(1) > int64(a.MaxWaiters) {
		a.waiting.Add(-1)
		// Not 304: OPA would ask again at once.
		return nil, wire.TooMany("too many wait for bundles; ask again later, or without Prefer: wait", busyRetry)
	}
	// A server without deadlines, such as those of some tests, has nothing to extend.
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(wait + a.Transfer))
	return func() { a.waiting.Add(-1) }, nil
}

// request reads what is asked for.
func (a *API) request(r *http.Request) (asked Request, statements bool, err error) {
	name, ok := strings.CutPrefix(r.URL.Path, strings.TrimSuffix(Path, ":name"))
	if name, statements = strings.CutSuffix(name, StatementsSuffix); !ok || name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.Contains(name, "/") {
		return asked, false, wire.Missing("there is nothing at this path; bundles are at /bundles/NAME")
	}
	if _, err := wire.Parameters(r); err != nil {
		return asked, false, err
	}
	c := a.Caller(r.Context())
	return Request{Name: name, Node: c.Node, Principal: c.Principal}, statements, nil
}

// document is what may be sent.
type document struct {
	body        []byte
	media, etag string
	release     string // digest of its manifest; "" for none
}

// current is what there is now.
func (a *API) current(asked Request, statements bool) (document, <-chan struct{}, error) {
	r, changed, ok := a.Source.Current(asked)
	switch {
	case !ok:
		return document{}, nil, wire.Missing("there is no bundle %q here", asked.Name)
	case !statements:
		return document{r.Archive, TypeBundle, `"` + r.LayerDigest + `"`, r.ReleaseDigest}, changed, nil
	case len(r.Statements) == 0:
		return document{}, nil, wire.Missing("nothing is stated about the bundle %q: it is not signed", asked.Name)
	default:
		sum := sha256.Sum256(r.Statements)
		return document{r.Statements, TypeStatements, `"sha256:` + hex.EncodeToString(sum[:]) + `"`, r.ReleaseDigest}, changed, nil
	}
}

// send answers with a document, or when the client has it, with that.
func (a *API) send(w http.ResponseWriter, r *http.Request, d document, has bool) {
	h := w.Header()
	h.Set("Content-Type", d.media)
	h.Set("ETag", d.etag)
	// Whose certificate it was made for is in no header that caches know.
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Authorization")
	h.Set("X-Content-Type-Options", "nosniff")
	if d.release != "" {
		h.Set(ReleaseHeader, d.release)
	}
	if has {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.Transfer)) // see enter
	if _, err := w.Write(d.body); err != nil {
		a.Log.Debug("a bundle was not sent in full", "error", err.Error())
	}
}

// matches reports whether an If-None-Match (RFC 9110, 13.1.2) names an entity. OPA
// sends the ones that it had before, too, so that a server which lags behind does not
// bring them back.
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for one := range strings.SplitSeq(field, ",") {
			if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
				return true
			}
		}
	}
	return false
}

// preferredWait is how long a client prefers to wait (RFC 7240, 4.3), 0 when it does
// not. OPA puts the preferences apart by semicolons: modes=snapshot,delta;wait=60.
func preferredWait(h http.Header) time.Duration {
	for _, field := range h.Values("Prefer") {
		for one := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == ';' || r == ',' }) {
			name, value, _ := strings.Cut(one, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return 0 // RFC 7240, 2: what is not understood is passed over
			}
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}
