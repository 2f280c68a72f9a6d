package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerclient"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/mirror"
	"github.com/westworld-charter/charter/internal/witness"
)

// partMirror is the part of faults about the ledgers of a node and of its server; the
// codes are what /health says, those of package mirror and codeServerForked.
const (
	partMirror       = "mirror"
	codeServerForked = metrics.MirrorServerForked
	// mirrorTimeout is for one round: what does not fit waits for the next.
	mirrorTimeout = time.Minute
)

// openMirrorUp has the ledger of this node copied to its server after each report, and
// the ledger of the server cosigned when --witness-logs knows its key.
func (s *Server) openMirrorUp() error {
	if s.uplink == nil || s.keeper == nil {
		return nil
	}
	o := s.options
	far := mirror.NewClient(o.Node.Server, o.nodeName(), s.uplink.client, s.uplink.authorize)
	m := &mirrorUp{server: s, push: &mirror.Pusher{Ledger: s.ownLedger, Key: s.ledgerKeys.opener.keys.Key, Server: far}}
	if s.witness != nil {
		roots, err := serverRoots(o.Releases.Server.CA)
		if err != nil {
			return &accessError{code: codeInvalidTLS, path: o.Releases.Server.CA, err: err}
		}
		client, err := ledgerclient.New(o.Node.Server, ledgerclient.Options{Roots: roots})
		if err != nil {
			return err
		}
		m.watch = &mirror.Watcher{Ledger: client, Witness: s.witness, Key: s.witness.Signer.VerifierKey(), Server: far}
	}
	s.metrics.NodeMirror()
	s.uplink.after = m.run
	return nil
}

// ownLedger reads the ledger of this process; nil while it is closed.
func (s *Server) ownLedger() *ledger.Reader {
	if o := s.keeper.current.Load(); o != nil {
		return o.log.Reader()
	}
	return nil
}

// serverRoots are the authorities in a file; nil, which are those of the system, without
// one.
func serverRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxTrust)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// mirrorUp is used by one goroutine.
type mirrorUp struct {
	server *Server
	push   *mirror.Pusher
	watch  *mirror.Watcher // nil when this node is no witness
	told   string          // in the log
}

func (m *mirrorUp) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	held, err := m.push.Push(ctx)
	code := mirrorCode(err)
	if m.watch != nil && err == nil && held > 0 { // the server takes cosignatures from nodes that it knows
		if _, err = m.watch.Watch(ctx); errors.Is(err, witness.ErrInconsistent) {
			code = codeServerForked
		} else {
			code = mirrorCode(err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	m.server.metrics.NodeMirrored(err == nil, held, code)
	m.tell(code, err)
}

// mirrorCode is what an error says about one of the ledgers; "" when it says nothing.
func mirrorCode(err error) string {
	refused, ok := errors.AsType[*mirror.Error](err)
	if !ok {
		return ""
	}
	if slices.Contains(metrics.MirrorFaults(), refused.Code) {
		return refused.Code
	}
	return ""
}

// tell degrades the node when a ledger cannot be trusted; a server that cannot be
// reached is told by the reports.
func (m *mirrorUp) tell(code string, err error) {
	s := m.server
	if code != "" {
		s.faults.set(partMirror, code, "the ledger of this node and its copy, or the ledger of the server, do not go together; the log says more", time.Now())
	} else {
		s.faults.clear(partMirror)
	}
	text := ""
	if err != nil {
		text = strings.TrimSpace(code + " " + err.Error())
	}
	if text != "" && text != m.told {
		s.log.Warn("ledgers are not mirrored", "server", s.options.Node.Server, "code", code, "error", err.Error())
	}
	m.told = text
}
