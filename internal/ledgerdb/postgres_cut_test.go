//go:build linux

package ledgerdb_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/ledgerdb/postgrestest"
)

// wire is a way to a server that can be cut at a certain message.
type wire struct {
	target string
	group  sync.WaitGroup

	mu  sync.Mutex
	cut *cut // nil lets everything pass
}

// cut ends a connection once the client has sent some bytes.
type cut struct {
	at     string
	pass   bool // the server gets them, and its answer gets lost
	happen int  // how often it is done; others pass
}

func newWire(t testing.TB, target string) (w *wire, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wire{target: target}
	w.group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() { w.connect(client) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); w.group.Wait() })
	return w, l.Addr().String()
}

func (w *wire) set(c *cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = c
}

// due tells whether a connection is to be cut after this message.
func (w *wire) due(message []byte) (now, pass bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut == nil || w.cut.happen == 0 || !bytes.Contains(message, []byte(w.cut.at)) {
		return false, false
	}
	w.cut.happen--
	return true, w.cut.pass
}

func (w *wire) connect(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var mute sync.Mutex // held by who sends to the client; for good once it is cut
	w.group.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			mute.Lock()
			if err == nil {
				_, err = client.Write(buffer[:n])
			}
			mute.Unlock()
			if err != nil {
				_ = client.Close()
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if isCancel(buffer[:n]) {
			return
		}
		now, pass := w.due(buffer[:n])
		if now {
			mute.Lock()
			_ = client.Close()
			mute.Unlock()
		}
		if !now || pass {
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
		if now && pass {
			// The end of the stream, and not a reset, which would overtake the message.
			_ = server.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, server)
		}
		if now {
			return
		}
	}
}

// isCancel tells whether a message asks the server to cancel what a session does.
// The client asks so when a connection is lost, and the server may get to it before
// a COMMIT that has arrived: then it is not known which way it goes.
func isCancel(message []byte) bool {
	const code = 80877102
	return len(message) == 16 && binary.BigEndian.Uint32(message[4:]) == code
}

func connectionCut(t *testing.T, server *postgrestest.Server) {
	ctx := context.Background()
	w, address := newWire(t, server.Address())
	for name, tc := range map[string]struct {
		cut     cut
		unknown bool
		size    uint64 // entries afterwards
	}{
		"before the insert":           {cut{"privacy.location", false, 1}, false, 6},
		"after the insert":            {cut{"privacy.location", true, 1}, false, 6},
		"twice":                       {cut{"privacy.location", true, 2}, false, 6},
		"before COMMIT arrives":       {cut{"commit\x00", false, 1}, true, 5},
		"before COMMIT is answered":   {cut{"commit\x00", true, 1}, true, 6},
		"at the beginning, for a bit": {cut{"charter ledger", false, 3}, false, 6},
	} {
		t.Run(name, func(t *testing.T) {
			w.set(nil)
			url := strings.Replace(server.URL(schemaOf(t)), server.Address(), address, 1)
			s := openPostgres(t, url, ledgerdb.PostgresOptions{})
			signer := ledgertest.NewSigner(t)
			l := ledgertest.NewLog(t, s, signer, nil)
			ledgertest.Append(t, l, 5)
			if tc.cut.at == "charter ledger" { // which every new session says
				server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'charter ledger%'")
			}
			w.set(&tc.cut)
			_, err := l.Append(ctx, ledgertest.Denial(6), ledger.Durable)
			if got := errors.Is(err, ledger.ErrStopped); got != tc.unknown || !got && err != nil {
				t.Errorf("append: %v", err)
			}
			w.set(nil)
			if tc.unknown {
				for what, err := range map[string]error{"probe": s.Probe(ctx), "commit": s.Commit(ctx, ledger.Commit{From: 5})} {
					if err == nil || !strings.Contains(err.Error(), "not known") {
						t.Errorf("%s after a commit of which nobody knows: %v", what, err)
					}
				}
			} else if err := s.Probe(ctx); err != nil {
				t.Error(err)
			}
			_ = l.Close()
			shut(t, s)
			s = openPostgres(t, url, ledgerdb.PostgresOptions{})
			l = ledgertest.NewLog(t, s, signer, nil)
			if size := l.Stats().Size; size != tc.size {
				t.Errorf("%d entries, want %d", size, tc.size)
			}
			ledgertest.Append(t, l, 1)
			if report, err := verify(t, s, ledgertest.Keys(t, signer)); err != nil || report.Size != tc.size+1 {
				t.Errorf("verify: %+v, %v", report, err)
			}
			shut(t, l, s)
		})
	}
}
