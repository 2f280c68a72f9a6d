package exposition

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Options say how [Open] reads. The zero value is ready for use.
type Options struct {
	Limits Limits
	// Client fetches URLs; nil is a client of its own without cookies.
	Client *http.Client
	// Timeout bounds a fetch as a whole, body included; zero is 30 s.
	Timeout time.Duration
}

// accept asks for the text format with UTF-8 names, then for the classic one.
const accept = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// Open reads the exposition that ref names: an http or https URL, or else a
// file, which may be compressed with gzip. Errors name ref and, when the
// content is at fault, wrap an [*Error].
func Open(ctx context.Context, ref string, opts Options) ([]Series, error) {
	series, err := open(ctx, ref, opts)
	if err != nil {
		return nil, fmt.Errorf("read exposition %s: %w", redact(ref), err)
	}
	return series, nil
}

func open(ctx context.Context, ref string, opts Options) ([]Series, error) {
	if !IsURL(ref) {
		return openFile(ref, opts.Limits)
	}
	timeout := opts.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return fetch(ctx, ref, opts)
}

// IsURL reports whether [Open] fetches ref over HTTP.
func IsURL(ref string) bool {
	return strings.HasPrefix(ref, "http://") || strings.HasPrefix(ref, "https://")
}

func openFile(path string, limits Limits) ([]Series, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err // Open names the path already
		}
		return nil, err
	}
	defer f.Close() // read only: nothing is lost
	buffered := bufio.NewReader(f)
	if magic, _ := buffered.Peek(2); string(magic) != "\x1f\x8b" {
		return Parse(buffered, limits)
	}
	unzipped, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	return Parse(unzipped, limits)
}

func fetch(ctx context.Context, ref string, opts Options) ([]Series, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ref, nil)
	if err != nil {
		return nil, reason(err)
	}
	req.Header.Set("Accept", accept)
	client := opts.Client
	if client == nil {
		client = &http.Client{}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, reason(err)
	}
	defer resp.Body.Close() // the body is read or no longer wanted
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	if err := checkType(resp.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	// net/http asks for gzip by itself and unpacks it; the limits hold for the
	// unpacked bytes.
	return Parse(io.Reader(resp.Body), opts.Limits)
}

// checkType refuses what is not the text format: reading protobuf or
// OpenMetrics as text would fail in the middle or miss series.
func checkType(contentType string) error {
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", contentType, err)
	}
	if media != "text/plain" {
		return fmt.Errorf("content type %q is not the Prometheus text format (text/plain)", media)
	}
	return nil
}

// reason drops the URL from an error of net/http: Open names it, redacted.
func reason(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

func redact(ref string) string {
	if u, err := url.Parse(ref); err == nil && IsURL(ref) {
		return u.Redacted()
	}
	return ref
}
