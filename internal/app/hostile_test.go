package app

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// dialed opens n connections that stay open until the test ends.
func dialed(t *testing.T, address string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conns[i] = c
	}
	return conns
}

// Clients that hold connections, never finish or send too much must not keep
// others waiting, with TLS or without.
func TestHostileClientsLeaveOthersServed(t *testing.T) {
	plain := launch(t, "--charter", example1, "--insecure-self-asserted")
	secure := fortified(t, "--token-file", "$DIR/tokens.yaml")
	for name, c := range map[string]struct {
		url    string
		client *http.Client
		header []string
		greet  string // what a connection sends before it falls silent
	}{
		"plain": {plain.url, &http.Client{}, nil, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		"TLS":   {secure.url, secure.client(t), []string{"Authorization", "Bearer " + gatewayToken}, "\x16\x03\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			_, address, _ := strings.Cut(c.url, "://")
			for i, conn := range dialed(t, address, 1000) {
				if i%2 == 0 {
					continue // not a byte
				}
				if _, err := io.WriteString(conn, c.greet); err != nil {
					t.Fatal(err)
				}
			}
			for _, conn := range dialed(t, address, 50) {
				_, _ = io.WriteString(conn, "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{")
			}
			for _, conn := range dialed(t, address, 50) {
				go func() { // until the server has had enough
					_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n")
					for {
						if _, err := io.WriteString(conn, "X-Flood: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
							return
						}
					}
				}()
			}
			for range 100 {
				if status, body := send(t, c.client, "POST", c.url+"/v1/check", collect, c.header...); status != http.StatusOK || !decided(t, body).Allow {
					t.Fatalf("%d %s", status, body)
				}
			}
		})
	}
	for _, p := range []*process{plain, secure.process} {
		if code, _ := p.stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}

// Each bad request is answered with what is wrong with it.
func TestHostileRequests(t *testing.T) {
	s := offered(t, selfAsserted(example1))
	deep := strings.Repeat(`{"a":`, 30_000) + "1" + strings.Repeat("}", 30_000)
	labels := `{"metric":"m","operation":"collect","node":"n","role":"r","labels":{` + strings.TrimSuffix(strings.Repeat(`"l":"v",`, 7000), ",") + `}}`
	for name, c := range map[string]struct {
		body, want string
		status     int
	}{
		"huge":          {strings.Repeat(" ", 1<<20+1), "body_too_large", 413},
		"large":         {strings.Repeat(" ", 1<<16+1), "body_too_large", 413},
		"deep":          {deep, "body_too_large", 413},
		"a bit deep":    {deep[:20_000], "invalid_request", 400},
		"labels":        {labels, "labels", 400},
		"invalid UTF-8": {`{"metric":"` + "\xff" + `"}`, "UTF-8", 400},
		"null":          {"null", "invalid_request", 400},
		"nothing":       {"", "invalid_request", 400},
	} {
		if status, body := ask(t, s.url+"/v1/check", c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %.300s", name, status, body)
		}
	}
}
