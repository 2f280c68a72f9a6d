package decisionapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
)

// timeoutError is what a connection gives when its read deadline has passed.
type timeoutError struct{}

func (timeoutError) Error() string        { return "i/o timeout" }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Without proof of identity nobody may assert a role: not even on loopback.
func TestUnauthenticated(t *testing.T) {
	f := &fake{}
	base := start(t, f, func(o *decisionapi.Options) { o.InsecureSelfAsserted = false })
	for _, r := range []*http.Request{
		request(t, http.MethodPost, base+"/v1/check", question),
		request(t, http.MethodPost, base+"/v1/data/charter/decision", `{"input":`+question+`}`),
		request(t, http.MethodGet, base+"/v1/data/charter/decision?input=x", ""),
	} {
		got := do(t, r)
		e := got.fault(t)
		if got.status != http.StatusUnauthorized || e.Code != "unauthenticated" || !strings.Contains(e.Message, "--insecure-self-asserted") {
			t.Errorf("%s %s: %d %s", r.Method, r.URL.Path, got.status, got.body)
		}
		if got.header.Get("Www-Authenticate") == "" {
			t.Error("a 401 without a challenge")
		}
	}
	if len(f.asked) != 0 {
		t.Error("it was decided nevertheless")
	}
	for _, path := range []string{"/health", "/metrics", "/"} {
		if got := get(t, base+path); got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// A page that rebinds its name to 127.0.0.1 reaches the port, but with its own
// name as Host.
func TestHostMustBeLoopback(t *testing.T) {
	f := &fake{}
	base := start(t, f)
	for host, status := range map[string]int{
		"localhost":              http.StatusOK,
		"LOCALHOST:8000":         http.StatusOK,
		"127.0.0.1:8000":         http.StatusOK,
		"127.9.9.9":              http.StatusOK,
		"[::1]:8000":             http.StatusOK,
		"[::1]":                  http.StatusOK,
		"[::ffff:127.0.0.1]:80":  http.StatusOK,
		"evil.example":           http.StatusForbidden,
		"evil.example:8000":      http.StatusForbidden,
		"localhost.evil.example": http.StatusForbidden,
		"127.0.0.1.evil.example": http.StatusForbidden,
		"0.0.0.0:8000":           http.StatusForbidden,
		"192.0.2.1":              http.StatusForbidden,
	} {
		r := request(t, http.MethodPost, base+"/v1/check", question)
		r.Host = host
		got := do(t, r)
		if got.status != status {
			t.Errorf("Host %s: %d %s", host, got.status, got.body)
		}
		if status != http.StatusOK && got.fault(t).Code != "forbidden_host" {
			t.Errorf("Host %s: %s", host, got.body)
		}
	}
	// Names are the deployment's business where identity is proven.
	base = start(t, f, func(o *decisionapi.Options) { o.InsecureSelfAsserted = false })
	r := request(t, http.MethodGet, base+"/health", "")
	r.Host = "charter.example"
	if got := do(t, r); got.status != http.StatusOK {
		t.Errorf("/health by its public name: %d %s", got.status, got.body)
	}
}

func TestCrossOriginRequests(t *testing.T) {
	base := start(t, &fake{})
	for _, c := range []struct {
		name   string
		header []string
		status int
	}{
		{"no browser", nil, http.StatusOK},
		{"address bar", []string{"Sec-Fetch-Site", "none"}, http.StatusOK},
		{"own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", base}, http.StatusOK},
		{"own page, old browser", []string{"Origin", base}, http.StatusOK},
		{"other page", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusForbidden},
		{"other port", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"other page, old browser", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"other port, old browser", []string{"Origin", "http://127.0.0.1:1"}, http.StatusForbidden},
		{"sandboxed page", []string{"Origin", "null"}, http.StatusForbidden},
		{"no origin at all", []string{"Origin", "::"}, http.StatusForbidden},
	} {
		got := post(t, base+"/v1/check", question, c.header...)
		if got.status != c.status {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
		if c.status != http.StatusOK && got.fault(t).Code != "cross_origin" {
			t.Errorf("%s: %s", c.name, got.body)
		}
	}
	if got := do(t, request(t, http.MethodOptions, base+"/v1/check", "", "Origin", "https://evil.example")); got.status != http.StatusForbidden || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight: %d", got.status)
	}
}

func TestProxiedRequestsAreNotLocal(t *testing.T) {
	base := start(t, &fake{})
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-IP"} {
		got := post(t, base+"/v1/check", question, h, "192.0.2.1")
		if got.status != http.StatusForbidden || got.fault(t).Code != "not_local" {
			t.Errorf("%s: %d %s", h, got.status, got.body)
		}
	}
}

// A routing rule can lead packets of strangers to a loopback listener.
func TestRemoteAddressMustBeLoopback(t *testing.T) {
	f := &fake{}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		t.Fatal(err)
	}
	for remote, status := range map[string]int{
		"127.0.0.1:4000": http.StatusOK, "[::1]:4000": http.StatusOK,
		"192.0.2.1:4000": http.StatusForbidden, "": http.StatusForbidden, "pipe": http.StatusForbidden,
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/check", strings.NewReader(question))
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("from %q: %d %s", remote, w.Code, w.Body)
		}
	}
}

// Errors that echo or a later middleware makes get the same shape.
func TestErrorsOfEcho(t *testing.T) {
	f := &fake{}
	h, err := decisionapi.New(decisionapi.Options{Decider: f, Reporter: f, InsecureSelfAsserted: true})
	if err != nil {
		t.Fatal(err)
	}
	e := h.(*echo.Echo)
	for status, code := range map[int]string{
		http.StatusTooManyRequests: "too_many_requests", http.StatusServiceUnavailable: "unavailable",
		http.StatusTeapot: "invalid_request", http.StatusBadGateway: "internal_error",
		http.StatusRequestEntityTooLarge: "body_too_large", http.StatusUnsupportedMediaType: "unsupported_media_type",
	} {
		w := httptest.NewRecorder()
		c := e.NewContext(httptest.NewRequest(http.MethodGet, "/", nil), w)
		e.HTTPErrorHandler(echo.NewHTTPError(status), c)
		if got := (answer{w.Code, w.Header(), w.Body.String()}).fault(t); w.Code != status || got.Code != code {
			t.Errorf("%d: %d %s", status, w.Code, w.Body)
		}
	}
}
