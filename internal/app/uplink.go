package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/fleet"
)

const (
	partReports      = "reports"       // of faults
	codeReportFailed = "report_failed" // what /health says while the server does not take reports
	// reportTimeout is for one report with its answer.
	reportTimeout = 10 * time.Second
	// reportPause is between two reports at least, however much changes.
	reportPause = time.Second
	// reportJitter is the share of an interval by which it varies, so that not all
	// nodes report at the same time.
	reportJitter = 0.2
	// maxFault bounds what is told of a message, in bytes; the server keeps as much.
	maxFault = 512
	// maxReply bounds the answer to a report, and maxServerToken a file with a token, in bytes.
	maxReply       = 64 << 10
	maxServerToken = 4 << 10
)

// uplink tells a server what this node runs.
type uplink struct {
	client  *http.Client
	options Options
	report  func(ctx context.Context) fleet.Report
	// answered is called with what the server wants the node to run, done after every
	// attempt, and after once that was told, in a goroutine of its own.
	answered func(d desired)
	done     func(ctx context.Context, err error)
	after    func(ctx context.Context)

	wake chan struct{} // holds one value at most: something changed
}

// desired is what a server wants a node to run.
type desired struct {
	Channel  string `json:"channel"`
	Sequence int64  `json:"sequence"`
	Digest   string `json:"digest"`
}

// openUplink prepares reports to --server.
func (s *Server) openUplink() error {
	o := s.options
	if o.Node.Server == "" {
		return nil
	}
	transport, err := o.Releases.Server.transport()
	if err != nil {
		return &accessError{code: codeInvalidTLS, path: first(o.Releases.Server.Cert, o.Releases.Server.CA), err: err}
	}
	s.metrics.Reports()
	s.uplink = &uplink{
		client:  &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		options: o, report: s.nodeReport, wake: make(chan struct{}, 1), answered: s.desire, done: s.reported(),
		after: func(context.Context) {},
	}
	s.releases.changed = s.uplink.look
	return nil
}

// transport proves who asks with a client certificate, which is read again for each
// connection.
func (o ServerOptions) transport() (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		data, err := readFile(o.CA, maxTrust)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", o.CA)
		}
	}
	if o.Cert != "" {
		read := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			return &pair, err
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: reportTimeout,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute, ResponseHeaderTimeout: reportTimeout,
	}, nil
}

// look has a report sent soon.
func (u *uplink) look() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// run reports until ctx ends: at once, when something changes, and every interval.
func (u *uplink) run(ctx context.Context) {
	// Apart: however long that takes, reports come in time, or the node would count as
	// silent and have a release rolled back.
	told := make(chan struct{}, 1)
	var apart sync.WaitGroup
	apart.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-told:
				u.after(ctx)
			}
		}
	})
	defer apart.Wait()
	for ctx.Err() == nil {
		u.done(ctx, u.send(ctx))
		select {
		case told <- struct{}{}:
		default: // it is under way
		}
		if !pause(ctx, reportPause, nil) {
			return
		}
		interval := u.options.Node.ReportInterval
		vary := time.Duration((2*rand.Float64() - 1) * reportJitter * float64(interval)) //nolint:gosec // not a secret
		pause(ctx, interval+vary-reportPause, u.wake)
	}
	u.client.CloseIdleConnections()
}

// pause waits for a time, or until woken, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// send sends one report.
func (u *uplink) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	body, err := json.Marshal(u.report(ctx))
	if err != nil {
		return err
	}
	target := u.options.Node.Server + "/v1/nodes/" + url.PathEscape(u.options.nodeName()) + "/report"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := u.authorize(req); err != nil {
		return err
	}
	res, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return refusedBy(res.StatusCode, reply)
	}
	var answer struct {
		Desired *desired `json:"desired"`
	}
	if err := json.Unmarshal(reply, &answer); err != nil {
		return fmt.Errorf("the answer to a report: %w", err)
	}
	if answer.Desired != nil {
		u.answered(*answer.Desired)
	}
	return nil
}

