package distribution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/release"
)

// tampered lets a function answer instead of a handler; it returns false to leave
// the request alone.
func tampered(h http.Handler, instead func(w http.ResponseWriter, r *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !instead(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// replay runs a handler and lets a function change the body of its answer.
func replay(h http.Handler, w http.ResponseWriter, r *http.Request, change func([]byte) []byte) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	body := change(rec.Body.Bytes())
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

func flip(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

func isGet(r *http.Request, part string) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, part)
}

// Each case is a registry that does one thing wrong.
func TestWhatARegistryCannotPassOff(t *testing.T) {
	other := newRelease(t, "other", 0)
	for name, tc := range map[string]struct {
		path   string // of the answers that are replaced
		pinned bool   // the reference pins the digest
		answer func(honest http.Handler, w http.ResponseWriter, r *http.Request)
		code   string
	}{
		"another manifest for a pinned digest": {"/manifests/sha256:", true, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			_, digest, _ := strings.Cut(r.URL.Path, "/manifests/")
			w.Header().Set("Docker-Content-Digest", digest) // it swears
			w.Header().Set("Content-Type", release.ManifestType)
			_, _ = w.Write(other.Manifest.Bytes())
		}, CodeManifestDigestMismatch},
		"a manifest that is not its header's": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", other.Manifest.Digest())
			w.Header().Set("Content-Type", release.ManifestType)
			_, _ = w.Write(bytes.ReplaceAll(other.Manifest.Bytes(), []byte("other"), []byte("wrong")))
		}, CodeManifestDigestMismatch},
		"an endless manifest": {"/manifests/production", false, endless, CodeTooLarge},
		"a web page": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>please log in</html>"))
		}, CodeBadManifest},
		"an index": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
		}, CodeBadManifest},
		"endless referrers": {"/referrers/", false, func(h http.Handler, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			endless(h, w, r)
		}, CodeTooLarge},
		"referrers without end": {"/referrers/", false, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Link", "<"+r.URL.Path+">; rel=\"next\"")
			_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
		}, CodeTooManyReferrers},
		"too many referrers": {"/referrers/", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			list := make([]release.Descriptor, 201)
			for i := range list {
				list[i] = release.Descriptor{MediaType: release.ManifestType, Digest: release.Digest(fmt.Append(nil, i)), Size: 10}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "manifests": list})
		}, CodeTooManyReferrers},
		"referrers next door": {"/referrers/", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Link", `<http://127.0.0.1:1/elsewhere>; rel="next"`)
			_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
		}, CodeBadResponse},
		"a flipped byte in a statement": {"/blobs/", false, func(h http.Handler, w http.ResponseWriter, r *http.Request) {
			replay(h, w, r, flip)
		}, CodeStatementDigestMismatch},
		"a redirect in circles": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, CodeBadResponse},
		"a redirect to plain HTTP elsewhere": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, CodeInsecureTransport},
		"no permission": {"/manifests/production", false, status(http.StatusForbidden), CodeUnauthorized},
		"who are you": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
		}, CodeUnauthorized},
		"nothing there":             {"/manifests/production", false, status(http.StatusNotFound), CodeNotFound},
		"in trouble":                {"/manifests/production", false, status(http.StatusBadGateway), CodeUnreachable},
		"in trouble with referrers": {"/referrers/", false, status(http.StatusInternalServerError), CodeUnreachable},
		"a teapot":                  {"/manifests/production", false, status(http.StatusTeapot), CodeBadResponse},
		"a truncated manifest": {"/manifests/production", false, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4000")
			_, _ = w.Write([]byte(`{"schemaVersion":2`))
		}, CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			honest := inProcess(true)
			lies := false
			c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
				if lies && isGet(r, tc.path) {
					tc.answer(honest, w, r)
					return true
				}
				return false
			}))
			o, r := quiet(t), newRelease(t, "r1", 1)
			ref := c.ref(t, "charter:production")
			publish(t, ref, r, o)
			if tc.pinned {
				ref = ref.WithDigest(r.Manifest.Digest())
			}
			lies = true
			_, err := open(t, ref, o).Resolve(t.Context(), Resolved{}, 0)
			wantCode(t, err, tc.code)
			if !strings.Contains(err.Error(), ref.String()) {
				t.Errorf("the error does not say where: %v", err)
			}
		})
	}
}

