package distribution

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/retry"
)

// maxRedirects is how often one request is sent elsewhere.
const maxRedirects = 5

// maxToken bounds a token file in bytes.
const maxToken = 64 << 10

var errStalled = errors.New("not a byte came in time")

// newClient returns a client that gives up on servers that stall, tries again on
// those in trouble and follows few redirects, none to where it is less secure.
func newClient(o Options) (*http.Client, error) {
	config, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	base := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: o.Limits.Stall, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4, MaxResponseHeaderBytes: 64 << 10,
	}
	policy := &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate, Backoff: retry.DefaultBackoff,
		MinWait: 100 * time.Millisecond, MaxWait: 5 * time.Second, MaxRetry: o.Limits.Retries,
	}
	return &http.Client{
		Transport: &retry.Transport{Base: &guard{base: base, stall: o.Limits.Stall}, Policy: func() retry.Policy { return policy }},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return coded(CodeBadResponse, fmt.Errorf("more than %d redirects", maxRedirects))
			}
			if next.URL.Scheme != "https" && (via[0].URL.Scheme == "https" || !loopback(next.URL.Host) && !o.InsecurePlainHTTP) {
				return coded(CodeInsecureTransport, fmt.Errorf("the server redirects to %s, which is plain HTTP", next.URL.Redacted()))
			}
			// Who asks is nobody else's business, be it another port of the same host.
			if slices.ContainsFunc(append(via[1:len(via):len(via)], next), func(r *http.Request) bool {
				return r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host
			}) {
				next.Header.Del("Authorization")
				for name := range o.Header {
					next.Header.Del(name)
				}
			}
			return nil
		},
	}, nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fail(o.CAFile, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Error{CodeIO, o.CAFile, errors.New("holds no certificate in PEM")}
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, &Error{CodeIO, o.CertFile, fmt.Errorf("read the client certificate and its key: %w", err)}
		}
		config.GetClientCertificate = load
	}
	return config, nil
}

// plainHTTP reports whether a registry is asked without TLS.
func (o Options) plainHTTP(host string) bool {
	return o.InsecurePlainHTTP || loopback(host) && o.CAFile == "" && o.CertFile == ""
}

// token returns the content of the token file, "" without one.
func (o Options) token() (string, error) {
	if o.TokenFile == "" {
		return "", nil
	}
	data, err := readFile(o.TokenFile, maxToken)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &Error{CodeIO, o.TokenFile, errors.New("holds no token on a single line")}
	}
	return token, nil
}

type waitKey struct{}

// withWait lets the next answer take that much longer: long polling.
func withWait(ctx context.Context, wait time.Duration) context.Context {
	return context.WithValue(ctx, waitKey{}, wait)
}

type limitKey struct{}

// withLimit bounds the bodies of answers, for code that reads them without a limit or
// does not say when it is exceeded.
func withLimit(ctx context.Context, bytes int64) context.Context {
	return context.WithValue(ctx, limitKey{}, bytes)
}

// guard ends exchanges in which nothing moves for some time, and those that exceed
// their limit.
type guard struct {
	base  http.RoundTripper
	stall time.Duration
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	wait, _ := req.Context().Value(waitKey{}).(time.Duration)
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.stall+wait, func() { cancel(errStalled) })
	moving := func() { timer.Reset(g.stall) }
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{ReadCloser: req.Body, ctx: ctx, left: math.MaxInt64, moving: moving, done: func() {}}
	}
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, stalled(ctx, err)
	}
	timer.Reset(g.stall)
	limit, limited := ctx.Value(limitKey{}).(int64)
	if !limited {
		limit = math.MaxInt64
	}
	resp.Body = &watched{ReadCloser: resp.Body, ctx: ctx, left: limit, moving: moving, done: func() { timer.Stop(); cancel(nil) }}
	return resp, nil
}

// stalled replaces what a canceled exchange says by the reason.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// watched is a body that tells when it moves, and ends with an error after left bytes.
type watched struct {
	io.ReadCloser
	left   int64
	ctx    context.Context // of the exchange whose body it is
	moving func()
	done   func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.moving()
	}
	if w.left -= int64(n); w.left < 0 {
		return 0, coded(CodeTooLarge, errors.New("the answer is longer than is allowed"))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = stalled(w.ctx, err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.done()
	return w.ReadCloser.Close()
}

// readAll reads to the end, at most limit bytes.
func readAll(r io.Reader, limit int64, moved func(int)) ([]byte, error) {
	var data []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		data = append(data, buf[:n]...)
		if moved(n); int64(len(data)) > limit {
			return nil, coded(CodeTooLarge, fmt.Errorf("more than %d bytes", limit))
		}
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fail(path, err)
	}
	defer f.Close()
	data, err := readAll(f, limit, unwatched)
	return data, fail(path, err)
}

func unwatched(int) {}
