// Package fetch asks HTTP servers in tests, where any answer but a good one is an error
// that shows it. [Text] is for what an answer says, [Do] also for its header.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// shown is how many bytes of a bad answer an error shows.
const shown = 500

// Do sends a request with header names and values in turn, a body as JSON unless they say
// otherwise. An answer with a status other than 2xx is an error, beside what came.
func Do(ctx context.Context, c *http.Client, method, url, body string, header ...string) (http.Header, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %.*s", method, url, res.StatusCode, shown, text)
	}
	return res.Header, string(text), err
}

// Text is [Do] for who does not look at the header of the answer.
func Text(ctx context.Context, c *http.Client, method, url, body string, header ...string) (string, error) {
	_, text, err := Do(ctx, c, method, url, body, header...)
	return text, err
}

// Get is [Text] of a GET without a body, over the connections of [http.DefaultClient].
func Get(ctx context.Context, url string, header ...string) (string, error) {
	return Text(ctx, http.DefaultClient, http.MethodGet, url, "", header...)
}

// Bearer is the header that a token is sent in; nothing for "".
func Bearer(token string) []string {
	if token == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + token}
}
