package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// refused is the answer to an error, and what is logged.
func refused(e *Error) (w *httptest.ResponseRecorder, log string) {
	var b bytes.Buffer
	w = httptest.NewRecorder()
	Refuse(w, slog.New(slog.NewTextHandler(&b, nil)), e)
	return w, b.String()
}

// What goes to strangers says nothing about the inside; the log does.
func TestCausesStayInside(t *testing.T) {
	secret := errors.New("open /var/lib/secret")
	mine := errors.New("mine")
	own := func(err error) *Error {
		if errors.Is(err, mine) {
			return &Error{Status: http.StatusConflict, Code: "mine", Message: "it is mine", Cause: secret}
		}
		return nil
	}
	for _, c := range []struct {
		err   error
		want  string
		retry string
	}{
		{secret, "500 internal_error", ""},
		{fmt.Errorf("%w: %w", secret, context.DeadlineExceeded), "503 timeout", "1"},
		{fmt.Errorf("%w: %w", secret, context.Canceled), "499 canceled", ""},
		{fmt.Errorf("x: %w", mine), "409 mine", ""},
		{&Error{Status: http.StatusServiceUnavailable, Code: "busy", Cause: mine, Retry: 1500 * time.Millisecond}, "503 busy", "2"},
		{fmt.Errorf("x: %w", TooMany("slow down", time.Minute)), "429 too_many_requests", "60"},
		{TooMany("slow down", 0), "429 too_many_requests", "1"},
		{Missing("there is no %s", "x"), "404 not_found", ""},
	} {
		e := From(c.err, own)
		w, log := refused(e)
		if said(e) != c.want || w.Code != e.Status || w.Header().Get("Retry-After") != c.retry {
			t.Errorf("%v: %s, %d %v", c.err, said(e), w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), "secret") || (e.Status >= 500) != strings.Contains(log, "code="+e.Code) || errors.Is(c.err, secret) && e.Status >= 500 && !strings.Contains(log, "secret") {
			t.Errorf("%v: %s, logged %q", c.err, w.Body, log)
		}
		if !strings.Contains(w.Body.String(), `"errors":[]`) {
			t.Errorf("%s", w.Body)
		}
	}
}

// However much is wrong, the answer is small.
func TestRefusalsAreBounded(t *testing.T) {
	e := Wrong(CodeInvalidValue, "a.b", "%s <&>", strings.Repeat("é", 10_000))
	for range 1000 {
		e.Errors = append(e.Errors, e.Errors[0])
	}
	w, _ := refused(e)
	var got Error
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Errors) != MaxProblems || got.Errors[19].Location != "a.b" || w.Body.Len() > 3*MaxMessage+MaxProblems*(MaxMessage+100) {
		t.Errorf("%v: %d bytes, %d problems", err, w.Body.Len(), len(got.Errors))
	}
	long, _ := refused(Wrong(CodeInvalidValue, strings.Repeat("x", 10_000), "wrong"))
	if long.Body.Len() > MaxMessage+200 {
		t.Errorf("%d bytes about a long place", long.Body.Len())
	}
	if len(e.Errors) != 1001 || len(e.Errors[0].Message) < 10_000 {
		t.Error("the error itself was changed")
	}
}

func TestSend(t *testing.T) {
	w := httptest.NewRecorder()
	if err := SendJSON(w, http.StatusCreated, map[string]string{"a": "<é>"}); err != nil || w.Code != http.StatusCreated || w.Body.String() != `{"a":"<é>"}`+"\n" {
		t.Errorf("%v: %d %s", err, w.Code, w.Body)
	}
	for name, want := range map[string]string{"Content-Type": TypeJSON, "Cache-Control": NoStore, "X-Content-Type-Options": "nosniff", "Content-Length": "13"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	w = httptest.NewRecorder()
	if err := SendJSON(w, http.StatusOK, func() {}); err == nil || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("what cannot be encoded: %v, %v %s", err, w.Header(), w.Body)
	}
	w = httptest.NewRecorder()
	OpenAPI([]byte("openapi: 3.1.0\n")).ServeHTTP(w, nil)
	if w.Header().Get("Content-Type") != TypeYAML || w.Header().Get("Cache-Control") != NoCache || w.Body.String() != "openapi: 3.1.0\n" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

// Clients switch on the codes of errors: docs/api.md lists every one.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("error.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{CodeInvalidRequest, CodeUnknownField, CodeMissingField, CodeInvalidValue, CodeWrongType}
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+ += "(\w+)"`).FindAllSubmatch(source, -1) {
		codes = append(codes, string(m[1]))
	}
	if len(codes) < 18 {
		t.Errorf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(page), "`"+code+"`") {
			t.Errorf("%s is not in docs/api.md", code)
		}
	}
}
