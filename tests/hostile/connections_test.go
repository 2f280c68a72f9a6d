package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

// ended reads until the server closes the connection, which it must do within a
// time, and returns what it said.
func ended(c net.Conn, within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within + bound)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return string(text), fmt.Errorf("still open after %s", within+bound)
	}
	return string(text), nil // a reset is an end, too
}

// each runs n attackers at the same time and reports the first few faults.
func each(t *testing.T, n int, attack func(i int) error) {
	t.Helper()
	var all sync.WaitGroup
	faults := make(chan error, n)
	for i := range n {
		all.Go(func() {
			if err := attack(i); err != nil {
				faults <- err
			}
		})
	}
	all.Wait()
	close(faults)
	count := len(faults)
	for err := range faults {
		t.Errorf("%d of %d: %v", count, n, err)
		break
	}
}

// drip sends a text a byte at a time until it is sent or the server has had
// enough.
func drip(c net.Conn, text string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
		<-tick.C
	}
}

// slowHeaders never finish the header: there is nothing to answer yet, so they
// are cut off.
func slowHeaders(t *testing.T, s *server) {
	conns := many(t, s, 100)
	each(t, len(conns), func(i int) error {
		go drip(conns[i], "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nX-Slow: "+strings.Repeat("x", 100), 100*time.Millisecond)
		_, err := ended(conns[i], headerTimeout)
		return err
	})
}

// slowBodies never finish the body, of a question or a batch.
func slowBodies(t *testing.T, s *server) {
	conns := many(t, s, 100)
	paths := []string{"/v1/check", "/v1/check/batch", "/v1/data/charter/decision", "/access/v1/evaluation"}
	each(t, len(conns), func(i int) error {
		head := "POST " + paths[i%len(paths)] + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
		if _, err := io.WriteString(conns[i], head); err != nil {
			return err
		}
		go drip(conns[i], strings.Repeat(" ", 200), 50*time.Millisecond)
		text, err := ended(conns[i], readTimeout)
		if err == nil && (!strings.HasPrefix(text, "HTTP/1.1 408 ") || !strings.Contains(text, `"code":"request_timeout"`)) {
			err = fmt.Errorf("%s: %.300q", paths[i%len(paths)], text)
		}
		return err
	})
}

// slowLines begin a stream and never finish a line.
func slowLines(t *testing.T, s *server) {
	const head = "POST /v1/check/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
	conns := many(t, s, 50)
	each(t, len(conns), func(i int) error {
		line := "{" + asked + "}\n"
		if _, err := fmt.Fprintf(conns[i], "%s%x\r\n%s\r\n1\r\n{\r\n", head, len(line), line); err != nil {
			return err
		}
		text, err := ended(conns[i], readTimeout)
		if err == nil && (!strings.Contains(text, `"clause":"net.latency"`) || !strings.Contains(text, `"code":"request_timeout"`)) {
			err = fmt.Errorf("%.1000q", text)
		}
		return err
	})
}

// endlessLine is a stream that is one line of 20 MiB.
func endlessLine(t *testing.T, s *server) {
	got, err := exchange(s.dial(t), bad{
		path: "/v1/check/batch", body: strings.Repeat("x", 20<<20) + "\n{" + asked + "}\n", header: []string{"Content-Type: application/x-ndjson"}, chunked: true,
	}.text())
	lines := strings.Split(string(got.body), "\n")
	if err != nil || len(lines) != 3 || !strings.Contains(lines[0], `"code":"body_too_large"`) || !strings.Contains(lines[1], `"clause":"net.latency"`) {
		t.Errorf("%v: %.1000s", err, got.body)
	}
}

// deaf clients send batches and never read the answers, which are many times
// larger than what the kernel buffers.
func deaf(t *testing.T, s *server) {
	batch := `{"common":{` + asked + `},"items":[{}` + strings.Repeat(",{}", 9_999) + `]}`
	conns := many(t, s, 20)
	each(t, len(conns), func(i int) error {
		if err := conns[i].(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			return err
		}
		_ = conns[i].SetWriteDeadline(time.Now().Add(writeTimeout))
		for range 3 { // pipelined; the server reads the next one when the answer is sent
			if _, err := fmt.Fprintf(conns[i], "POST /v1/check/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(batch), batch); err != nil {
				break
			}
		}
		return nil
	})
	poll.Until(t, "answers that nobody reads are given up", func() error {
		for _, c := range conns {
			if err := c.SetWriteDeadline(time.Now().Add(bound)); err != nil {
				return err
			}
			if _, err := io.WriteString(c, " "); err == nil {
				return errors.New("a connection is still open")
			}
		}
		return nil
	})
}