// refusedBy is the error that a server answers with.
func refusedBy(status int, reply []byte) error {
	var e struct{ Code, Message string }
	if json.Unmarshal(reply, &e) == nil && e.Code != "" {
		return fmt.Errorf("the server answers %d %s: %.300s", status, e.Code, e.Message)
	}
	return fmt.Errorf("the server answers %d %s", status, http.StatusText(status))
}

// authorize proves who asks, when a token does that.
func (u *uplink) authorize(r *http.Request) error {
	path := u.options.Releases.Server.TokenFile
	if path == "" {
		return nil
	}
	data, err := readFile(path, maxServerToken)
	token := strings.TrimSpace(string(data))
	if err == nil && (token == "" || len(data) > maxServerToken || strings.ContainsAny(token, " \t\r\n")) {
		err = errors.New("it does not hold one token")
	}
	if err != nil {
		return fmt.Errorf("--server-token-file %s: %w", path, err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// nodeReport is what this node says about itself.
func (s *Server) nodeReport(context.Context) fleet.Report {
	o := s.options
	names, _ := parseLabels(o.Node.Labels) // was checked when it was set
	report := fleet.Report{
		Node: o.nodeName(), Labels: names, Version: build().Version, Time: time.Now().UTC(), Interval: o.Node.ReportInterval.Seconds(),
		Status: fleetStatus(s.releases.Status()), Decisions: s.observed.decisions(),
	}
	report.Decisions.Started = s.started.UTC()
	if s.keeper != nil {
		report.Ledger = s.ledgerReport()
	}
	return report
}

func (s *Server) ledgerReport() *fleet.LedgerStatus {
	l := &fleet.LedgerStatus{Origin: s.keeper.origin}
	if p := s.keeper.last.Load(); p != nil {
		l.Size, l.Checkpoint = p.size, string(p.checkpoint)
	}
	if o := s.keeper.current.Load(); o != nil {
		l.Witnessed = min(o.log.Stats().Witnessed, l.Size)
	}
	return l
}

// fleetStatus is the status of releases as a server knows it.
func fleetStatus(st activation.Status) fleet.Status {
	out := fleet.Status{
		Digest: st.Digest, Revision: st.Revision, Channel: st.Channel, Sequence: st.Sequence, HighWater: st.HighWater.Sequence, Expires: st.Expires,
		Activated: st.Activated, LastChecked: st.LastChecked, LastError: fleetFault(st.LastError), Degraded: st.Degraded,
	}
	if st.State != nil {
		out.State = &fleet.StateStatus{Sequence: st.State.Sequence, Expires: st.State.Expires}
		for _, p := range st.Problems {
			if p.Part == activation.PartState {
				out.State.LastError = fleetFault(&p)
			}
		}
	}
	return out
}

func fleetFault(p *activation.Problem) *fleet.Fault {
	if p == nil {
		return nil
	}
	// What others have put into it must not make the report too large to be taken.
	return &fleet.Fault{Code: p.Code, Message: strings.ToValidUTF8(p.Message[:min(len(p.Message), maxFault)], ""), Since: p.Since}
}

// desire looks for a release that the server says there is.
func (s *Server) desire(d desired) {
	if st := s.releases.Status(); d.Channel == st.Channel && d.Sequence > st.HighWater.Sequence {
		s.releases.look()
	}
}

// reported tells how reporting goes. It degrades the node, and nothing more.
func (s *Server) reported() func(context.Context, error) {
	var told string // of the goroutine that reports
	return func(ctx context.Context, err error) {
		if ctx.Err() != nil {
			return
		}
		s.metrics.Reported(err == nil)
		if err == nil {
			if s.faults.clear(partReports) {
				s.log.Info("the server takes reports again")
			}
			told = ""
			return
		}
		s.faults.set(partReports, codeReportFailed, "the server does not take the reports of this node; decisions go on, the log says more", time.Now())
		if text := err.Error(); text != told {
			told = text
			s.log.LogAttrs(ctx, slog.LevelWarn, "report not taken", slog.String("server", s.options.Node.Server), slog.String("error", text))
		}
	}
}
