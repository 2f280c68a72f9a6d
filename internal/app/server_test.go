package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/engine"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/rollout"
)

// pipes is a listener in memory. Inside a synctest bubble time stands still
// while everybody waits, so deadlines are tested exactly and at once. A bubble
// also fails the test when a goroutine is left behind.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return local{c}, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return local{}.RemoteAddr() }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client
	case <-p.closed:
		t.Fatal("the listener is closed")
		return nil
	}
}

// local is a pipe that looks like a connection over loopback.
type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000} }

// running is a server in a bubble.
type running struct {
	*pipes
	server *Server
	stop   context.CancelFunc
	done   chan error
}

func serve(t *testing.T, h http.Handler) *running {
	t.Helper()
	p := newPipes()
	o := Defaults()
	o.InsecureSelfAsserted = true
	s := &Server{options: o, log: slog.New(slog.DiscardHandler), engine: engine.New(), metrics: metrics.New(metrics.Build{}), handler: h, listener: p}
	s.rollout = rollout.New(s.engine, rollout.Options{})
	if h == nil {
		var err error
		if s.handler, err = decisionapi.New(decisionapi.Options{Decider: decisionapi.Batching(s.engine), Reporter: s, Observer: s.metrics, InsecureSelfAsserted: true}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{pipes: p, server: s, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	synctest.Wait()
	return r
}

// readAll reads until the server closes the connection.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	data, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			<-release
			if q.Context().Err() != nil {
				t.Error("the request was cancelled by the shutdown")
			}
			_, _ = io.WriteString(w, "answered")
		}))
		c := r.dial(t)
		write(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		r.stop()
		synctest.Wait()
		select {
		case err := <-r.done:
			t.Fatalf("ended with a request under way: %v", err)
		default:
		}
		select {
		case <-r.closed:
		default:
			t.Error("new connections are still accepted")
		}
		if got := r.server.Status().Code; got != "no_policy" {
			t.Errorf("status %q", got) // no policy is the graver fact
		}
		close(release)
		if got := readAll(t, c); !strings.HasSuffix(got, "answered") {
			t.Errorf("cut off: %q", got)
		}
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }))
		c := r.dial(t)
		write(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		start := time.Now()
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("gave up after %v, want 10s", took)
		}
		_ = c.Close()
	})
}

// A client that sends its header byte by byte must not hold a connection.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		c := r.dial(t)
		start := time.Now()
		write(t, c, "POST /v1/check HTTP/1.1\r\nHost: loc")
		_ = readAll(t, c)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("held for %v, want 5s", took)
		}
		r.stop()
		<-r.done
	})
}

func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		c := r.dial(t)
		start := time.Now()
		write(t, c, "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"metric\":")
		got := readAll(t, c)
		if !strings.Contains(got, "408 Request Timeout") || !strings.Contains(got, `"code":"request_timeout"`) {
			t.Errorf("%q", got)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("held for %v, want 10s", took)
		}
		r.stop()
		<-r.done
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		c := r.dial(t)
		start := time.Now()
		write(t, c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got := readAll(t, c); !strings.Contains(got, "no_policy") {
			t.Errorf("%q", got)
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("closed after %v, want 2m", took)
		}
		r.stop()
		<-r.done
	})
}

func TestHugeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		c := r.dial(t)
		go func() { // the server stops reading half-way
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
		}()
		var head [64]byte
		n, _ := io.ReadAtLeast(c, head[:], 20)
		if !bytes.Contains(head[:n], []byte(" 431 ")) {
			t.Errorf("%q", head[:n])
		}
		_ = c.Close()
		r.stop()
		<-r.done
	})
}

// failing is a listener whose socket breaks.
type failing struct{ *pipes }

func (failing) Accept() (net.Conn, error) { return nil, errors.New("the socket broke") }

func TestServeThatFails(t *testing.T) {
	s := &Server{options: Defaults(), log: slog.New(slog.DiscardHandler), handler: http.NotFoundHandler(), listener: failing{newPipes()}, rollout: rollout.New(engine.New(), rollout.Options{})}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the socket broke") {
		t.Errorf("error %v", err)
	}
}

// The name localhost can be made to mean anything; what was bound counts.
func TestListenChecksWhatItBound(t *testing.T) {
	s := &Server{options: Options{Listen: "0.0.0.0:0", InsecureSelfAsserted: true}}
	_, err := s.Listen(t.Context())
	if _, ok := errors.AsType[*usageError](err); !ok {
		t.Errorf("error %v", err)
	}
	if s.listener != nil {
		t.Error("it listens nevertheless")
	}
}
