package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/notify"
)

const (
	notifyDir       = "notify"         // below Options.Data
	notifyPrincipal = "charter:notify" // of entries about deliveries
	partNotify      = "notify"         // of faults
	codeNotify      = "notify_failing" // what /health says
	// notifyPatience is how long a receiver may fail before /health says so.
	notifyPatience = 5 * time.Minute
	// maxDeliveries bounds the entries about deliveries that wait for the ledger.
	maxDeliveries = 1000
	// deliveryBatch is how many of them are appended together: few enough for a deadline.
	deliveryBatch = 50
)

// NotifyOptions say how people are told of violations. Where, the charter says.
type NotifyOptions struct {
	SMTP       notify.SMTP
	PublicOnly bool // nothing is sent to private addresses and this machine
}

// notifier tells people, and the ledger what became of it.
type notifier struct {
	*notify.Notifier
	record *deliveries

	mu    sync.Mutex
	knows *charter.Charter // whose receivers are used; guarded by mu
}

// openNotify takes up what waits to be told. Without a ledger there is nothing to tell.
func (s *Server) openNotify() error {
	if s.keeper == nil {
		return nil
	}
	d := &deliveries{log: s.keeper, logger: s.log, wake: make(chan struct{}, 1)}
	dir := filepath.Join(s.options.Data, notifyDir)
	o := notify.Options{
		SMTP: s.options.Notify.SMTP, PublicOnly: s.options.Notify.PublicOnly, Dir: dir, Log: s.log, Observer: s.metrics, Delivered: d.add,
	}
	c := s.charter()
	if c != nil {
		o.Receivers = c.Notify
	}
	n, err := notify.New(o)
	if err != nil {
		return &usageError{err: fmt.Errorf("--data must name a directory that can be written and that no other server uses: %w", err)}
	}
	s.notifier = &notifier{Notifier: n, record: d, knows: c}
	s.metrics.Notifications(s.notificationStats)
	return nil
}

// tellNotice tells people what happened to whom. It never waits.
func (s *Server) tellNotice(n enforcement.Notice) {
	s.log.Warn(n.Title, "notice", n.Kind, "severity", n.Severity, "node", n.Node, "violation", n.Violation, "clause", n.Clause)
	if s.notifier == nil {
		return
	}
	s.useReceivers()
	to := n.Receivers
	if c := s.charter(); len(to) == 0 && c != nil {
		for _, r := range c.Notify {
			to = append(to, r.Name)
		}
	}
	fields := n.Fields
	if n.Violation != "" {
		fields = map[string]string{"violation": n.Violation}
		for k, v := range n.Fields {
			fields[k] = v
		}
	}
	s.notifier.Send(to, notify.Message{
		// What is told again after a crash has the same entry and time.
		ID:   strings.Join([]string{n.Kind, n.Fields["entry"], n.Time.UTC().Format(time.RFC3339Nano)}, "/"),
		Kind: n.Kind, Severity: n.Severity, Node: n.Node, Clause: n.Clause, Title: n.Title, Text: n.Text, Fields: fields, Time: n.Time,
	})
}

// useReceivers has the receivers of the charter in force used, if they are not yet.
func (s *Server) useReceivers() {
	c := s.charter()
	s.notifier.mu.Lock()
	defer s.notifier.mu.Unlock()
	if c != nil && c != s.notifier.knows {
		s.notifier.knows = c
		s.notifier.Update(c.Notify)
	}
}

// watchNotify keeps receivers up to date, and degrades the server while people cannot
// be told.
func (s *Server) watchNotify(now time.Time) {
	if s.notifier == nil {
		return
	}
	s.useReceivers()
	st := s.notifier.Stats()
	if st.Outbox != nil && now.Sub(st.Since) > notifyPatience {
		s.faults.set(partNotify, codeNotify, "notifications that wait cannot be written to disk; decisions go on, the log says more", now)
		return
	}
	for _, f := range st.Failing {
		if now.Sub(f.Since) > notifyPatience {
			s.faults.set(partNotify, codeNotify, "notifications do not reach every receiver; decisions go on, the log says more", now)
			return
		}
	}
	s.faults.clear(partNotify)
}

func (s *Server) notificationStats() metrics.NotificationStats {
	st := s.notifier.Stats()
	return metrics.NotificationStats{Queued: st.Queued, Dead: st.Dead, Dropped: st.Dropped, Failing: len(st.Failing), Outbox: st.Outbox == nil}
}

// deliver tells people while the server runs. The returned function ends that: what
// waits is on disk then, and what was told is in the ledger.
func (s *Server) deliver(ctx context.Context) (settle func() error) {
	if s.notifier == nil {
		return func() error { return nil }
	}
	delivering, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	var recording sync.WaitGroup
	recorded, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	recording.Go(func() { s.notifier.record.run(recorded) })
	go func() { done <- s.notifier.Run(delivering) }()
	return func() error {
		stop()
		err := <-done
		stopRecording()
		recording.Wait()
		return err
	}
}

// closeNotify is for a server that does not get to run.
func (s *Server) closeNotify() error {
	if s.notifier == nil {
		return nil
	}
	return s.notifier.Close()
}

// deliveries append what became of messages to the ledger, without making them wait
// for it.
type deliveries struct {
	log    audit.Log
	logger *slog.Logger
	wake   chan struct{} // holds one value at most

	mu   sync.Mutex
	list []ledger.Entry // guarded by mu
}

// add implements [notify.Options.Delivered].
func (d *deliveries) add(severity string, of ledger.Delivery) {
	e, err := deliveryEntry(severity, of)
	d.mu.Lock()
	full := len(d.list) >= maxDeliveries
	if err == nil && !full {
		d.list = append(d.list, e)
	}
	d.mu.Unlock()
	if err != nil || full {
		d.logger.Error("what became of a notification is not in the ledger", "id", of.ID, "receiver", of.Receiver, "state", of.State)
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// deliveryEntry has a request id that is the same when the same is told again.
func deliveryEntry(severity string, of ledger.Delivery) (ledger.Entry, error) {
	data, err := json.Marshal(of)
	return ledger.Entry{
		Kind: ledger.Notification, Severity: severity, Principal: notifyPrincipal,
		RequestID: fmt.Sprintf("%s/%s/%s/%d", of.ID, of.Receiver, of.State, of.Attempts), Data: data,
	}, err
}

func (d *deliveries) run(ctx context.Context) {
	retry := time.NewTicker(ledgerTick)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := d.flush(context.WithoutCancel(ctx)); err != nil {
				d.logger.Error("what became of the last notifications is not in the ledger", "error", err.Error())
			}
			return
		case <-d.wake:
		case <-retry.C:
		}
		_ = d.flush(ctx) // the keeper tells why; there is another attempt
	}
}

// flush appends what waits.
func (d *deliveries) flush(ctx context.Context) error {
	for {
		d.mu.Lock()
		waiting := d.list[:min(len(d.list), deliveryBatch)]
		d.mu.Unlock()
		if len(waiting) == 0 {
			return nil
		}
		if err := d.append(ctx, waiting); err != nil {
			return err
		}
		d.mu.Lock()
		d.list = append([]ledger.Entry(nil), d.list[len(waiting):]...)
		d.mu.Unlock()
	}
}

func (d *deliveries) append(ctx context.Context, entries []ledger.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, audit.DefaultDeadline)
	defer cancel()
	places, err := d.log.AppendAll(ctx, entries, ledger.Durable)
	if audit.Unrecorded(places, err, len(entries)) > 0 {
		return err
	}
	return nil
}
