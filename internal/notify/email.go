package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/westworld-charter/charter/internal/charter"
)

// TLSMode says how a mail server is spoken to.
type TLSMode string

// The modes.
const (
	StartTLS      TLSMode = "starttls"       // the server must offer it
	ImplicitTLS   TLSMode = "implicit"       // from the first byte on, as on port 465
	InsecurePlain TLSMode = "insecure-plain" // everybody on the way can read and alter it
)

// SMTP is the mail server that takes messages.
type SMTP struct {
	Server       string // HOST:PORT; "" is none
	From         string // the mailbox that messages are from
	User         string // "" logs nobody in
	PasswordFile string // where the password is, one of the two
	PasswordEnv  string
	TLS          TLSMode // "" is StartTLS
}

// Validate returns what is wrong, in words of the command line.
func (s SMTP) Validate() error {
	if s == (SMTP{}) || s == (SMTP{TLS: s.TLS}) {
		return nil
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	host, port, err := net.SplitHostPort(s.Server)
	if n, numberErr := strconv.Atoi(port); err != nil || numberErr != nil || host == "" || n < 1 || n > 65535 {
		fault("--smtp %q is not HOST:PORT, such as mail.example.org:587", s.Server)
	}
	if a, err := mail.ParseAddress(s.From); err != nil || strings.ContainsAny(a.Address, "\r\n") {
		fault("--smtp-from %q is not a mail address, such as charter@example.org", s.From)
	}
	switch s.TLS {
	case "", StartTLS, ImplicitTLS:
	case InsecurePlain:
		if s.User != "" {
			fault("--smtp-tls insecure-plain would show the password to everybody on the way: leave out --smtp-user, or use starttls")
		}
	default:
		fault("--smtp-tls %q is not one of starttls, implicit and insecure-plain", s.TLS)
	}
	if s.PasswordFile != "" && s.PasswordEnv != "" {
		fault("--smtp-password-file and --smtp-password-env exclude each other")
	}
	if (s.User != "") != (s.PasswordFile != "" || s.PasswordEnv != "") {
		fault("--smtp-user needs --smtp-password-file or --smtp-password-env, and these need it")
	}
	return errors.Join(faults...)
}

const (
	smtpTimeout  = 30 * time.Second // of an attempt, all mailboxes together
	maxSMTP      = 1 << 20          // bytes that a server may answer in an attempt
	maxMailboxes = 256              // that are remembered to have a message
)

// email sends to mailboxes, each a message of its own: one that does not exist must not
// keep the message from the others.
type email struct {
	to         *charter.Email
	smtp       SMTP
	getenv     func(string) string
	roots      *x509.CertPool
	publicOnly bool
}

func (e *email) send(ctx context.Context, d *delivery) outcome {
	if e.smtp.Server == "" {
		return failed(CodeSMTPNotConfigured, "no mail server is configured: --smtp")
	}
	ctx, cancel := context.WithTimeout(ctx, smtpTimeout)
	defer cancel()
	only := &wire{}
	defer only.close()
	client, o := e.client(ctx, only)
	if o.code != "" {
		return o
	}
	conversation, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return failedDial(ctx, err)
	}
	sent := slices.Clone(d.Sent)
	var worst outcome
	for _, to := range e.to.To {
		if slices.Contains(sent, to) {
			continue
		}
		var o outcome
		if m, err := e.message(to, d); err != nil {
			o = outcome{code: CodeRejected, permanent: true, detail: err.Error()}
		} else if err := client.SendWithSMTPClient(conversation, m); err != nil && !m.IsDelivered() {
			o = failedSend(ctx, err)
		}
		switch {
		case o.code == "":
			sent = append(sent, to)
		case worst.code == "" || worst.permanent: // one that may work later keeps the delivery alive
			worst = o
		}
	}
	_ = conversation.Quit() // what was sent was acknowledged
	worst.sent = sent
	return worst
}

