package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// maxPEM bounds a file of certificates or keys in bytes.
const maxPEM = 4 << 20

// claimMTLS is the claim of everybody who presented a client certificate.
const claimMTLS = "mtls"

// credentials are what the server proves itself with and whom it trusts to
// vouch for clients; immutable.
type credentials struct {
	config  *tls.Config
	clients *x509.CertPool // nil asks for no client certificate
}

// loadCredentials reads the files anew. The key must fit the certificate: a
// pair of which only one half was replaced is refused.
func loadCredentials(o Options, from stamps) (*credentials, error) {
	refuse := func(path string, err error) error {
		return &accessError{code: codeInvalidTLS, path: path, err: err}
	}
	read := func(path string) ([]byte, error) {
		from.note(path)
		data, err := readFile(path, maxPEM)
		if err == nil && len(data) > maxPEM {
			err = fmt.Errorf("larger than %d bytes", maxPEM)
		}
		if err != nil {
			return nil, refuse(path, err)
		}
		return data, nil
	}
	cert, err := read(o.TLS.Cert)
	if err != nil {
		return nil, err
	}
	key, err := read(o.TLS.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, refuse(o.TLS.Cert, err)
	}
	c := &credentials{config: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}}
	if o.TLS.ClientCA == "" {
		return c, nil
	}
	authorities, err := read(o.TLS.ClientCA)
	if err != nil {
		return nil, err
	}
	c.clients = x509.NewCertPool()
	if !c.clients.AppendCertsFromPEM(authorities) {
		return nil, refuse(o.TLS.ClientCA, errors.New("there is no certificate in it"))
	}
	c.config.ClientCAs = c.clients
	c.config.ClientAuth = tls.RequireAndVerifyClientCert
	if o.TokenFile != "" {
		c.config.ClientAuth = tls.VerifyClientCertIfGiven // a token does as well
	}
	// A resumed session would skip what an authority file says by then.
	c.config.SessionTicketsDisabled = true
	return c, nil
}

// trusted verifies a chain that a connection presented against the authorities
// in force now.
func (c *credentials) trusted(chain []*x509.Certificate) error {
	if c.clients == nil {
		return errors.New("client certificates are not accepted")
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return errors.New("the certificate is no longer accepted")
	}
	return nil
}

// certified says for whom a verified client certificate speaks. The node is the
// name in a URI SAN charter://node/NAME, else the first DNS SAN, else the common
// name; roles are those of URI SANs charter://role/NAME, else the configured
// ones.
func certified(cert *x509.Certificate, t TLSOptions) (*decisionapi.Identity, error) {
	nodes, roles, err := charterNames(cert.URIs)
	if err != nil {
		return nil, err
	}
	node := cert.Subject.CommonName
	switch {
	case len(nodes) > 1:
		return nil, errors.New("the certificate names more than one node")
	case len(nodes) == 1:
		node = nodes[0]
	case len(cert.DNSNames) > 0:
		node = cert.DNSNames[0]
	}
	if node == "" || len(node) > decision.MaxNameBytes || !printable(node) {
		return nil, errors.New("the certificate names no node: it needs a URI SAN charter://node/NAME, a DNS SAN or a common name")
	}
	id := &decisionapi.Identity{
		Kind: decisionapi.KindCertificate, Name: node, Node: node,
		Scopes: []string{wire.ScopeCheck, wire.ScopeMetrics, wire.ScopeUpload, wire.ScopeReport},
		Roles:  roles, Claims: listed(t.ClientClaims), Held: []string{claimMTLS},
	}
	if len(roles) == 0 {
		id.Roles = listed(t.ClientRoles)
	}
	asserting := listed(t.AssertRoles)
	if slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(asserting, role) }) {
		id.Scopes = append(id.Scopes, wire.ScopeAssert)
	}
	return id, nil
}

// charterNames reads the URI SANs of the scheme charter. One that is not
// understood is refused: it was meant to say something.
func charterNames(uris []*url.URL) (nodes, roles []string, err error) {
	for _, u := range uris {
		if u.Scheme != "charter" {
			continue
		}
		name, ok := strings.CutPrefix(u.Path, "/")
		if !ok || name == "" || strings.Contains(name, "/") || len(name) > decision.MaxNameBytes || !printable(name) ||
			u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, nil, errors.New("the certificate has a URI SAN that is neither charter://node/NAME nor charter://role/NAME")
		}
		switch u.Host {
		case "node":
			nodes = append(nodes, name)
		case "role":
			roles = append(roles, name)
		default:
			return nil, nil, errors.New("the certificate has a URI SAN that is neither charter://node/NAME nor charter://role/NAME")
		}
	}
	return nodes, roles, nil
}

// printable reports whether text can stand in a log.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// listed splits the value of a list setting.
func listed(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// loadTLS is the load of the part certificates.
func (s *Server) loadTLS(_ context.Context, from stamps) error {
	c, err := loadCredentials(s.options, from)
	if err != nil {
		return err
	}
	s.credentials.Store(c)
	s.log.Info("certificates in force", "not_after", notAfter(c.config))
	return nil
}

func notAfter(c *tls.Config) string {
	leaf := c.Certificates[0].Leaf
	if leaf == nil {
		return ""
	}
	return leaf.NotAfter.UTC().Format("2006-01-02T15:04:05Z")
}

// tlsConfig hands every new connection the credentials in force then.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.credentials.Load().config, nil
		},
	}
}
