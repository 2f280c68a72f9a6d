package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// Codes of why an attempt failed; the list is closed.
const (
	CodeUnknownReceiver   = "unknown_receiver"    // the charter in force has no such receiver
	CodeSecretUnavailable = "secret_unavailable"  // the file or variable cannot be read, or is empty
	CodeSecretTooShort    = "secret_too_short"    // a signing secret under 24 bytes, or not base64 after whsec_
	CodeInsecureURL       = "insecure_url"        // an address that is itself secret, without TLS beyond loopback
	CodeSMTPNotConfigured = "smtp_not_configured" // there is no mail server
	CodeAddressRefused    = "address_refused"     // the name leads to an address that nothing is sent to
	CodeNameNotFound      = "name_not_found"      // DNS does not know the name
	CodeUnreachable       = "unreachable"         // no connection, or it was lost
	CodeTimeout           = "timeout"             // no answer in time
	CodeTLSFailed         = "tls_failed"          // the certificate or the handshake is not acceptable
	CodeTLSRequired       = "tls_required"        // the mail server offers no STARTTLS
	CodeRedirected        = "redirected"          // redirections are not followed
	CodeUnauthorized      = "unauthorized"        // the receiver does not believe us
	CodeNotFound          = "not_found"           // nothing is there
	CodeRejected          = "rejected"            // this message will never be taken
	CodeRateLimited       = "rate_limited"        // too many messages
	CodeServerError       = "server_error"        // the receiver has a fault
	CodeBadAnswer         = "bad_answer"          // an answer that means nothing
	CodeOutboxUnwritable  = "outbox_unwritable"   // the dead letter could not be kept
)

// Codes returns the closed list of codes, for labels and documentation.
func Codes() []string {
	return []string{
		CodeUnknownReceiver, CodeSecretUnavailable, CodeSecretTooShort, CodeInsecureURL, CodeSMTPNotConfigured, CodeAddressRefused, CodeNameNotFound,
		CodeUnreachable, CodeTimeout, CodeTLSFailed, CodeTLSRequired, CodeRedirected, CodeUnauthorized, CodeNotFound, CodeRejected, CodeRateLimited,
		CodeServerError, CodeBadAnswer, CodeOutboxUnwritable,
	}
}

// outcome is what became of an attempt.
type outcome struct {
	code      string        // "" is delivered
	permanent bool          // another attempt would be the same
	after     time.Duration // the receiver asked for this long
	sent      []string      // mailboxes that have it, those of earlier attempts included
	detail    string        // for the log; no secrets
}

func failed(code, format string, args ...any) outcome {
	return outcome{code: code, detail: fmt.Sprintf(format, args...)}
}

// channel is one way to reach a receiver.
type channel interface {
	// send makes one attempt. It returns when ctx ends.
	send(ctx context.Context, d *delivery) outcome
}

// Names of channels, as in the charter.
const (
	slackChannel   = "slack"
	emailChannel   = "email"
	webhookChannel = "webhook"
)

// channelOf names the channel of a receiver, nil for none.
func channelOf(r *charter.Receiver) string {
	switch {
	case r == nil:
		return ""
	case r.Slack != nil:
		return slackChannel
	case r.Email != nil:
		return emailChannel
	case r.Webhook != nil:
		return webhookChannel
	}
	return ""
}

// maxSecret bounds what is read of a secret, in bytes.
const maxSecret = 4 << 10

// secret reads a secret; each attempt does, so that another one counts at once.
// The error has no part of it.
func secret(getenv func(string) string, file, env string) (string, error) {
	var text string
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		text = string(data)
	} else {
		text = getenv(env)
	}
	where := first(file, env)
	if len(text) > maxSecret {
		return "", fmt.Errorf("%s holds more than %d bytes", where, maxSecret)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty or not set", where)
	}
	return text, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// errAddress is a connection that the policy about addresses refuses.
var errAddress = errors.New("nothing is sent to this address")

// failedConnection names an error of the network. Its text has neither paths nor
// queries: callers take those out.
func failedConnection(ctx context.Context, err error) outcome {
	code := CodeUnreachable
	var (
		timeout net.Error
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		author  x509.UnknownAuthorityError
		host    x509.HostnameError
		header  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.Is(err, errAddress):
		code = CodeAddressRefused
	case errors.As(err, &cert), errors.As(err, &author), errors.As(err, &host), errors.As(err, &header), errors.As(err, &alert):
		code = CodeTLSFailed
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		code = CodeTimeout
	case errors.As(err, &dns):
		code = CodeNameNotFound
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		code = CodeTLSFailed // errors of the handshake have no type
	}
	return failed(code, "%v", err)
}