// client makes a go-mail client with one connection.
func (e *email) client(ctx context.Context, only *wire) (*gomail.Client, outcome) {
	host, port, err := net.SplitHostPort(e.smtp.Server)
	number, numberErr := strconv.Atoi(port)
	if err != nil || numberErr != nil {
		return nil, failed(CodeSMTPNotConfigured, "--smtp %q is not HOST:PORT", e.smtp.Server)
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: e.roots}
	options := []gomail.Option{
		gomail.WithPort(number), gomail.WithTimeout(smtpTimeout), gomail.WithTLSConfig(config),
		gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer(e.publicOnly).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return only.take(ctx, conn, e.smtp.TLS == ImplicitTLS, config)
		}),
	}
	if e.smtp.TLS == InsecurePlain {
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if e.smtp.TLS == ImplicitTLS { // the connection has it already
		options = append(options, gomail.WithSSL())
	}
	if e.smtp.User != "" {
		password, err := secret(e.getenv, e.smtp.PasswordFile, e.smtp.PasswordEnv)
		if err != nil {
			return nil, failed(CodeSecretUnavailable, "%v", err)
		}
		options = append(options, gomail.WithUsername(e.smtp.User), gomail.WithPassword(password), gomail.WithOpportunisticSMTPAuth(
			gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	c, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, failed(CodeSMTPNotConfigured, "%v", err)
	}
	only.until(ctx)
	return c, outcome{}
}

func (e *email) message(to string, d *delivery) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	if err := m.From(e.smtp.From); err != nil {
		return nil, err
	}
	if err := m.To(to); err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(e.smtp.From)
	if err != nil {
		return nil, err
	}
	m.Subject(line(d.Digest.title(), 2*maxTitle))
	m.SetDateWithValue(d.Sealed)
	// The same in every attempt: a second copy can be recognized.
	m.SetMessageIDWithValue(d.ID + "." + hash(to)[:8] + from.Address[strings.LastIndexByte(from.Address, '@'):])
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation answers
	m.SetGenHeader("X-Charter-Severity", first(d.Digest.Severity, "none"))
	if d.Digest.Severity == Critical {
		m.SetImportance(gomail.ImportanceHigh)
	}
	m.SetBodyString(gomail.TypeTextPlain, d.Digest.text())
	return m, nil
}

// failedDial names an error before the first message.
func failedDial(ctx context.Context, err error) outcome {
	reply, isReply := errors.AsType[*textproto.Error](err)
	switch {
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return failed(CodeTLSRequired, "the mail server offers no STARTTLS")
	case isReply && (reply.Code == 535 || reply.Code == 534 || reply.Code == 530 || reply.Code == 538):
		return failed(CodeUnauthorized, "%d", reply.Code) // its words may repeat ours
	case isReply:
		return failed(CodeServerError, "%d %s", reply.Code, line(reply.Msg, 200))
	case strings.Contains(err.Error(), "SMTP AUTH") || strings.Contains(err.Error(), "AUTH"):
		return failed(CodeUnauthorized, "the mail server did not let us log in, or offers no way that is known")
	}
	return failedConnection(ctx, err)
}

// failedSend names an error of one mailbox.
func failedSend(ctx context.Context, err error) outcome {
	if e, ok := errors.AsType[*gomail.SendError](err); ok && e.ErrorCode() != 0 {
		o := failed(CodeServerError, "%d %s", e.ErrorCode(), line(e.Error(), 200))
		if e.ErrorCode()/100 == 5 {
			o.code, o.permanent = CodeRejected, true
		}
		return o
	}
	return failedConnection(ctx, err)
}

// wire is the one connection of an attempt. It is closed when the attempt ends, and
// reads no more than an attempt needs.
type wire struct {
	net.Conn
	left int
	stop func() bool
	ctx  context.Context //nolint:containedctx // of the attempt, which the wire is part of
}

func (w *wire) until(ctx context.Context) { w.ctx = ctx }

// take makes conn the connection. The deadline of the attempt holds whatever the
// library sets.
func (w *wire) take(ctx context.Context, conn net.Conn, implicit bool, config *tls.Config) (net.Conn, error) {
	w.Conn, w.left = conn, maxSMTP
	w.stop = context.AfterFunc(w.ctx, func() { _ = conn.Close() })
	if !implicit {
		return w, nil
	}
	secure := tls.Client(w, config)
	return secure, secure.HandshakeContext(ctx)
}

func (w *wire) close() {
	if w.Conn != nil {
		w.stop()
		_ = w.Conn.Close() // a second time it says so
	}
}

// Read bounds what a server can make us read.
func (w *wire) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, fmt.Errorf("the mail server answered more than %d bytes: %w", maxSMTP, io.ErrShortBuffer)
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}
