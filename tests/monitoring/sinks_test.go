package monitoring

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"
)

// message is what somebody was told.
type message struct {
	to     string // slack #CHANNEL, pager, or mail ADDRESS
	status string // firing or resolved; "" when it does not say
	alert  string
	text   string
}

// inbox collects what everybody was told.
type inbox struct {
	mu   sync.Mutex
	list []message // guarded by mu
}

func (in *inbox) add(m message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.list = append(in.list, m)
}

// about are the messages about an alert.
func (in *inbox) about(alert string) []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	var list []message
	for _, m := range in.list {
		if m.alert == alert {
			list = append(list, m)
		}
	}
	return list
}

// all are the messages so far.
func (in *inbox) all() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]message(nil), in.list...)
}

// secrets that the programs read from files.
const (
	slackPath    = "/services/T0/B0/secret-of-slack"
	pagerToken   = "secret-of-the-pager"
	mailUser     = "charter-alerts"
	mailPassword = "secret-of-the-mailbox"
)

// hooks serves Slack, the pager and a webhook of the charter over TLS.
func (in *inbox) hooks(t *testing.T, ca mesh) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+slackPath, func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Channel     string
			Attachments []struct{ Title, Text string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || len(m.Attachments) != 1 {
			t.Errorf("slack got %+v: %v", m, err)
			return
		}
		var status, alert string
		_, _ = fmt.Sscanf(m.Attachments[0].Title, "[%s %s", &status, &alert) // as in the title of alertmanager.yml
		in.add(message{"slack " + m.Channel, strings.ToLower(strings.Trim(strings.SplitN(status, ":", 2)[0], "[]")), alert, m.Attachments[0].Text})
	})
	mux.HandleFunc("POST /pager", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+pagerToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var m struct {
			Status       string
			CommonLabels map[string]string
			Alerts       []struct{ Annotations map[string]string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || len(m.Alerts) == 0 {
			t.Errorf("the pager got %+v: %v", m, err)
			return
		}
		in.add(message{"pager", m.Status, m.CommonLabels["alertname"], m.Alerts[0].Annotations["summary"]})
	})
	mux.HandleFunc("POST /v1/traces", func(http.ResponseWriter, *http.Request) {}) // the collector takes everything
	mux.HandleFunc("POST /committee", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body) // shown as far as it came
		in.add(message{"committee", "", "", string(text)})
	})
	s := httptest.NewUnstartedServer(mux)
	pair, _, _ := ca.issue(t, "hooks", "")
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// mails serves SMTP with STARTTLS and a password.
func (in *inbox) mails(t *testing.T, ca mesh) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	pair, _, _ := ca.issue(t, "mail", "")
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer c.Close() //nolint:errcheck // it was answered
				in.mailbox(c, config)
			}()
		}
	}()
	return l.Addr().String()
}

// mailbox is one session. Without encryption and password it takes no mail.
func (in *inbox) mailbox(c net.Conn, config *tls.Config) {
	r, encrypted, proven := textproto.NewReader(bufio.NewReader(c)), false, false
	var to []string
	say := func(line string) { _, _ = io.WriteString(c, line+"\r\n") } // a client that went away reads nothing
	say("220 sink")
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			if encrypted {
				say("250-sink\r\n250 AUTH PLAIN")
			} else {
				say("250-sink\r\n250 STARTTLS")
			}
		case "STARTTLS":
			say("220 go on")
			c = tls.Server(c, config)
			r, encrypted = textproto.NewReader(bufio.NewReader(c)), true
		case "AUTH":
			secret, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			if proven = encrypted && string(secret) == "\x00"+mailUser+"\x00"+mailPassword; !proven {
				say("535 no")
				continue
			}
			say("235 yes")
		case "MAIL":
			if !proven {
				say("530 who are you")
				continue
			}
			to = nil
			say("250 ok")
		case "RCPT":
			to = append(to, strings.Trim(strings.TrimPrefix(strings.ToUpper(rest), "TO:"), "<>"))
			say("250 ok")
		case "DATA":
			say("354 go on")
			m, err := mail.ReadMessage(r.DotReader())
			if err != nil {
				return
			}
			in.mailed(to, m)
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// mailed notes a mail of Alertmanager, whose subject begins with [FIRING:1] NAME.
func (in *inbox) mailed(to []string, m *mail.Message) {
	text, _ := io.ReadAll(m.Body) // shown as far as it came
	subject := m.Header.Get("Subject")
	status, rest, _ := strings.Cut(strings.TrimPrefix(subject, "["), "] ")
	status, _, _ = strings.Cut(status, ":")
	for _, address := range to {
		in.add(message{"mail " + strings.ToLower(address), strings.ToLower(status), strings.Fields(rest + " ?")[0], string(text)})
	}
}
