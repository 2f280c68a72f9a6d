package distribution

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// locked lets a handler answer only requests with that Authorization header.
func locked(h http.Handler, authorization, challenge string) http.Handler {
	return tampered(h, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == authorization {
			return false
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

// dockerConfig writes a config.json and returns its path.
func dockerConfig(t *testing.T, content any) string {
	t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, string(data))
	return path
}

func TestCredentialsOfDocker(t *testing.T) {
	pair := base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	c := serve(t, locked(inProcess(true), "Basic "+pair, `Basic realm="test"`))
	host := strings.TrimPrefix(c.URL, "http://")
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)

	_, err := Push(t.Context(), ref, r.Manifest, r.Layer, nil, quiet(t))
	wantCode(t, err, CodeUnauthorized)

	o := quiet(t)
	o.DockerConfig = dockerConfig(t, map[string]any{"auths": map[string]any{host: map[string]string{"auth": pair}}})
	publish(t, ref, r, o)
	sameRelease(t, ref, o, r)

	// The default place.
	t.Setenv("DOCKER_CONFIG", filepath.Dir(o.DockerConfig))
	sameRelease(t, ref, Options{}, r)

	// A credential helper.
	bin := t.TempDir()
	script := "#!/bin/sh\nread server\necho '{\"ServerURL\":\"'$server'\",\"Username\":\"alice\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	o.DockerConfig = dockerConfig(t, map[string]any{"credHelpers": map[string]string{host: "test"}})
	sameRelease(t, ref, o, r)

	o.DockerConfig = dockerConfig(t, map[string]any{"credHelpers": map[string]string{host: "missing"}})
	_, err = Fetch(t.Context(), ref, o)
	wantCode(t, err, CodeUnauthorized)
	o.DockerConfig = dockerConfig(t, map[string]any{"auths": map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("alice:wrong"))}}})
	_, err = Fetch(t.Context(), ref, o)
	wantCode(t, err, CodeUnauthorized)
	write(t, o.DockerConfig, "no json")
	_, err = Fetch(t.Context(), ref, o)
	wantCode(t, err, CodeIO)
}

// A registry with a token server, as most public ones are.
func TestATokenServer(t *testing.T) {
	asked := atomic.Int32{}
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"token":"issued"}`))
	}))
	defer tokens.Close()
	c := serve(t, locked(inProcess(true), "Bearer issued", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:charter:pull,push"`, tokens.URL)))
	pair := base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	o := quiet(t)
	o.DockerConfig = dockerConfig(t, map[string]any{"auths": map[string]any{strings.TrimPrefix(c.URL, "http://"): map[string]string{"auth": pair}}})
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)
	publish(t, ref, r, o)
	source := open(t, ref, o)
	got := resolve(t, source, Resolved{})
	before := asked.Load()
	for range 3 {
		got = resolve(t, source, got)
	}
	if asked.Load() != before {
		t.Errorf("%d tokens were fetched for polls, want the one that is there", asked.Load()-before)
	}
	_, err := Fetch(t.Context(), ref, quiet(t))
	wantCode(t, err, CodeUnauthorized)
}

func TestATokenFileForARegistry(t *testing.T) {
	var mirrorSaw atomic.Bool
	honest := inProcess(true)
	c := serve(t, locked(honest, "Bearer t1", `Bearer realm="http://127.0.0.1/token"`))
	mirror := serve(t, tampered(locked(honest, "Bearer other", `Bearer realm="http://127.0.0.1/token"`), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			mirrorSaw.Store(true)
		}
		return false
	}))
	o := quiet(t)
	o.TokenFile = filepath.Join(t.TempDir(), "token")
	write(t, o.TokenFile, "t1\n")
	ref, r := c.ref(t, "charter:production"), newRelease(t, "r1", 1)
	publish(t, ref, r, o)
	o.Mirrors = []string{mirror.ref(t, "charter").String()}
	sameRelease(t, ref, o, r)
	if requests, _ := mirror.reset(); len(requests) == 0 || mirrorSaw.Load() {
		t.Errorf("mirror asked %d times, shown the token: %t", len(requests), mirrorSaw.Load())
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, client := clientCertificate(t, dir)
	server := httptest.NewUnstartedServer(inProcess(true))
	pool := x509.NewCertPool()
	pool.AddCert(client)
	server.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	caFile := filepath.Join(dir, "ca.pem")
	write(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))

	ref, r := mustRef(t, "oci://"+strings.TrimPrefix(server.URL, "https://")+"/charter:production"), newRelease(t, "r1", 1)
	o := quiet(t)
	o.CAFile, o.CertFile, o.KeyFile = caFile, certFile, keyFile
	publish(t, ref, r, o)
	sameRelease(t, ref, o, r)

	o.CertFile, o.KeyFile = "", ""
	_, err := Fetch(t.Context(), ref, o)
	wantCode(t, err, CodeUnreachable)
	o.CAFile, o.CertFile, o.KeyFile = "", certFile, keyFile
	_, err = Fetch(t.Context(), ref, o)
	wantCode(t, err, CodeUnreachable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the error does not speak of the certificate: %v", err)
	}
	for _, o := range []Options{{CAFile: keyFile}, {CAFile: "missing"}, {CertFile: certFile}, {CertFile: keyFile, KeyFile: keyFile}} {
		if _, err := Open(ref, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func clientCertificate(t *testing.T, dir string) (certFile, keyFile string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, cert
}

func TestPlainHTTPIsForThisMachine(t *testing.T) {
	_, err := Open(mustRef(t, "http://charter.example.org/bundles/charter"), quiet(t))
	wantCode(t, err, CodeInsecureTransport)
	o := quiet(t)
	o.InsecurePlainHTTP = true
	if _, err := Open(mustRef(t, "http://charter.example.org/bundles/charter"), o); err != nil {
		t.Errorf("allowed expressly: %v", err)
	}
	for host, plain := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "[::1]:5000": true, "127.9.9.9": true,
		"registry.example.org": false, "registry.example.org:5000": false, "10.0.0.1:5000": false, "127.0.0.1.example.org": false, "localhost.example.org": false,
	} {
		if got := (Options{}).plainHTTP(host); got != plain {
			t.Errorf("%s by plain HTTP: %t, want %t", host, got, plain)
		}
	}
	if (Options{CAFile: "ca.pem"}).plainHTTP("localhost:5000") {
		t.Error("whoever gives a CA wants TLS")
	}
}

// The environment is read once by a process, so that another one must show it.
func TestProxy(t *testing.T) {
	if target := os.Getenv("DISTRIBUTION_TEST_PROXIED"); target != "" {
		o := quiet(t)
		o.InsecurePlainHTTP = true
		sameRelease(t, mustRef(t, target), o, newRelease(t, "r1", 1))
		return
	}
	registry := inProcess(true)
	c := serve(t, registry)
	publish(t, c.ref(t, "charter:production"), newRelease(t, "r1", 1), quiet(t))
	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "registry.example.org" {
			proxied.Add(1)
			r.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
			registry.ServeHTTP(w, r)
		}
	}))
	defer proxy.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "DISTRIBUTION_TEST_PROXIED=oci://registry.example.org/charter:production")
	if out, err := cmd.CombinedOutput(); err != nil || proxied.Load() == 0 {
		t.Errorf("%d requests through the proxy: %v\n%s", proxied.Load(), err, out)
	}
}
