// Package ledgerclient reads a ledger over HTTP as if it lay in a directory: a
// [Client] is a [ledger.Store] that cannot be written. [New] makes one.
//
// It reads C2SP tlog-tiles for entries and hashes and the search of the server for
// queries. Nothing that it returns is believed: [ledger.Verify] and receipts work
// on it as on any other store, against keys that are held elsewhere. What a search
// leaves out, nobody can know; verify the whole log to know what is in it.
package ledgerclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Limits of an answer.
const (
	maxAnswer = 32 << 20 // bytes; a bundle of the largest entries is half of it
	timeout   = 30 * time.Second
	// tries is how often a request is made that the server has no room for.
	tries = 5
)

// KeysPath is where a server shows the public keys of its ledger.
const KeysPath = "/v1/ledger/keys"

// Options say who asks. The zero value asks without a proof of identity.
type Options struct {
	Token string         // bearer token, "" for none
	Roots *x509.CertPool // authorities for the server's certificate; nil for those of the system
}

// ErrRefused marks a request that the server does not let through: entries need
// the scope audit.
var ErrRefused = errors.New("the server refuses")

// Client reads the ledger of a server. Its methods are safe for concurrent use.
type Client struct {
	base  string // ends without a slash
	token string
	http  *http.Client
}

var _ ledger.Store = (*Client)(nil)

// New returns a client for a server, such as https://charter.example.org:8000.
func New(server string, o Options) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not the URL of a server, such as https://charter.example.org:8000", server)
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: ahead,
		ForceAttemptHTTP2:   true,
	}
	client := &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the server redirects elsewhere") // and the token would follow
	}}
	return &Client{base: strings.TrimRight(u.String(), "/") + "/v1/ledger", token: o.Token, http: client}, nil
}

// get asks for a path below /v1/ledger.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	wait := 200 * time.Millisecond
	for try := 1; ; try++ {
		body, again, err := c.once(ctx, http.MethodGet, path)
		if !again || try == tries {
			return body, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		wait *= 2
	}
}

// Keys returns the public keys that the server shows, as they are published: one
// on a line, the current one first. They prove no more than that the server agrees
// with itself. [ledger.ErrNotFound] is a server that shows none.
func (c *Client) Keys(ctx context.Context) ([]byte, error) { return c.get(ctx, "/keys") }

// ChangeKeys has the server rotate or retire a key and returns its answer, in
// JSON. Asking again changes nothing twice.
func (c *Client) ChangeKeys(ctx context.Context, how string) ([]byte, error) {
	body, _, err := c.once(ctx, http.MethodPost, "/keys/"+how)
	return body, err
}

func (c *Client) once(ctx context.Context, method, path string) (body []byte, again bool, err error) {
	target := c.base + path
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, false, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, false, err
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", target, err)
	}
	if resp.StatusCode == http.StatusOK {
		if len(body) > maxAnswer {
			return nil, false, fmt.Errorf("read %s: the answer is longer than %d bytes", target, maxAnswer)
		}
		return body, false, nil
	}
	why := resp.Status
	var fault struct{ Code, Message string }
	if json.Unmarshal(body, &fault) == nil && fault.Message != "" {
		why += ": " + fault.Message
		if fault.Code != "" {
			why += " (" + fault.Code + ")"
		}
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return nil, false, fmt.Errorf("%w: %s says %s", ledger.ErrNotFound, target, why)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, false, fmt.Errorf("%w: %s says %s", ErrRefused, target, why)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return nil, true, fmt.Errorf("%s says %s", target, why)
	}
	return nil, false, fmt.Errorf("%s says %s", target, why)
}

// errReadOnly is what writing gives.
var errReadOnly = errors.New("a ledger is not written over HTTP")

// Commit cannot be had.
func (c *Client) Commit(context.Context, ledger.Commit) error { return errReadOnly }

// Prune cannot be had.
func (c *Client) Prune(context.Context, uint64) error { return errReadOnly }

// Probe cannot be had.
func (c *Client) Probe(context.Context) error { return errReadOnly }

// Request cannot be had.
func (c *Client) Request(context.Context, string, string) ([32]byte, uint64, error) {
	return [32]byte{}, 0, errReadOnly
}

// Reconcile has nothing to compare: the index is the server's own.
func (c *Client) Reconcile(ctx context.Context) (uint64, error) {
	size, _, err := c.Head(ctx)
	return size, err
}

// Close ends connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}
