package notify

import (
	"context"
	"mime"
	"net"
	"net/mail"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

func legal(to ...string) charter.Receiver {
	return charter.Receiver{Name: "legal", Email: &charter.Email{To: to}}
}

func TestEmail(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	for _, c := range []struct {
		name   string
		server *smtpServer
		smtp   SMTP
		tls    bool
		user   string
	}{
		{"starttls", &smtpServer{}, SMTP{}, true, ""},
		{"starttls with login", &smtpServer{}, SMTP{User: "charter", PasswordFile: password, TLS: StartTLS}, true, "charter"},
		{"implicit with login", &smtpServer{implicit: true}, SMTP{User: "charter", PasswordEnv: "PASSWORD", TLS: ImplicitTLS}, true, "charter"},
		{"insecure-plain", &smtpServer{noStartTLS: true}, SMTP{TLS: InsecurePlain}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, password, "correct horse\n")
			roots := startSMTP(t, c.server)
			c.smtp.Server, c.smtp.From = c.server.addr, "Charter <charter@example.org>"
			o := Options{SMTP: c.smtp, Roots: roots, Getenv: env(map[string]string{"PASSWORD": "correct horse"})}
			m := violation("v", Critical, "Grüße\r\nBcc: all@example.org")
			if got := try(t, o, legal("ana@example.org", "ben@example.org"), m); got.Code != "" {
				t.Fatalf("not delivered: %+v", got)
			}
			mails := c.server.got()
			if len(mails) != 2 || mails[0].to != "ana@example.org" || mails[1].to != "ben@example.org" {
				t.Fatalf("%+v", mails)
			}
			if mails[0].tls != c.tls || mails[0].user != c.user {
				t.Errorf("TLS %v, user %q", mails[0].tls, mails[0].user)
			}
			parsed, err := mail.ReadMessage(strings.NewReader(mails[0].text))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
			if err != nil || !strings.HasPrefix(subject, "[critical] Grüße  Bcc: all@example.org asked") || parsed.Header.Get("Bcc") != "" {
				t.Errorf("subject %q, Bcc %q, %v", subject, parsed.Header.Get("Bcc"), err)
			}
			if id := parsed.Header.Get("Message-Id"); !strings.HasPrefix(id, "<msg_") || !strings.HasSuffix(id, "@example.org>") || parsed.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("%v", parsed.Header)
			}
		})
	}
}

func TestEmailFailures(t *testing.T) {
	foreign, _ := selfSigned(t)
	for _, c := range []struct {
		name      string
		server    *smtpServer
		smtp      SMTP
		password  string
		code      string
		permanent bool
	}{
		{"no STARTTLS is offered", &smtpServer{noStartTLS: true}, SMTP{}, "", CodeTLSRequired, false},
		{"wrong password", &smtpServer{}, SMTP{User: "charter", PasswordEnv: "PASSWORD"}, "tr0ub4dor&3", CodeUnauthorized, false},
		{"no way to log in", &smtpServer{noAuth: true}, SMTP{User: "charter", PasswordEnv: "PASSWORD"}, "correct horse", CodeUnauthorized, false},
		{"no password", &smtpServer{}, SMTP{User: "charter", PasswordEnv: "PASSWORD"}, "", CodeSecretUnavailable, false},
		{"not ready", &smtpServer{replies: map[string]string{"CONNECT": "421 4.3.2 later"}}, SMTP{}, "", CodeServerError, false},
		{"mailbox unknown", &smtpServer{replies: map[string]string{"RCPT": "550 5.1.1 nobody"}}, SMTP{}, "", CodeRejected, true},
		{"mailbox busy", &smtpServer{replies: map[string]string{"RCPT": "450 4.2.1 busy"}}, SMTP{}, "", CodeServerError, false},
		{"message refused", &smtpServer{replies: map[string]string{"DOT": "554 5.7.1 spam"}}, SMTP{}, "", CodeRejected, true},
		{"hangs at the start", &smtpServer{replies: map[string]string{"CONNECT": "hang"}}, SMTP{}, "", CodeTimeout, false},
		{"hangs after DATA", &smtpServer{replies: map[string]string{"DOT": "hang"}}, SMTP{}, "", CodeTimeout, false},
		{"floods", &smtpServer{replies: map[string]string{"EHLO": "flood"}}, SMTP{}, "", CodeUnreachable, false},
		{"garbage", &smtpServer{replies: map[string]string{"CONNECT": "hi"}}, SMTP{}, "", CodeUnreachable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			roots := startSMTP(t, c.server)
			c.smtp.Server, c.smtp.From = c.server.addr, "charter@example.org"
			e := &email{legal("ana@example.org").Email, c.smtp, env(map[string]string{"PASSWORD": c.password}), roots, false}
			o := sendFor(t, e, 400*time.Millisecond)
			if o.code != c.code || o.permanent != c.permanent {
				t.Errorf("%+v, want %s", o, c.code)
			}
			if c.password != "" && strings.Contains(o.detail, c.password) || strings.Contains(o.detail, "AGNoYXJ0ZXI") {
				t.Errorf("the detail has the password: %s", o.detail)
			}
			if c.server.noStartTLS && slices.ContainsFunc(c.server.lines, func(s string) bool { return strings.HasPrefix(s, "MAIL") }) {
				t.Error("it went out without TLS")
			}
		})
	}
	t.Run("foreign certificate", func(t *testing.T) {
		s := &smtpServer{}
		roots := startSMTP(t, s)
		s.config.Certificates[0] = foreign
		e := &email{legal("ana@example.org").Email, SMTP{Server: s.addr, From: "a@example.org"}, nil, roots, false}
		if o := sendFor(t, e, time.Second); o.code != CodeTLSFailed || len(s.got()) > 0 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		e := &email{legal("ana@example.org").Email, SMTP{Server: "127.0.0.1:1", From: "a@example.org"}, nil, nil, false}
		if o := sendFor(t, e, time.Second); o.code != CodeUnreachable {
			t.Errorf("%+v", o)
		}
	})
}

