package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Limits of what a server answers.
const (
	remoteAnswer  = 16 << 20 // bytes
	remoteTimeout = 30 * time.Second
	uploadTimeout = 10 * time.Minute
)

// remoteFlags say which server is asked, and as whom.
type remoteFlags struct{ server, tokenFile, caFile string }

func (f *remoteFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.server, "server", "", "`URL` of charter-server (default "+defaultServer+")")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "`file` with the bearer token (default $CHARTER_TOKEN)")
	cmd.Flags().StringVar(&f.caFile, "tls-ca", "", "PEM `file` with the authorities for the certificate of --server")
}

// remote is a server.
type remote struct {
	base, token string
	http        *http.Client
}

// remote connects to nothing yet. Without identity no token is sent.
func (p *program) remote(f remoteFlags, identity bool) (*remote, error) {
	base := defaultServer
	if f.server != "" {
		base = f.server
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, usagef("--server: %q is not the URL of a server, such as https://charter.example.org:8000", base)
	}
	c := &remote{base: strings.TrimRight(u.String(), "/")}
	if identity {
		c.token = p.getenv("CHARTER_TOKEN")
		if f.tokenFile != "" {
			token, err := os.ReadFile(f.tokenFile)
			if err != nil {
				return nil, usagef("--token-file: %w", err)
			}
			c.token = strings.TrimSpace(string(token))
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, usagef("--tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--tls-ca: %s holds no certificate in PEM", f.caFile)
		}
	}
	c.http = &http.Client{
		Timeout:   remoteTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server redirects elsewhere") // and the token would follow
		},
	}
	return c, nil
}

// get returns the answer to a request for a path.
func (c *remote) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil, "", "")
}

// post sends JSON. A key makes a retry of the request harmless; "" is none.
func (c *remote) post(ctx context.Context, path string, body any, key string) ([]byte, error) {
	data, ok := body.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	return c.do(ctx, http.MethodPost, path, data, "application/json", key)
}

// upload sends a file, which may take a while. One that the server has read and does not
// accept is an error of verification.
func (c *remote) upload(ctx context.Context, path string, data []byte, media string) ([]byte, error) {
	c.http.Timeout = uploadTimeout
	answer, err := c.do(ctx, http.MethodPost, path, data, media, "")
	if r, ok := errors.AsType[*refusedError](err); ok && r.status == http.StatusUnprocessableEntity {
		return nil, &exitError{ExitVerify, err}
	}
	return answer, err
}

func (c *remote) do(ctx context.Context, method, path string, body []byte, media, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", media)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, remoteAnswer+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.base, err)
	}
	if len(answer) > remoteAnswer {
		return nil, fmt.Errorf("read %s: the answer is longer than %d bytes", c.base, remoteAnswer)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return answer, nil
	}
	return nil, refusedBy(c.base, resp, answer)
}

// refusedError is an answer that is an error.
type refusedError struct {
	status  int
	message string
}

func (e *refusedError) Error() string { return e.message }

// refusedBy is an answer that is an error. What the request said wrong is a usage
// error, a signature that does not do is one of verification.
func refusedBy(base string, resp *http.Response, body []byte) error {
	var fault struct {
		Code, Message string
		Errors        []struct{ Message, Location string }
	}
	why := resp.Status
	if json.Unmarshal(body, &fault) == nil && fault.Message != "" {
		why = fault.Message
		for i, e := range fault.Errors {
			if i > 0 {
				why += "; " + e.Location + ": " + e.Message
			}
		}
		why += " [" + fault.Code + "]"
	}
	err := error(&refusedError{resp.StatusCode, fmt.Sprintf("%s says: %s", base, why)})
	switch {
	case fault.Code == "no_quorum", fault.Code == "invalid_signature", fault.Code == "duplicate_signature":
		return &exitError{ExitVerify, err}
	case resp.StatusCode == http.StatusUnauthorized:
		return usagef("%w; give a token in --token-file or $CHARTER_TOKEN", err)
	case resp.StatusCode >= http.StatusInternalServerError, resp.StatusCode == http.StatusTooManyRequests:
		return &exitError{ExitInternal, err}
	default:
		return &exitError{ExitUsage, err}
	}
}

// answered reads an answer as a value, and prints it as it is where that is wanted.
func answered[T any](p *program, body []byte, asJSON bool, pretty func(T) error) error {
	if asJSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, body, "", "  "); err != nil {
			return fmt.Errorf("the answer is not JSON: %w", err)
		}
		_, err := p.stdout.Write(append(bytes.TrimRight(indented.Bytes(), "\n"), '\n'))
		return err
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("the answer is not understood: %w", err)
	}
	return pretty(v)
}
