package exposition

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const text = "up 1\nload 2\n"
	bomb := zip(t, strings.Repeat("#"+strings.Repeat("a", 1022)+"\n", 4096))
	for name, tc := range map[string]struct {
		path, want string
		limits     Limits
	}{
		"plain":     {path: write("a.prom", []byte(text))},
		"gzip":      {path: write("a.prom.gz", zip(t, text))},
		"cut gzip":  {path: write("b.gz", zip(t, text)[:20]), want: "unexpected EOF"},
		"bad gzip":  {path: write("c.gz", []byte("\x1f\x8bxxxxxxxxxxxx")), want: "gzip: invalid header"},
		"bomb":      {path: write("d.gz", bomb), limits: Limits{Bytes: 1 << 20}, want: "more than 1048576 bytes"},
		"missing":   {path: filepath.Join(dir, "none"), want: "none: no such file or directory"},
		"malformed": {path: write("e.prom", []byte("up one\n")), want: "e.prom: line 1: expected float"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Open(t.Context(), tc.path, Options{Limits: tc.limits})
			if tc.want == "" {
				if err != nil || len(got) != 2 {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestOpenURL(t *testing.T) {
	const text = "up 1\nload 2\n"
	mux := http.NewServeMux()
	serve := func(path, contentType string, body []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			if strings.HasPrefix(path, "/gzip") {
				w.Header().Set("Content-Encoding", "gzip")
			}
			_, _ = w.Write(body)
		})
	}
	serve("/plain", "text/plain; version=0.0.4; charset=utf-8", []byte(text))
	serve("/gzip", "text/plain", zip(t, text))
	serve("/gzipbomb", "text/plain", zip(t, strings.Repeat("#"+strings.Repeat("a", 1022)+"\n", 4096)))
	serve("/proto", "application/vnd.google.protobuf", []byte(text))
	serve("/odd", ";;", []byte(text))
	serve("/openmetrics", "application/openmetrics-text; version=1.0.0", []byte(text))
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(text))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for path, want := range map[string]string{
		"/plain":       "",
		"/gzip":        "",
		"/gzipbomb":    "more than 1048576 bytes",
		"/proto":       "is not the Prometheus text format",
		"/openmetrics": "is not the Prometheus text format",
		"/odd":         "content type",
		"/short":       "unexpected EOF", // a cut-off answer must not pass as a small one
		"/slow":        "deadline exceeded",
		"/none":        "the server answered 404",
	} {
		t.Run(path, func(t *testing.T) {
			opts := Options{Limits: Limits{Bytes: 1 << 20}, Timeout: time.Minute}
			if path == "/slow" {
				opts.Timeout = 20 * time.Millisecond
			}
			got, err := Open(t.Context(), srv.URL+path, opts)
			if want == "" {
				if err != nil || len(got) != 2 {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want %s", err, want)
			}
		})
	}
}

func TestOpenURLErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, "http://user:secret@127.0.0.1:1/metrics", Options{Client: http.DefaultClient})
	if err == nil || !strings.Contains(err.Error(), "context canceled") || strings.Contains(err.Error(), "secret") {
		t.Errorf("want a cancelled fetch without the password, got %v", err)
	}
	if _, err := Open(t.Context(), "http://%zz/", Options{}); err == nil {
		t.Error("a malformed URL is accepted")
	}
}

// The node_exporter exposition is the yardstick of the project: each of its
// 3,026 series must be judged.
func TestOpenNodeExporter(t *testing.T) {
	path := os.Getenv("CHARTER_NODE_EXPORTER_EXPOSITION")
	if path == "" {
		t.Skip("CHARTER_NODE_EXPORTER_EXPOSITION does not name an exposition")
	}
	series, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) > 0 && line[0] != '#' {
			lines++
		}
	}
	if len(series) != lines {
		t.Errorf("got %d series of %d sample lines", len(series), lines)
	}
}
