package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

func tlsClient(c net.Conn) *tls.Conn {
	return tls.Client(c, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS13})
}

// TestHostileClients attacks a server in all ways at once, and one with TLS.
func TestHostileClients(t *testing.T) {
	connections := idleConnections(t)
	plain, secure := start(t, "--insecure-self-asserted"), secured(t)
	atOnce(t, map[string]func(*testing.T){
		"plain": func(t *testing.T) {
			plain.withstand(t, map[string]func(*testing.T, *server){
				"requests": refused, "slow headers": slowHeaders, "slow bodies": slowBodies, "slow lines": slowLines, "endless line": endlessLine,
				"deaf": deaf, "aborted": aborted, "pipelined": pipelined, "smuggled": smuggled, "not HTTP": notHTTP,
				"idle": func(t *testing.T, s *server) { idle(t, s, connections) },
			})
		},
		"TLS": func(t *testing.T) {
			secure.withstand(t, map[string]func(*testing.T, *server){
				"half-open handshakes": halfOpen, "requests": secureFaults, "slow headers": slowHeaders,
				"idle": func(t *testing.T, s *server) { idle(t, s, connections/10) },
			})
		},
	})
}

// atOnce runs tests at the same time, however many cores there are.
func atOnce(t *testing.T, tests map[string]func(*testing.T)) {
	var all sync.WaitGroup
	for name, test := range tests {
		all.Go(func() { t.Run(name, test) })
	}
	all.Wait()
}

// withstand runs the attacks with the other client beside them, and makes sure
// that nothing is left of them.
func (s *server) withstand(t *testing.T, attacks map[string]func(*testing.T, *server)) {
	before, err := s.scrape(t)
	if err != nil {
		t.Fatal(err)
	}
	end := s.watch(t)
	tests := map[string]func(*testing.T){}
	for name, attack := range attacks {
		tests[name] = func(t *testing.T) { attack(t, s) }
	}
	atOnce(t, tests)
	end()
	var after usage
	poll.Until(t, "the server gives back what it took", func() error {
		var err error
		if after, err = s.scrape(t); err != nil {
			return err
		}
		if after.goroutines > before.goroutines+10 || after.files > before.files+10 || after.heap > before.heap+16<<20 {
			return fmt.Errorf("before %+v, after %+v", before, after)
		}
		return nil
	})
	t.Logf("before %+v, after %+v", before, after)
}

// idleConnections is how many connections can be held: as many as the limits of
// this process allow.
func idleConnections(t *testing.T) int {
	t.Helper()
	want := 1_000
	if os.Getenv("CHARTER_LONG") != "" {
		want = 10_000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// The server inherits the limit and holds as many; other attacks take some.
	need := uint64(want + want/10 + 2_500)
	if limit.Max < need {
		t.Skipf("%d connections need %d open files, and the hard limit is %d (ulimit -Hn)", want, need, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return want
}

// idle connections never say a word, or fall silent after an answer.
func idle(t *testing.T, s *server, n int) {
	greets := func(i int) bool { return s.roots == nil && i%2 == 0 }
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial(t)
		if greets(i) { // at once, since others are being cut off already when there are many
			if _, err := io.WriteString(conns[i], "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	each(t, n, func(i int) error {
		text, err := ended(conns[i], max(headerTimeout, idleTimeout))
		if err == nil && greets(i) && !strings.HasPrefix(text, "HTTP/1.1 200 ") {
			err = fmt.Errorf("%.300q", text)
		}
		return err
	})
}
