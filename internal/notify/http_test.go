package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

const (
	oldSecret = "whsec_b2xkLXNlY3JldC1vZi1hdC1sZWFzdC0yNC1ieXRlcw=="
	newSecret = "whsec_bmV3LXNlY3JldC1vZi1hdC1sZWFzdC0yNC1ieXRlcw=="
)

// request is what a sink got.
type request struct {
	header http.Header
	path   string
	body   []byte
	at     time.Time
}

// httpSink is a receiver over HTTP.
type httpSink struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(w http.ResponseWriter, n int) // nil takes everything
}

func newHTTPSink(t *testing.T, start func(http.Handler) *httptest.Server) *httpSink {
	s := &httpSink{}
	s.Server = start(s)
	t.Cleanup(s.Close)
	return s
}

func (s *httpSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.got = append(s.got, request{r.Header, r.URL.Path, body, time.Now()})
	n, answer := len(s.got), s.answer
	s.mu.Unlock()
	if answer != nil {
		answer(w, n)
	}
}

func (s *httpSink) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func try(t *testing.T, o Options, r charter.Receiver, m Message) Result {
	t.Helper()
	result, err := Try(t.Context(), o, &r, m)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestWebhookIsSigned(t *testing.T) {
	s, file := newHTTPSink(t, httptest.NewServer), filepath.Join(t.TempDir(), "secret")
	r := charter.Receiver{Name: "ops", Webhook: &charter.Webhook{URL: s.URL + "/hook", SecretFile: file}}
	verified := func(secret string) bool {
		got := s.requests()
		q := got[len(got)-1]
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(q.header.Get("webhook-id") + "." + q.header.Get("webhook-timestamp") + "."))
		mac.Write(q.body)
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		return slices.Contains(strings.Fields(q.header.Get("webhook-signature")), want)
	}
	// Rotation: the old one, both, the new one; read anew each time.
	for _, step := range []struct {
		file     string
		old, new bool
	}{{oldSecret + "\n", true, false}, {newSecret + "\n" + oldSecret + "\n", true, true}, {newSecret, false, true}} {
		write(t, file, step.file)
		if got := try(t, Options{}, r, violation("v", "high", "edge-1")); got.Code != "" {
			t.Fatalf("not delivered: %+v", got)
		}
		if verified(oldSecret) != step.old || verified(newSecret) != step.new {
			t.Errorf("with %q the old secret verifies %v, the new one %v", step.file, verified(oldSecret), verified(newSecret))
		}
	}
	q := s.requests()[0]
	var p Payload
	dec := json.NewDecoder(bytes.NewReader(q.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil || p.Type != "charter.violation" || p.Data.Messages[0].Node != "edge-1" || p.Data.ID != q.header.Get("webhook-id") || strings.Contains(p.Data.ID, ".") {
		t.Errorf("%v: %s", err, q.body)
	}
	if at, err := strconv.ParseInt(q.header.Get("webhook-timestamp"), 10, 64); err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		t.Errorf("timestamp %q", q.header.Get("webhook-timestamp"))
	}
	if q.header.Get("Content-Type") != "application/json" || q.path != "/hook" {
		t.Errorf("%s to %s", q.header.Get("Content-Type"), q.path)
	}
}

// An implementation that is not ours agrees: the commands of docs/notifications.md.
func TestOpenSSLVerifiesWebhook(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is missing")
	}
	s, dir := newHTTPSink(t, httptest.NewServer), t.TempDir()
	r := charter.Receiver{Name: "ops", Webhook: &charter.Webhook{URL: s.URL, SecretEnv: "SECRET"}}
	if got := try(t, Options{Getenv: env(map[string]string{"SECRET": newSecret})}, r, violation("v", "high", "edge-1")); got.Code != "" {
		t.Fatalf("not delivered: %+v", got)
	}
	q := s.requests()[0]
	write(t, filepath.Join(dir, "body"), string(q.body))
	const script = `set -eu
key=$(printf %s "${SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
{ printf '%s.%s.' "$ID" "$AT"; cat body; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "SECRET="+newSecret, "ID="+q.header.Get("webhook-id"), "AT="+q.header.Get("webhook-timestamp"))
	out, err := cmd.CombinedOutput()
	if want := strings.TrimPrefix(q.header.Get("webhook-signature"), "v1,"); err != nil || string(out) != want {
		t.Errorf("openssl computes %s (%v), the header has %s", out, err, want)
	}
}

func TestSlack(t *testing.T) {
	s := newHTTPSink(t, httptest.NewServer)
	r := charter.Receiver{Name: "committee", Slack: &charter.Slack{Channel: "#charter", URLEnv: "URL"}}
	m := violation("v", Critical, "<!channel> *edge* & <https://evil.example|x>")
	m.Text = strings.Repeat("long ", 1000)
	if got := try(t, Options{Getenv: env(map[string]string{"URL": s.URL + "/services/T0/B0/secretsecret"})}, r, m); got.Code != "" {
		t.Fatalf("not delivered: %+v", got)
	}
	var got slackMessage
	if err := json.Unmarshal(s.requests()[0].body, &got); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(got.Text, "<>") || got.Channel != "#charter" {
		t.Errorf("what a node chose can mention or link: %q", got.Text)
	}
	for _, b := range got.Blocks {
		if b.Text.Type != "plain_text" || len([]rune(b.Text.Text)) > maxSlackSection || b.Type == "header" && len([]rune(b.Text.Text)) > maxSlackHeader {
			t.Errorf("block %+v", b)
		}
	}
}

func TestAnswers(t *testing.T) {
	for status, want := range map[int]outcome{
		301: {code: CodeRedirected}, 307: {code: CodeRedirected}, 400: {code: CodeRejected, permanent: true}, 401: {code: CodeUnauthorized}, 403: {code: CodeUnauthorized},
		404: {code: CodeNotFound}, 410: {code: CodeRejected, permanent: true}, 418: {code: CodeBadAnswer}, 429: {code: CodeRateLimited, after: 7 * time.Second}, 500: {code: CodeServerError},
		503: {code: CodeServerError},
	} {
		elsewhere := newHTTPSink(t, httptest.NewServer)
		s := newHTTPSink(t, httptest.NewServer)
		s.answer = func(w http.ResponseWriter, _ int) {
			w.Header().Set("Location", elsewhere.URL)
			if status == 429 {
				w.Header().Set("Retry-After", "7")
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "no_service at /services/T0/B0/secretsecret "+strings.Repeat("x", 1<<20))
		}
		p := newPoster(false, nil, time.Now)
		o := p.post(t.Context(), s.URL+"/services/T0/B0/secretsecret", http.Header{}, []byte("{}"))
		p.close()
		if o.code != want.code || o.permanent != want.permanent || o.after != want.after {
			t.Errorf("%d: %+v, want %+v", status, o, want)
		}
		if strings.Contains(o.detail, "secretsecret") || len(o.detail) > 300 || !strings.Contains(o.detail, "no_service") {
			t.Errorf("%d: detail %q", status, o.detail)
		}
		if len(elsewhere.requests()) > 0 {
			t.Errorf("%d: the redirection was followed", status)
		}
	}
}

// Whatever a receiver does, an attempt ends and says what was wrong.
func TestReceiversThatMisbehave(t *testing.T) {
	hang := make(chan struct{})
	slow := newHTTPSink(t, httptest.NewServer)
	slow.answer = func(http.ResponseWriter, int) { <-hang }
	half := newHTTPSink(t, httptest.NewServer)
	half.answer = func(w http.ResponseWriter, n int) {
		w.WriteHeader(map[bool]int{true: 200, false: 500}[n == 1])
		_, _ = io.WriteString(w, "begins")
		_ = http.NewResponseController(w).Flush()
		<-hang
	}
	secure := newHTTPSink(t, httptest.NewTLSServer)
	plain := newHTTPSink(t, httptest.NewServer)
	headers := newHTTPSink(t, httptest.NewServer)
	headers.answer = func(w http.ResponseWriter, _ int) { w.Header().Set("X-Big", strings.Repeat("x", 1<<20)) }
	t.Cleanup(func() { close(hang) }) // before the sinks, which wait for it
	post := func(address string, limit time.Duration) outcome {
		p := newPoster(false, nil, time.Now)
		defer p.close()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return p.post(ctx, address, http.Header{}, []byte("{}"))
	}
	for _, c := range []struct{ name, address, want string }{
		{"slow", slow.URL, CodeTimeout},
		{"foreign certificate", secure.URL, CodeTLSFailed},
		{"no TLS there", strings.Replace(plain.URL, "http:", "https:", 1), CodeTLSFailed},
		{"too large a header", headers.URL, CodeUnreachable},
		{"nobody listens", "http://127.0.0.1:1", CodeUnreachable},
		{"no such name", "http://nowhere.invalid", CodeNameNotFound},
		{"metadata of clouds", "http://169.254.169.254/latest", CodeAddressRefused},
		{"multicast", "http://[ff02::1]/", CodeAddressRefused},
		{"mapped link-local", "http://[::ffff:169.254.169.254]/", CodeAddressRefused},
		{"not an address", "http://%zz", CodeInsecureURL},
		{"body that hangs, 200", half.URL, ""},
		{"body that hangs, 500", half.URL, CodeServerError}, // its second answer
	} {
		limit := 10 * time.Second // a machine that is busy
		if c.want == CodeTimeout || c.address == half.URL {
			limit = 500 * time.Millisecond
		}
		start := time.Now()
		if o := post(c.address, limit); o.code != c.want {
			t.Errorf("%s: %+v, want %q", c.name, o, c.want)
		}
		if took := time.Since(start); took > limit+5*time.Second {
			t.Errorf("%s: took %s", c.name, took)
		}
	}
}

func TestAddressPolicy(t *testing.T) {
	for address, want := range map[string][2]bool{ // allowed; allowed with publicOnly
		"93.184.215.14": {true, true}, "2001:4860:4860::8888": {true, true}, "10.1.2.3": {true, false}, "192.168.0.1": {true, false}, "100.64.0.1": {true, false},
		"127.0.0.1": {true, false}, "::1": {true, false}, "fd12::1": {true, false}, "fd00:ec2::254": {false, false}, "169.254.169.254": {false, false}, "fe80::1%eth0": {false, false},
		"0.0.0.0": {false, false}, "::": {false, false}, "224.0.0.1": {false, false}, "::ffff:10.0.0.1": {true, false},
	} {
		addr := netip.MustParseAddr(address)
		if got := [2]bool{allowed(addr, false) == nil, allowed(addr, true) == nil}; got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	s := newHTTPSink(t, httptest.NewServer)
	if got := try(t, Options{PublicOnly: true}, charter.Receiver{Name: "ops", Webhook: &charter.Webhook{URL: s.URL}}, violation("v", "low", "n")); got.Code != CodeAddressRefused {
		t.Errorf("%+v", got)
	}
}

func TestSecretsThatCannotBeUsed(t *testing.T) {
	s, dir := newHTTPSink(t, httptest.NewServer), t.TempDir()
	values := map[string]string{"SHORT": "hunter2hunter2", "B64": "whsec_***" + strings.Repeat("x", 40), "MANY": strings.Repeat(oldSecret+" ", 5), "BIG": strings.Repeat("x", maxSecret+1), "HTTP": "http://hooks.example.org/x"}
	hook := func(env string) charter.Receiver {
		return charter.Receiver{Name: "r", Webhook: &charter.Webhook{URL: s.URL, SecretEnv: env}}
	}
	for name, c := range map[string]struct {
		r    charter.Receiver
		want string
	}{
		"short": {hook("SHORT"), CodeSecretTooShort}, "not base64": {hook("B64"), CodeSecretTooShort}, "too many": {hook("MANY"), CodeSecretTooShort},
		"not set": {hook("NONE"), CodeSecretUnavailable}, "too big": {hook("BIG"), CodeSecretUnavailable},
		"no file":    {charter.Receiver{Name: "r", Slack: &charter.Slack{URLFile: filepath.Join(dir, "none")}}, CodeSecretUnavailable},
		"plain HTTP": {charter.Receiver{Name: "r", Slack: &charter.Slack{URLEnv: "HTTP"}}, CodeInsecureURL},
		"no server":  {charter.Receiver{Name: "r", Email: &charter.Email{To: []string{"a@example.org"}}}, CodeSMTPNotConfigured},
	} {
		got := try(t, Options{Getenv: env(values)}, c.r, violation("v", "low", "n"))
		if got.Code != c.want {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
		for _, value := range values {
			if strings.Contains(got.Detail, value) {
				t.Errorf("%s: the detail has the secret: %s", name, got.Detail)
			}
		}
	}
	if len(s.requests()) > 0 {
		t.Error("something was sent without the signature that the charter asks for")
	}
	if _, err := Try(t.Context(), Options{}, &charter.Receiver{Name: "r"}, Message{}); err == nil {
		t.Error("a receiver that is nothing was tried")
	}
}

// Files, logs and the ledger must not have what a secret is, whatever goes wrong.
func TestSecretsStaySecret(t *testing.T) {
	s, dir, log, l := newHTTPSink(t, httptest.NewServer), t.TempDir(), &journal{}, &told{}
	s.answer = func(w http.ResponseWriter, _ int) {
		w.WriteHeader(http.StatusGone)
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = fmt.Fprintf(w, "gone: %s%s", s.URL, s.got[len(s.got)-1].path)
	}
	values := map[string]string{"URL": s.URL + "/services/T00/B00/tokentoken", "DOWN": "https://127.0.0.1:1/services/T00/B00/tokentoken", "SECRET": newSecret}
	n, stop := running(t, Options{
		Receivers: []charter.Receiver{
			{Name: "committee", Slack: &charter.Slack{URLEnv: "URL"}},
			{Name: "down", Slack: &charter.Slack{URLEnv: "DOWN"}},
			{Name: "ops", Webhook: &charter.Webhook{URL: s.URL, SecretEnv: "SECRET"}},
		},
		Dir: dir, Log: log.logger(), Delivered: l.add, Getenv: env(values),
	})
	n.Send([]string{"committee", "down", "ops"}, violation("v", Critical, "edge-1"))
	eventually(t, "three ends", func() bool { return len(l.states()) == 3 })
	stop()
	all := log.String() + everything(t, dir) + text(t, l.list)
	for _, secret := range []string{"tokentoken", "B00", strings.TrimPrefix(newSecret, "whsec_"), "new-secret"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is where it must not be:\n%s", secret, all)
		}
	}
	if !strings.Contains(all, "edge-1") || len(all) < 1000 {
		t.Error("the test looks in the wrong place")
	}
}

// Critical violation to notified committee: p99 at most a second, here over real HTTP.
func TestCriticalLatency(t *testing.T) {
	s, l := newHTTPSink(t, httptest.NewTLSServer), &told{}
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	const rounds = 50
	var all []charter.Receiver
	for i := range rounds {
		all = append(all, charter.Receiver{Name: fmt.Sprintf("r%d", i), Webhook: &charter.Webhook{URL: s.URL}})
	}
	n, _ := running(t, Options{Receivers: all, Roots: roots, Delivered: l.add})
	for i := range rounds { // each is a quiet receiver
		m := violation(fmt.Sprint(i), Critical, "edge-1")
		m.Time = time.Now()
		n.Send([]string{all[i].Name}, m)
		eventually(t, "delivery", func() bool { return len(l.states()) == i+1 })
	}
	var took []time.Duration
	for _, q := range s.requests() {
		var p Payload
		if err := json.Unmarshal(q.body, &p); err != nil {
			t.Fatal(err)
		}
		took = append(took, q.at.Sub(p.Data.First))
	}
	slices.Sort(took)
	if p99 := took[rounds*99/100]; p99 > time.Second {
		t.Errorf("p99 of %d is %s", rounds, p99)
	}
}