// aborted clients leave in the middle of a body, politely or with a reset.
func aborted(t *testing.T, s *server) {
	conns := many(t, s, 500)
	each(t, len(conns), func(i int) error {
		_, err := io.WriteString(conns[i], "POST /v1/check/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat(" ", 1000*(i%20)))
		if i%2 == 0 {
			err = errors.Join(err, conns[i].(*net.TCPConn).SetLinger(0))
		}
		return errors.Join(err, conns[i].Close())
	})
}

// pipelined requests are answered in their order, good and bad.
func pipelined(t *testing.T, s *server) {
	list := questions()
	var text strings.Builder
	const n = 1000
	for i := range n {
		body := list[i%len(list)].body
		if i%10 == 9 {
			body = `{"metrik":1}`
		}
		fmt.Fprintf(&text, "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	c := s.dial(t)
	go func() { _, _ = io.WriteString(c, text.String()) }() // what is not taken shows in the answers
	_ = c.SetReadDeadline(time.Now().Add(poll.Patience))
	in := bufio.NewReader(c)
	for i := range n {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("answer %d of %d: %v", i, n, err)
		}
		body, err := io.ReadAll(res.Body)
		want, status := `"clause":"`+list[i%len(list)].clause+`"`, http.StatusOK
		if i%10 == 9 {
			want, status = `"location":"metrik"`, http.StatusBadRequest
		}
		if err != nil || res.StatusCode != status || !strings.Contains(string(body), want) {
			t.Fatalf("answer %d: %d %s, want %s", i, res.StatusCode, body, want)
		}
	}
}

// smuggled requests hide a second one in a body of two lengths. What is chunked
// ends with its last chunk, whatever its length is said to be (RFC 9112, 6.3).
func smuggled(t *testing.T, s *server) {
	const second = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	for head, seen := range map[string]bool{
		fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", len(second)+5): true,
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n":                    false,
		"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n":                                         false,
		"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n":                                               false,
		"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n":                                                  false,
		"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello":                                           false,
		"Content-Length: +5\r\n\r\nhello":                                                               false,
		"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n":                                                  false,
		"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n":                                   false,
	} {
		c := s.dial(t)
		if _, err := io.WriteString(c, "POST /v1/check HTTP/1.1\r\nHost: localhost\r\n"+head+second); err != nil {
			t.Fatal(err)
		}
		text, err := ended(c, headerTimeout+readTimeout)
		refusal := strings.HasPrefix(text, "HTTP/1.1 4") || strings.HasPrefix(text, "HTTP/1.1 501 ")
		if err != nil || strings.Contains(text, `"revision"`) != seen || !refusal {
			t.Errorf("%q: %v %.500q", head, err, text)
		}
	}
}

// notHTTP is what other protocols say first.
func notHTTP(t *testing.T, s *server) {
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "SSH-2.0-x\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
		"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\xff\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
	} {
		c := s.dial(t)
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		got, err := ended(c, idleTimeout)
		if refusal := strings.HasPrefix(got, "HTTP/1.1 4") || strings.HasPrefix(got, "HTTP/1.1 505 "); err != nil || got != "" && !refusal {
			t.Errorf("%q: %v %.300q", text, err, got)
		}
	}
}

// many opens n connections.
func many(t *testing.T, s *server, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial(t)
	}
	return conns
}

// halfOpen handshakes send a part of a first message of TLS, or nothing.
func halfOpen(t *testing.T, s *server) {
	hello := clientHello(t)
	conns := many(t, s, 500)
	each(t, len(conns), func(i int) error {
		part := hello[:len(hello)*(i%10)/10]
		if _, err := conns[i].Write(part); err != nil {
			return err
		}
		_, err := ended(conns[i], headerTimeout)
		return err
	})
}

// clientHello is what a client of TLS sends first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() { _ = tlsClient(client).Handshake() }() // nobody answers
	buffer := make([]byte, 16<<10)
	n, err := server.Read(buffer)
	if err := errors.Join(err, server.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

// secureFaults are refused over TLS as without: who is nobody, who has a bad
// token, and who speaks no TLS.
func secureFaults(t *testing.T, s *server) {
	const question = "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n"
	for header, code := range map[string]string{
		"": "unauthenticated", "Authorization: Bearer \r\n": "unauthenticated", "Authorization: Bearer " + strings.Repeat("x", 10_000) + "\r\n": "unauthenticated",
		"Authorization: Basic " + token + "\r\n": "unauthenticated", "Authorization: Bearer " + token + "\r\nAuthorization: Bearer " + token + "\r\n": "unauthenticated",
		"Authorization: Bearer " + token + "\r\n": "invalid_request",
	} {
		got, err := exchange(s.secure(t), question+header+"\r\n{}")
		if err != nil || !strings.Contains(string(got.body), `"code":"`+code+`"`) {
			t.Errorf("%.40q: %v %d %s", header, err, got.status, got.body)
		}
	}
	got, err := exchange(s.dial(t), question+"\r\n{}")
	if err != nil || got.status != http.StatusBadRequest {
		t.Errorf("without TLS: %v %d %s", err, got.status, got.body)
	}
}