func status(code int) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(_ http.Handler, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func endless(_ http.Handler, w http.ResponseWriter, r *http.Request) {
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	for range 1 << 10 {
		if _, err := w.Write(chunk); err != nil || r.Context().Err() != nil {
			return
		}
	}
}

func TestWhatARegistryCannotPassOffAsALayer(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(honest http.Handler, w http.ResponseWriter, r *http.Request)
		code   string
	}{
		"a flipped byte": {func(h http.Handler, w http.ResponseWriter, r *http.Request) { replay(h, w, r, flip) }, CodeLayerDigestMismatch},
		"one byte more": {func(h http.Handler, w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush() // no Content-Length
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			_, _ = w.Write(append(rec.Body.Bytes(), 0))
		}, CodeLayerDigestMismatch},
		"one byte less": {func(h http.Handler, w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			_, _ = w.Write(rec.Body.Bytes()[1:])
		}, CodeLayerDigestMismatch},
		"endless": {func(h http.Handler, w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			endless(h, w, r)
		}, CodeLayerDigestMismatch},
		"cut off": {cutOff, CodeUnreachable},
		"gone":    {status(http.StatusNotFound), CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			honest := inProcess(true)
			c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
				if isGet(r, "/blobs/") {
					tc.answer(honest, w, r)
					return true
				}
				return false
			}))
			o, r := quiet(t), newRelease(t, "r1", 0)
			ref := c.ref(t, "charter:production")
			publish(t, ref, r, o)
			source := open(t, ref, o)
			layer, err := source.Layer(t.Context(), resolve(t, source, Resolved{}))
			wantCode(t, err, tc.code)
			if layer != nil {
				t.Error("bytes were handed out that are not the layer")
			}
		})
	}
}

// A connection that breaks once is no reason to stay without a policy.
func TestABrokenDownloadIsRepeated(t *testing.T) {
	honest := inProcess(true)
	broken := 0
	c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
		if !isGet(r, "/blobs/") || broken > 0 {
			return false
		}
		broken++
		cutOff(honest, w, r)
		return true
	}))
	o, r := quiet(t), newRelease(t, "r1", 0)
	publish(t, c.ref(t, "charter:production"), r, o)
	o.Limits.Retries = 1
	sameRelease(t, c.ref(t, "charter:production"), o, r)
	if broken != 1 {
		t.Error("no connection was broken: the test shows nothing")
	}
}

// cutOff sends half an answer.
func cutOff(h http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
}

// 50 things that refer to a release and are no statements hide none.
func TestJunkReferrersAreIgnored(t *testing.T) {
	for _, api := range []bool{true, false} {
		c, o := serve(t, inProcess(api)), quiet(t)
		ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 2)
		publish(t, ref, r, o)
		subject := subjectOf(r.Manifest)
		var junk []artifact
		for i := range 50 {
			a := newReferrer(subject, newStatement(t, r.Manifest.Digest(), 1000+i))
			var m referrerManifest
			decode(t, a.manifest, &m)
			switch i % 5 {
			case 0: // says it is a statement and is not
				m.Layers[0].MediaType = "text/plain"
			case 1: // has two layers
				m.Layers = append(m.Layers, m.Layers[0])
				a.blobs = append(a.blobs, a.blobs[1])
			case 2: // is no JSON inside
				a.blobs[1] = fmt.Appendf(nil, "not json %d", i)
				m.Layers[0].Digest, m.Layers[0].Size = release.Digest(a.blobs[1]), int64(len(a.blobs[1]))
			case 3: // is too large
				a.blobs[1] = fmt.Appendf(nil, "{%*s%d", 2<<20, "", i)
				m.Layers[0].Digest, m.Layers[0].Size = release.Digest(a.blobs[1]), int64(len(a.blobs[1]))
			case 4: // is JSON, but no object
				a.blobs[1] = fmt.Appendf(nil, "[%d]", i)
				m.Layers[0].Digest, m.Layers[0].Size = release.Digest(a.blobs[1]), int64(len(a.blobs[1]))
			}
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			a.manifest = raw
			junk = append(junk, a)
		}
		attachRaw(t, ref, r, junk, o)
		source := open(t, ref, o)
		got := resolve(t, source, Resolved{})
		if !sameStatements(got.Statements, r.Statements) {
			t.Errorf("referrers API %t: %d statements, want the 2 real ones", api, len(got.Statements))
		}
		c.reset()
		if again := resolve(t, source, got); !again.Unchanged {
			t.Error("the same answer counts as changed")
		}
		requests, _ := c.reset()
		noBlobs(t, requests)
	}
}

