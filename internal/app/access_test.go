package app

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/tests/authority"
)

const operate = `{"metric":"latency_p50","node":"NODE","role":"node_operator","operation":"collect"}`

func about(node string) string { return strings.Replace(operate, "NODE", node, 1) }

// A node that could ask for another could collect in its name.
func TestNodeSpeaksForItselfAlone(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem")
	a := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	check := f.url + "/v1/check"

	// The charter wants the claim mtls of operators, which the certificate is.
	if status, body := send(t, a, "POST", check, about("edge-1")); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("for itself: %d %s", status, body)
	}
	if status, body := send(t, a, "POST", check, strings.Replace(operate, `"node":"NODE",`, "", 1)); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("for itself without saying so: %d %s", status, body)
	}
	status, body := send(t, a, "POST", check, about("edge-2"))
	if status != http.StatusForbidden || !strings.Contains(body, `"code":"node_mismatch"`) {
		t.Errorf("for another node: %d %s", status, body)
	}
	if entry := f.await(t, "request"); entry["status"] != 200.0 {
		t.Errorf("log %v", entry)
	}
	f.await(t, "request")
	if entry := f.await(t, "request"); entry["code"] != "node_mismatch" || entry["identity"] != "edge-1" || entry["identity_kind"] != "cert" || entry["node"] != "edge-2" {
		t.Errorf("the refusal cannot be told from the log: %v", entry)
	}
	b := f.client(t, f.ca.Named(t, "charter://node/edge-2").Pair)
	if status, body := send(t, b, "POST", check, about("edge-2")); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("the other node for itself: %d %s", status, body)
	}
	for name, question := range map[string]string{
		"role_not_held":  strings.Replace(about("edge-1"), "node_operator", "public", 1),
		"claim_not_held": strings.Replace(about("edge-1"), `"role"`, `"claims":["owns_node"],"role"`, 1),
	} {
		if status, body := send(t, a, "POST", check, question); status != http.StatusForbidden || !strings.Contains(body, `"code":"`+name+`"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if _, body := send(t, a, "GET", f.url+"/metrics", ""); !strings.Contains(body, `charter_http_admissions_total{identity="cert",result="ok"}`) || strings.Contains(body, "edge-1") {
		t.Error("metrics lack the kind of identity, or name it")
	}
	if status, body := send(t, a, "POST", f.url+"/v1/reload", ""); status != http.StatusForbidden || !strings.Contains(body, "insufficient_scope") {
		t.Errorf("a node reloads the server: %d %s", status, body)
	}
}

func TestCertificatesThatAreNotBelieved(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem")
	good := f.ca.Named(t, "charter://node/edge-1").Pair
	for name, certs := range map[string][]tls.Certificate{
		"none":              nil,
		"unknown authority": {authority.New(t, "mesh").Named(t, "charter://node/edge-1").Pair},
		"expired":           {f.ca.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute); c.DNSNames = []string{"edge-1"} }).Pair},
		"of a server":       {f.ca.Server(t).Pair},
	} {
		if status, body := send(t, f.client(t, certs...), "POST", f.url+"/v1/check", about("edge-1")); status != 0 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body := send(t, f.client(t, good), "POST", f.url+"/v1/check", about("edge-1")); status != http.StatusOK {
		t.Errorf("a good one: %d %s", status, body)
	}
	old := f.client(t, good)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if status, body := send(t, old, "GET", f.url+"/health", ""); status != 0 {
		t.Errorf("TLS 1.2: %d %s", status, body)
	}
}

func TestWhomACertificateNames(t *testing.T) {
	ca := authority.New(t, "mesh")
	opts := TLSOptions{ClientRoles: "node_operator, public", ClientClaims: "owns_node", AssertRoles: "gateway,broker"}
	for _, c := range []struct {
		name string
		uris []string
		dns  []string
		cn   string
		want string // node, roles and assert, or the error
	}{
		{"URI", []string{"https://x/y", "charter://node/edge-1"}, []string{"dns-1"}, "cn-1", "edge-1 node_operator,public false"},
		{"DNS", []string{"https://x/y"}, []string{"dns-1", "dns-2"}, "cn-1", "dns-1 node_operator,public false"},
		{"common name", nil, nil, "cn-1", "cn-1 node_operator,public false"},
		{"escaped", []string{"charter://node/edge%201"}, nil, "", "edge 1 node_operator,public false"},
		{"roles of its own", []string{"charter://node/edge-1", "charter://role/auditor"}, nil, "", "edge-1 auditor false"},
		{"role that asserts", []string{"charter://role/gateway", "charter://role/auditor"}, nil, "gw", "gw gateway,auditor true"},
		{"nobody", nil, nil, "", "names no node"},
		{"two nodes", []string{"charter://node/a", "charter://node/b"}, nil, "", "more than one node"},
		{"path below", []string{"charter://node/a/b"}, nil, "", "neither charter://node/NAME"},
		{"no name", []string{"charter://node/"}, nil, "x", "neither charter://node/NAME"},
		{"misspelt", []string{"charter://nodes/a"}, nil, "x", "neither charter://node/NAME"},
		{"query", []string{"charter://node/a?b"}, nil, "x", "neither charter://node/NAME"},
		{"control character", nil, nil, "a\x01b", "names no node"},
		{"long", nil, nil, strings.Repeat("x", 600), "names no node"},
	} {
		l := ca.Issue(t, func(cert *x509.Certificate) {
			cert.Subject = pkix.Name{CommonName: c.cn}
			cert.DNSNames = c.dns
			cert.URIs = ca.Named(t, c.uris...).Pair.Leaf.URIs
		})
		id, err := certified(l.Pair.Leaf, opts)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%s %s %v", id.Node, strings.Join(id.Roles, ","), id.Has(wire.ScopeAssert))
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCertificateThatMayAssert(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem", "--tls-assert-roles", "gateway", "--tls-client-claims", "owns_node")
	gateway := f.client(t, f.ca.Named(t, "charter://node/gw-1", "charter://role/gateway").Pair)
	question := strings.Replace(about("edge-7"), `"role"`, `"claims":["mtls"],"role"`, 1)
	if status, body := send(t, gateway, "POST", f.url+"/v1/check", question); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("%d %s", status, body)
	}
	// That the gateway uses mTLS says nothing about whom it speaks for.
	if status, body := send(t, gateway, "POST", f.url+"/v1/check", about("edge-7")); status != http.StatusOK || decided(t, body).Allow {
		t.Errorf("%d %s", status, body)
	}
	node := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	if status, body := send(t, node, "POST", f.url+"/v1/check", strings.Replace(about("edge-1"), `"role"`, `"claims":["owns_node"],"role"`, 1)); status != http.StatusOK || !decided(t, body).Allow {
		t.Errorf("a configured claim: %d %s", status, body)
	}
}

// Certificates are renewed and authorities withdrawn without a restart, on
// connections that stay open, too.
func TestCertificatesAreFollowed(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem", "--token-file", "$DIR/tokens.yaml")
	node := f.client(t, f.ca.Named(t, "charter://node/edge-1").Pair)
	admin := f.client(t)
	reload := func() (int, string) {
		return send(t, admin, "POST", f.url+"/v1/reload", "", "Authorization", "Bearer "+adminToken)
	}
	if status, body := send(t, node, "POST", f.url+"/v1/check", about("edge-1")); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	next := f.ca.Server(t)
	put(t, f.path("server.pem"), next.Cert)
	status, body := reload()
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, codeInvalidTLS) {
		t.Errorf("a certificate without its key: %d %s", status, body)
	}
	if _, body := fetchWith(t, admin, f.url+"/health"); !strings.Contains(body, `"code":"invalid_tls"`) {
		t.Errorf("/health: %s", body)
	}
	put(t, f.path("server.key"), next.Key)
	if status, body = reload(); status != http.StatusOK {
		t.Fatalf("with its key: %d %s", status, body)
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(f.url, "https://"), f.client(t).Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test connection
	if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(next.Pair.Leaf) {
		t.Error("new connections get the old certificate")
	}
	if status, body := send(t, node, "POST", f.url+"/v1/check", about("edge-1")); status != http.StatusOK {
		t.Errorf("on a connection from before, under the same authority: %d %s", status, body)
	}
	put(t, f.path("clients.pem"), authority.New(t, "other").PEM())
	if status, body = reload(); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := send(t, node, "POST", f.url+"/v1/check", about("edge-1")); status != http.StatusUnauthorized || !strings.Contains(body, "no longer accepted") {
		t.Errorf("on a connection from before, under a withdrawn authority: %d %s", status, body)
	}
	put(t, f.path("clients.pem"), "nothing")
	if status, body = reload(); status != http.StatusUnprocessableEntity || !strings.Contains(body, "no certificate") {
		t.Errorf("no authority: %d %s", status, body)
	}
}

func fetchWith(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	return send(t, c, http.MethodGet, url, "")
}

const (
	adminToken   = "f6a1c0e1b2d34455a6b7c8d9e0f10213"
	gatewayToken = "0123456789abcdef0123456789abcdef"
	nodeToken    = "11112222333344445555666677778888"
)

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// tokenFile is one entry of each kind.
func tokenFile() string {
	return `- {name: ops, sha256: ` + hashed(adminToken) + `, scopes: [admin, metrics]}
- {name: gateway, sha256: ` + hashed(gatewayToken) + `, scopes: [check, assert, replay]}
- {name: edge-1, sha256: ` + hashed(nodeToken) + `, scopes: [check], node: edge-1, roles: [node_operator], claims: [mtls], expires: 2199-01-01}
`
}

func TestTokens(t *testing.T) {
	o := unrecorded()
	o.Charter = example1
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	client := &http.Client{}
	claimed := func(node string) string {
		return strings.Replace(about(node), `"role"`, `"claims":["mtls"],"role"`, 1)
	}
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string
	}{
		{"node", "POST", "/v1/check", "Bearer " + nodeToken, claimed("edge-1"), 200, `"allow":true`},
		{"scheme in small letters", "POST", "/v1/check", "bearer " + nodeToken, claimed("edge-1"), 200, `"allow":true`},
		{"node about another", "POST", "/v1/check", "Bearer " + nodeToken, claimed("edge-2"), 403, "node_mismatch"},
		{"node about a time", "POST", "/v1/check", "Bearer " + nodeToken, strings.Replace(claimed("edge-1"), "{", `{"time":"2026-01-01",`, 1), 400, "invalid_request"},
		{"node scrapes", "GET", "/metrics", "Bearer " + nodeToken, "", 403, "insufficient_scope"},
		{"node reloads", "POST", "/v1/reload", "Bearer " + nodeToken, "", 403, "insufficient_scope"},
		{"gateway", "POST", "/v1/check", "Bearer " + gatewayToken, claimed("edge-9"), 200, `"allow":true`},
		{"gateway replays", "POST", "/v1/check", "Bearer " + gatewayToken, strings.Replace(claimed("edge-9"), "{", `{"time":"2026-01-01",`, 1), 200, `"allow":true`},
		{"admin reloads", "POST", "/v1/reload", "Bearer " + adminToken, "", 200, "revision"},
		{"admin scrapes", "GET", "/metrics", "Bearer " + adminToken, "", 200, `charter_http_admissions_total{identity="token",result="ok"}`},
		{"admin asks", "POST", "/v1/check", "Bearer " + adminToken, claimed("edge-1"), 403, "insufficient_scope"},
		{"unknown", "POST", "/v1/check", "Bearer " + strings.Repeat("0", 32), claimed("edge-1"), 401, "not known"},
		{"its digest", "POST", "/v1/check", "Bearer " + hashed(nodeToken), claimed("edge-1"), 401, "not known"},
		{"other scheme", "POST", "/v1/check", "Basic " + nodeToken, claimed("edge-1"), 401, "Bearer TOKEN"},
		{"empty", "POST", "/v1/check", "Bearer ", claimed("edge-1"), 401, "Bearer TOKEN"},
		{"long", "POST", "/v1/check", "Bearer " + strings.Repeat("x", 513), claimed("edge-1"), 401, "longer than"},
	} {
		if status, body := send(t, client, c.method, s.url+c.path, c.body, "Authorization", c.token); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
	if status, body := send(t, client, "POST", s.url+"/v1/check", claimed("edge-1"), "Authorization", "Bearer "+nodeToken, "Authorization", "Bearer "+gatewayToken); status != http.StatusUnauthorized {
		t.Errorf("two tokens: %d %s", status, body)
	}
	if log := s.journal.String(); strings.Contains(log, nodeToken) || strings.Contains(log, hashed(nodeToken)) || !strings.Contains(log, `"identity":"gateway"`) {
		t.Error("the log names a token, or not its bearer")
	}
}

func TestTokensAreFollowed(t *testing.T) {
	o := unrecorded()
	o.Charter = example1
	o.TokenFile = put(t, filepath.Join(t.TempDir(), "tokens.yaml"), tokenFile())
	s := offered(t, o)
	status := func(token string) int {
		code, _ := send(t, &http.Client{}, "POST", s.url+"/v1/check", about("edge-1"), "Authorization", "Bearer "+token)
		return code
	}
	const rotated = "99998888777766665555444433332222"
	put(t, o.TokenFile, strings.Replace(tokenFile(), hashed(nodeToken), hashed(rotated), 1))
	s.twice(t)
	if old, now := status(nodeToken), status(rotated); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("rotated: the old token %d, the new one %d", old, now)
	}
	put(t, o.TokenFile, "- name: [\n")
	s.twice(t)
	if got := status(rotated); got != http.StatusOK {
		t.Errorf("a broken token file locks everybody out: %d", got)
	}
	if _, code, _ := s.health(t); code != codeInvalidTokens {
		t.Errorf("/health %q", code)
	}
	put(t, o.TokenFile, strings.Replace(tokenFile(), "2199-01-01", "2020-01-01", 1))
	s.twice(t)
	if _, body := send(t, &http.Client{}, "POST", s.url+"/v1/check", about("edge-1"), "Authorization", "Bearer "+nodeToken); !strings.Contains(body, "has expired") {
		t.Errorf("%s", body)
	}
}

// An entry that is read otherwise than meant lets the wrong caller in.
func TestTokenFilesAreStrict(t *testing.T) {
	digest := hashed("x")
	for _, c := range []struct{ name, text, want string }{
		{"not YAML", "a: b: c", "not YAML"},
		{"two documents", "[]\n---\n[]\n", "a second YAML document"},
		{"not a list", "name: x", "must be a list"},
		{"not a mapping", "- x", "must be a mapping"},
		{"unknown field", "- {name: a, sha256: " + digest + ", scope: [admin]}", "did you mean scopes?"},
		{"unknown scope", "- {name: a, sha256: " + digest + ", scopes: [everything]}", `"everything" is not one of the scopes`},
		{"field twice", "- {name: a, name: b, sha256: " + digest + ", scopes: [admin]}", "given twice"},
		{"no name", "- {sha256: " + digest + ", scopes: [admin]}", "needs name"},
		{"empty name", `- {name: "", sha256: ` + digest + `, scopes: [admin]}`, "1 to 512 bytes"},
		{"token instead of its digest", "- {name: a, sha256: " + nodeToken + ", scopes: [admin]}", "64 hexadecimal digits"},
		{"no scopes", "- {name: a, sha256: " + digest + ", scopes: []}", "a list of 1 to"},
		{"scope as text", "- {name: a, sha256: " + digest + ", scopes: admin}", "a list of 1 to"},
		{"bad date", "- {name: a, sha256: " + digest + ", scopes: [admin], expires: tomorrow}", "expires: "},
		{"two of a name", "- {name: a, sha256: " + digest + ", scopes: [admin]}\n- {name: a, sha256: " + hashed("y") + ", scopes: [admin]}", "two tokens have the name"},
		{"two of a digest", "- {name: a, sha256: " + digest + ", scopes: [admin]}\n- {name: b, sha256: " + digest + ", scopes: [admin]}", "the same token"},
		{"asserts and is bound", "- {name: a, sha256: " + digest + ", scopes: [check, assert], node: n}", "names any node"},
		{"asserts without asking", "- {name: a, sha256: " + digest + ", scopes: [assert]}", "neither the scope check nor upload"},
		{"uploads of nobody", "- {name: a, sha256: " + digest + ", scopes: [upload]}", "needs the node"},
		{"uploads of one and of all", "- {name: a, sha256: " + digest + ", scopes: [upload, assert], node: n}", "names any node"},
		{"uploads in a role", "- {name: a, sha256: " + digest + ", scopes: [upload], node: n, roles: [r]}", "lacks the scope check"},
		{"a node for nothing", "- {name: a, sha256: " + digest + ", scopes: [audit], node: n}", "none of the scopes check, upload and report"},
		{"asks in no role", "- {name: a, sha256: " + digest + ", scopes: [check], node: n}", "needs roles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := put(t, filepath.Join(t.TempDir(), "tokens.yaml"), c.text+"\n")
			code, _, stderr := end(t, "--charter", example1, "--token-file", path)
			if code != exitUsage || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "tokens.yaml:") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	for name, text := range map[string]string{"empty": "", "no entries": "[]\n"} {
		from := stamps{}
		if ts, err := loadTokens(t.Context(), put(t, filepath.Join(t.TempDir(), "t"), text), from); err != nil || len(ts) != 0 || len(from) != 1 {
			t.Errorf("%s: %v %v", name, ts, err)
		}
	}
	many := strings.Repeat("- x\n", maxTokens+1)
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "none"), "too many": put(t, filepath.Join(t.TempDir(), "t"), many),
		"too large": put(t, filepath.Join(t.TempDir(), "t"), strings.Repeat("#", maxTokenFile+1)),
	} {
		if _, err := loadTokens(t.Context(), path, stamps{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The documented file is what people copy.
func TestDocumentedTokenFile(t *testing.T) {
	text := read(t, filepath.Join(root(t), "docs", "server.md"))
	_, rest, _ := strings.Cut(text, "```yaml\n# tokens.yaml")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/server.md shows no token file")
	}
	ts, err := loadTokens(t.Context(), put(t, filepath.Join(t.TempDir(), "tokens.yaml"), "#"+block), stamps{})
	if err != nil || len(ts) < 4 {
		t.Errorf("%d tokens, %v", len(ts), err)
	}
	for _, code := range []string{
		CodeInvalidCharter, CodeInvalidBundle, CodeBundleNotReproducible, CodeInvalidState, CodeInvalidTrust, codeInvalidTLS, codeInvalidTokens, codeCacheMismatch,
		"node_mismatch", "role_not_held", "claim_not_held", "insufficient_scope",
	} {
		if !strings.Contains(text, "`"+code+"`") {
			t.Errorf("docs/server.md does not explain %s", code)
		}
	}
}

func FuzzTokenFile(f *testing.F) {
	f.Add(tokenFile())
	f.Add("- {name: a, sha256: x, scopes: [*a]}\n")
	f.Add("- &a {<<: *a}\n")
	f.Add("\"\"0") // what begins like a second document and is not YAML
	f.Fuzz(func(t *testing.T, text string) {
		r := tokenReader{path: "t"}
		ts := r.read([]byte(text))
		if r.findings.HasErrors() {
			for _, finding := range r.findings {
				if finding.Code == "" || finding.Message == "" || finding.Pos.File != "t" || finding.Pos.Line < 1 {
					t.Errorf("refused without saying where: %+v", finding)
				}
			}
			return
		}
		if len(ts) > maxTokens {
			t.Errorf("accepted %d tokens", len(ts))
		}
		for _, tok := range ts {
			id := tok.identity
			if id.Name == "" || len(id.Scopes) == 0 || tok.digest == [sha256.Size]byte{} && !strings.Contains(text, strings.Repeat("0", 64)) {
				t.Errorf("accepted %+v", tok)
			}
		}
	})
}

func TestBadTLSFiles(t *testing.T) {
	ca := authority.New(t, "mesh")
	own, other := ca.Server(t), ca.Server(t)
	dir := t.TempDir()
	cert, key := put(t, filepath.Join(dir, "cert"), own.Cert), put(t, filepath.Join(dir, "key"), own.Key)
	for name, args := range map[string][]string{
		"no certificate file": {"--tls-cert", filepath.Join(dir, "none"), "--tls-key", key},
		"no key file":         {"--tls-cert", cert, "--tls-key", filepath.Join(dir, "none")},
		"key of another":      {"--tls-cert", cert, "--tls-key", put(t, filepath.Join(dir, "other"), other.Key)},
		"no authority file":   {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", filepath.Join(dir, "none")},
		"empty authority":     {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", put(t, filepath.Join(dir, "empty"), "")},
		"huge":                {"--tls-cert", put(t, filepath.Join(dir, "huge"), strings.Repeat("x", maxPEM+1)), "--tls-key", key},
	} {
		if code, _, stderr := end(t, append([]string{"--charter", example1}, args...)...); code != exitUsage || !strings.Contains(stderr, codeInvalidTLS) {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
	}
}
