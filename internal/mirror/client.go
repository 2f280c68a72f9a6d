package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer bounds an answer of a server in bytes.
const maxAnswer = 1 << 20

// Client is the [Server] that is asked over HTTP.
type Client struct {
	base string // of this node, without a slash at the end
	http *http.Client
	auth func(*http.Request) error
}

// NewClient returns a client for a node of a server, such as https://charter.example:8000.
// Authorize adds a proof of identity to a request, where the connection is none; nil adds
// nothing.
func NewClient(server, node string, client *http.Client, authorize func(*http.Request) error) *Client {
	if authorize == nil {
		authorize = func(*http.Request) error { return nil }
	}
	return &Client{strings.TrimRight(server, "/") + "/v1/nodes/" + url.PathEscape(node), client, authorize}
}

// Held implements [Server].
func (c *Client) Held(ctx context.Context) (uint64, error) {
	var st Status
	err := c.do(ctx, http.MethodGet, "/ledger", nil, &st)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Code == "not_found" {
		return 0, nil
	}
	return st.Size, err
}

// Extend implements [Server].
func (c *Client) Extend(ctx context.Context, u Upload) (Status, error) {
	var st Status
	err := c.do(ctx, http.MethodPost, "/ledger", u, &st)
	return st, err
}

// Cosigned implements [Server].
func (c *Client) Cosigned(ctx context.Context, cosigned Cosignature) error {
	return c.do(ctx, http.MethodPost, "/cosignature", cosigned, &Status{})
}

// do asks, and reads the answer into a value, or as an [*Error].
func (c *Client) do(ctx context.Context, method, path string, question, answer any) error {
	var body io.Reader
	if question != nil {
		data, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if question != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if err := c.auth(r); err != nil {
		return err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode == http.StatusOK {
		return json.Unmarshal(data, answer)
	}
	var refused struct {
		Code, Message string
		Size          uint64
	}
	if err := json.Unmarshal(data, &refused); err != nil || refused.Code == "" {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	return &Error{Code: refused.Code, Size: refused.Size, Err: errors.New(refused.Message)}
}