// One referrer that says another size than it has keeps no release from anybody. Without
// another statement, the error is told: a registry may lie about the only one.
func TestReferrersThatSayAnotherSize(t *testing.T) {
	for _, real := range []int{2, 0} {
		c, o := serve(t, inProcess(true)), quiet(t)
		ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", real)
		publish(t, ref, r, o)
		var junk []artifact
		for i, off := range []int64{1, -1} {
			a := newReferrer(subjectOf(r.Manifest), newStatement(t, r.Manifest.Digest(), 1000+i))
			var m referrerManifest
			decode(t, a.manifest, &m)
			m.Layers[0].Size += off
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			a.manifest = raw
			junk = append(junk, a)
		}
		attachRaw(t, ref, r, junk, o)
		got, err := open(t, ref, o).Resolve(t.Context(), Resolved{}, 0)
		if (err != nil) != (real == 0) || !sameStatements(got.Statements, r.Statements) {
			t.Errorf("of %d real statements %d are found, %v", real, len(got.Statements), err)
		}
	}
}

// attachRaw publishes referrers as they are.
func attachRaw(t *testing.T, ref Ref, r Release, referrers []artifact, o Options) {
	t.Helper()
	o.Limits = o.Limits.orDefault()
	to, store, err := openTarget(t.Context(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &pusher{to: to, store: store, o: o}
	if err := p.attach(t.Context(), r.Manifest, referrers); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatStalls(t *testing.T) {
	for _, part := range []string{"/manifests/production", "/referrers/", "/blobs/"} {
		t.Run(part, func(t *testing.T) {
			honest := inProcess(true)
			release := make(chan struct{})
			stalls := false
			c := serve(t, tampered(honest, func(w http.ResponseWriter, r *http.Request) bool {
				if stalls && isGet(r, part) {
					w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
					w.WriteHeader(http.StatusOK)
					w.(http.Flusher).Flush()
					<-release
					return true
				}
				return false
			}))
			defer close(release)
			o := quiet(t)
			publish(t, c.ref(t, "charter:production"), newRelease(t, "r1", 1), o)
			stalls = true
			o.Limits.Stall = 50 * time.Millisecond
			_, err := open(t, c.ref(t, "charter:production"), o).Resolve(t.Context(), Resolved{}, 0)
			wantCode(t, err, CodeUnreachable)
		})
	}
}

func TestCanceling(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := open(t, c.ref(t, "charter:production"), quiet(t)).Resolve(ctx, Resolved{}, 0)
	wantCode(t, err, CodeCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	c := serve(t, inProcess(true))
	ref := c.ref(t, "charter:production")
	c.Close()
	_, err := open(t, ref, quiet(t)).Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeUnreachable)
}

// What a server says is shown on one line, without what moves the cursor.
func TestWhatServersSay(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"no \u001b[2J\nroom ` + strings.Repeat("x", 5000) + `"}]}`))
	}))
	_, err := open(t, c.ref(t, "charter:production"), quiet(t)).Resolve(t.Context(), Resolved{}, 0)
	wantCode(t, err, CodeUnauthorized)
	if text := err.Error(); !strings.Contains(text, "no  [2J room") || strings.ContainsAny(text, "\n\x1b") || len(text) > 3000 || !strings.HasSuffix(text, "[unauthorized]") {
		t.Errorf("%d bytes: %.300q", len(text), text)
	}
}

// A node stores the statements that it accepts and reads them again when it starts:
// whoever can attach something must not be able to make them just too long for that.
func TestWhatIsAcceptedCanBeReadAgain(t *testing.T) {
	r := newRelease(t, "r1", 3)
	size := int64(len(EncodeStatements(r.Statements)))
	for _, limit := range []int64{size, size - 1, size - int64(len(r.Statements))} {
		c, o := serve(t, inProcess(true)), quiet(t)
		ref := c.ref(t, "charter:production")
		publish(t, ref, r, o)
		file := mustRef(t, filepath.Join(t.TempDir(), "bundle.tar.gz"))
		publish(t, file, r, o)
		// Without the last line break, a file holds fewer bytes than what is written of it.
		if err := os.WriteFile(StatementsPath(file.String()), bytes.Join(r.Statements, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		if err := WriteLayout(&packed, r); err != nil {
			t.Fatal(err)
		}
		o.Limits.Statements = limit
		_, layout := ReadLayout(bytes.NewReader(packed.Bytes()), int64(packed.Len()), o.Limits)
		_, registry := open(t, ref, o).Resolve(t.Context(), Resolved{}, 0)
		_, archive := open(t, file, o).Resolve(t.Context(), Resolved{}, 0)
		_, again := ReadStatements(bytes.NewReader(EncodeStatements(r.Statements)), o.Limits)
		for what, err := range map[string]error{"registry": registry, "archive": archive, "layout": layout} {
			if codeOf(err) != codeOf(again) {
				t.Errorf("%s, %d bytes of %d: %v; what is written of them: %v", what, limit, size, err, again)
			}
		}
	}
}
