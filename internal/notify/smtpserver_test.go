package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// smtpServer is a mail server (RFC 5321, 3207, 4954) that keeps what it gets. go-mail
// has none, and a small one can also misbehave.
type smtpServer struct {
	addr   string
	config *tls.Config

	implicit   bool              // TLS from the first byte on
	noStartTLS bool              // does not offer it
	noAuth     bool              // offers no way to log in
	replies    map[string]string // what to answer to a line with this beginning, instead of the right thing; "hang" says nothing
	mu         sync.Mutex
	mails      []mailIn
	lines      []string // every line, passwords included
}

type mailIn struct {
	from, to string
	tls      bool
	user     string
	text     string
}

func startSMTP(t *testing.T, s *smtpServer) (roots *x509.CertPool) {
	t.Helper()
	cert, roots := selfSigned(t)
	s.config = &tls.Config{Certificates: []tls.Certificate{cert}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				stop := make(chan struct{})
				go func() {
					select {
					case <-done:
					case <-stop:
					}
					_ = conn.Close()
				}()
				s.serve(conn)
				close(stop)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		close(done)
		all.Wait()
	})
	return roots
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

var errHang = errors.New("says nothing more")

// say answers a line, or with what the test wants instead.
func (s *smtpServer) say(c *textproto.Conn, to, reply string) error {
	for begin, other := range s.replies {
		if strings.HasPrefix(to, begin) {
			if other == "hang" {
				_, _ = io.Copy(io.Discard, c.R)
				return errHang
			}
			if other == "flood" {
				for c.PrintfLine("250-%s", strings.Repeat("x", 1000)) == nil {
				}
				return errHang
			}
			reply = other
		}
	}
	return c.PrintfLine("%s", reply)
}

func (s *smtpServer) serve(conn net.Conn) {
	secure := s.implicit
	if s.implicit {
		conn = tls.Server(conn, s.config)
	}
	c := textproto.NewConn(conn)
	defer func() { _ = c.Close() }()
	if s.say(c, "CONNECT", "220 mail.test ESMTP") != nil {
		return
	}
	var m mailIn
	user := ""
	for {
		row, err := c.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, row)
		s.mu.Unlock()
		verb, arg, _ := strings.Cut(row, " ")
		reply := "250 ok"
		switch strings.ToUpper(verb) {
		case "EHLO":
			extensions := []string{"250-mail.test", "250-ENHANCEDSTATUSCODES"}
			if !secure && !s.noStartTLS {
				extensions = append(extensions, "250-STARTTLS")
			}
			if secure && !s.noAuth {
				extensions = append(extensions, "250-AUTH PLAIN LOGIN")
			}
			reply = strings.Join(append(extensions, "250 8BITMIME"), "\r\n")
		case "STARTTLS":
			if s.say(c, row, "220 go") != nil {
				return
			}
			up := tls.Server(conn, s.config)
			if up.Handshake() != nil {
				return
			}
			conn, secure, c = up, true, textproto.NewConn(up)
			continue
		case "AUTH":
			text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(arg, "PLAIN "))
			parts := strings.Split(string(text), "\x00")
			if reply = "535 5.7.8 no: " + arg; len(parts) == 3 && parts[2] == "correct horse" {
				user, reply = parts[1], "235 2.7.0 welcome"
			}
		case "MAIL":
			m = mailIn{from: arg, tls: secure, user: user}
		case "RCPT":
			m.to = strings.TrimSuffix(strings.TrimPrefix(arg, "TO:<"), ">")
		case "DATA":
			if s.say(c, row, "354 go on") != nil {
				return
			}
			text, err := c.ReadDotBytes()
			if err != nil {
				return
			}
			m.text = string(text)
			s.mu.Lock()
			s.mails = append(s.mails, m)
			s.mu.Unlock()
			row, reply = "DOT", "250 2.0.0 taken"
		case "QUIT":
			_ = s.say(c, row, "221 bye")
			return
		}
		if s.say(c, row, reply) != nil {
			return
		}
	}
}

func (s *smtpServer) got() []mailIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}
