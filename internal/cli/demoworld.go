package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
)

//go:embed demo/charter.yaml
var demoCharter []byte

// Who and what is in the demo.
const (
	demoNode   = "edge-7"
	demoOther  = "edge-8" // does nothing; for those who repeat the story
	demoValid  = 24 * time.Hour
	demoAnswer = 1 << 20 // bytes of an answer that are read
	demoOrigin = "demo.charter.local/ledger"
)

// demoSettings is the configuration of the server; %s is its address.
const demoSettings = `# Made by charter-admin demo; docs/server.yaml explains all settings.
charter: charter.yaml
listen: %s
data: data
ledger_origin: ` + demoOrigin + `
tls:
  cert: server.pem
  key: server.key
  client_ca: ca.pem
token_file: tokens.yaml
log: {format: json}
`

// Files of bearer tokens, named after who has them.
const (
	auditorToken   = "auditor.token"
	memberToken    = "ana.token"
	collectorToken = "prometheus.token"
)

// furnish writes what the server and its callers need.
func (d *demoRun) furnish() error {
	if err := os.Mkdir(d.path("auditor"), 0o700); err != nil {
		return err
	}
	tokens, err := d.tokens()
	if err != nil {
		return err
	}
	return errors.Join(d.certificates(), d.write("tokens.yaml", tokens), d.write("charter.yaml", demoCharter),
		d.write("capture.txt", []byte("14:02 edge-7 -> collector: phone_location 38.7,-9.1\n")))
}

func (d *demoRun) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demoRun) write(name string, data []byte) error {
	return os.WriteFile(d.path(name), data, 0o600)
}

// tokens makes the bearer tokens and returns the list of their digests.
func (d *demoRun) tokens() ([]byte, error) {
	var list bytes.Buffer
	for file, scope := range map[string]string{auditorToken: "audit", memberToken: "committee", collectorToken: "metrics"} {
		token := rand.Text()
		digest := sha256.Sum256([]byte(token))
		name := strings.TrimSuffix(file, ".token")
		fmt.Fprintf(&list, "- {name: %s, sha256: %s, scopes: [%s]}\n", name, hex.EncodeToString(digest[:]), scope)
		if err := d.write(file, []byte(token+"\n")); err != nil {
			return nil, err
		}
	}
	return list.Bytes(), nil
}

// certificates makes an authority, and certificates of the server and of two nodes.
func (d *demoRun) certificates() error {
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "charter-admin demo"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := d.certificate("ca", ca, ca, nil)
	if err != nil {
		return err
	}
	server := &x509.Certificate{
		Subject: pkix.Name{CommonName: "charter-server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if _, err := d.certificate("server", server, ca, key); err != nil {
		return err
	}
	for _, name := range []string{demoNode, demoOther} {
		node := &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{{Scheme: "charter", Host: "node", Path: "/" + name}},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if _, err := d.certificate(name, node, ca, key); err != nil {
			return err
		}
	}
	return nil
}

// certificate writes NAME.pem and NAME.key. Without a signer it signs itself, and its
// key is not written: nobody needs it again.
func (d *demoRun) certificate(name string, what, issuer *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	by := signer
	if by == nil {
		by = key
	}
	if what.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	now := d.p.now()
	what.NotBefore, what.NotAfter = now.Add(-time.Hour), now.Add(demoValid)
	der, err := x509.CreateCertificate(rand.Reader, what, issuer, key.Public(), by)
	if err != nil {
		return nil, err
	}
	if err := d.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil || signer == nil {
		return key, err
	}
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, err
	}
	return key, d.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// startServer starts the server at an address, and returns when it listens.
func (d *demoRun) startServer(ctx context.Context, address string) error {
	if err := d.write("server.yaml", fmt.Appendf(nil, demoSettings, address)); err != nil {
		return err
	}
	server, err := startProcess(d.dir, "server", d.binary, "--config", "server.yaml")
	if err != nil {
		return err
	}
	d.server = server
	d.url, err = server.until(ctx, d.binary+" serves over TLS", func(context.Context) string {
		for line := range strings.Lines(server.output()) {
			var said struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "listening" && strings.HasPrefix(said.URL, "https://") {
				return said.URL
			}
		}
		return ""
	})
	return err
}

// nodeClient is a client with the certificate of the node.
func (d *demoRun) nodeClient() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(d.path(demoNode+".pem"), d.path(demoNode+".key"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	// No proxy: the server is on this machine.
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return &http.Client{Timeout: demoStop, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, nil
}

// do sends a request; with a file of a token as its bearer, else as the node.
func (d *demoRun) do(ctx context.Context, method, path, body, tokenFile string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if tokenFile != "" {
		token, err := os.ReadFile(d.path(tokenFile))
		if err != nil {
			return "", err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := d.node.Do(req)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, demoAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	return string(answer), expect(resp.StatusCode == http.StatusOK, "status 200 of "+path, "%s: %s", resp.Status, answer)
}

// ask has the node ask whether it may collect a metric.
func (d *demoRun) ask(ctx context.Context, c *demoClaim, metric string) (*decision.Decision, error) {
	question := fmt.Sprintf(`{"metric":%q,"role":"node_operator","operation":"collect"}`, metric)
	if c != nil {
		c.show(fmt.Sprintf("curl -sS --cacert ca.pem --cert %s.pem --key %s.key '%s/v1/check?pretty' -d '%s'", demoNode, demoNode, d.url, question))
	}
	answer, err := d.do(ctx, http.MethodPost, "/v1/check", question, "")
	if err != nil {
		return nil, err
	}
	var decided decision.Decision
	if err := json.Unmarshal([]byte(answer), &decided); err != nil {
		return nil, &unmet{"a decision", answer}
	}
	return &decided, nil
}