func sendFor(t *testing.T, c channel, limit time.Duration) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	d := &delivery{ID: "msg_1", Digest: &digest{}, Sealed: time.Now()}
	d.Digest.add(violation("v", "high", "edge-1").bounded(time.Now()))
	start := time.Now()
	o := c.send(ctx, d)
	if took := time.Since(start); took > limit+2*time.Second {
		t.Errorf("an attempt of at most %s took %s", limit, took)
	}
	return o
}

// One mailbox that is full must neither keep the message from the others nor have them
// get it again and again.
func TestMailboxesAreApart(t *testing.T) {
	s := &smtpServer{replies: map[string]string{"RCPT TO:<full@": "452 4.2.2 full", "RCPT TO:<gone@": "550 5.1.1 gone"}}
	roots := startSMTP(t, s)
	e := &email{legal("gone@example.org", "ana@example.org", "full@example.org", "ben@example.org").Email, SMTP{Server: s.addr, From: "a@example.org"}, nil, roots, false}
	o := sendFor(t, e, 5*time.Second)
	if o.code != CodeServerError || o.permanent || !slices.Equal(o.sent, []string{"ana@example.org", "ben@example.org"}) {
		t.Errorf("%+v", o)
	}
	d := &delivery{ID: "msg_1", Digest: &digest{}, Sealed: time.Now(), Sent: o.sent}
	d.Digest.add(violation("v", "high", "edge-1").bounded(time.Now()))
	e.send(t.Context(), d)
	if got := s.got(); len(got) != 2 {
		t.Errorf("%d mails, want one for each mailbox that takes them", len(got))
	}
}

func TestSMTPSettings(t *testing.T) {
	good := SMTP{Server: "mail.example.org:587", From: "charter@example.org"}
	for name, change := range map[string]func(*SMTP){
		"--smtp ":         func(s *SMTP) { s.Server = "mail.example.org" },
		"--smtp \"":       func(s *SMTP) { s.Server = "mail.example.org:0" },
		"--smtp-from":     func(s *SMTP) { s.From = "nobody" },
		"--smtp-tls":      func(s *SMTP) { s.TLS = "none" },
		"insecure-plain":  func(s *SMTP) { s.TLS, s.User, s.PasswordEnv = InsecurePlain, "u", "P" },
		"exclude":         func(s *SMTP) { s.User, s.PasswordEnv, s.PasswordFile = "u", "P", "f" },
		"--smtp-user nee": func(s *SMTP) { s.User = "u" },
		"these need it":   func(s *SMTP) { s.PasswordEnv = "P" },
	} {
		s := good
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []SMTP{good, {}, {TLS: StartTLS}, {Server: net.JoinHostPort("::1", "25"), From: "Charter <c@example.org>", TLS: InsecurePlain}} {
		if err := s.Validate(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
