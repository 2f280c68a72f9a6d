package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	httpTimeout = 15 * time.Second // of an attempt; Standard Webhooks recommends 15 to 30 s
	maxHeaders  = 16 << 10         // bytes of an answer's header
	maxAnswer   = 512              // bytes of an answer's body that are read
)

// poster posts over HTTP. Its connections end with close.
type poster struct {
	client *http.Client
	now    func() time.Time
}

func newPoster(publicOnly bool, roots *x509.CertPool, now func() time.Time) *poster {
	return &poster{&http.Client{
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: dialer(publicOnly).DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: lanes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, now}
}

func (p *poster) close() { p.client.CloseIdleConnections() }

// post makes one attempt. The address and everything of it stays out of the outcome.
func (p *poster) post(ctx context.Context, address string, header http.Header, body []byte) outcome {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return failed(CodeInsecureURL, "the address cannot be used")
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "charter-notify")
	resp, err := p.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the rest is the address
		}
		return redact(failedConnection(ctx, err), address)
	}
	defer resp.Body.Close() //nolint:errcheck // the status has been seen
	if resp.StatusCode/100 == 2 {
		return outcome{} // whatever the body says, and however long it takes
	}
	// Slack says in a word what is wrong.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // a part is enough
	o := judgeStatus(resp.StatusCode)
	o.detail = resp.Status + " " + line(string(text), 200)
	o.after = retryAfter(resp.Header.Get("Retry-After"), p.now())
	return redact(o, address)
}

// judgeStatus says what a status that is not 2xx means.
func judgeStatus(status int) outcome {
	switch {
	case status/100 == 3:
		return outcome{code: CodeRedirected}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return outcome{code: CodeUnauthorized}
	case status == http.StatusNotFound:
		return outcome{code: CodeNotFound}
	case status == http.StatusTooManyRequests:
		return outcome{code: CodeRateLimited}
	case status == http.StatusBadRequest, status == http.StatusGone, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return outcome{code: CodeRejected, permanent: true}
	case status/100 == 5:
		return outcome{code: CodeServerError}
	}
	return outcome{code: CodeBadAnswer}
}

// redact takes an address out of what a receiver or a library said.
func redact(o outcome, address string) outcome {
	o.detail = strings.ReplaceAll(o.detail, address, "…")
	if u, err := url.Parse(address); err == nil {
		for _, part := range append(strings.Split(u.Path, "/"), u.RawQuery) {
			if len(part) > 3 {
				o.detail = strings.ReplaceAll(o.detail, part, "…")
			}
		}
	}
	return o
}

// protected reports whether what is sent to an address cannot be read on the way.
func protected(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
