package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// document is something to decode.
type document struct {
	Name  string            `json:"name"`
	Count uint8             `json:"count"`
	At    time.Time         `json:"at"`
	Inner map[string]string `json:"inner"`
	List  []inner           `json:"list"`
}

type inner struct {
	On bool `json:"on"`
}

// said is what a refusal says in short.
func said(err error) string {
	if err == nil {
		return ""
	}
	e := From(err)
	text := fmt.Sprint(e.Status, " ", e.Code)
	for _, p := range e.Errors {
		text += fmt.Sprintf(" %s %q", p.Code, p.Location)
	}
	return text
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ body, strict, known, message string }{
		{`{"name":"a","count":255,"at":"2026-06-01T12:00:00Z","inner":{"a":"b"},"list":[{"on":true}]}`, "", "", ""},
		{`{}`, "", "", ""},
		{`{"more":1}`, `unknown_field "more"`, "", `unknown field "more"`},
		{`{"list":[{"on":true},{"off":1}]}`, `unknown_field "list.1.off"`, "", `unknown field "list.1.off"`},
		{`{"Name":"a"}`, `unknown_field "Name"`, "", `unknown field "Name"`},
		{`{"":1}`, `unknown_field ""`, "", `unknown field ""`},
		{`{"name":1}`, `wrong_type "name"`, `wrong_type "name"`, `field "name" has the wrong type`},
		{`[]`, `wrong_type ""`, `wrong_type ""`, "the body has the wrong type"},
		{`{"list":[{"on":"yes"}]}`, `wrong_type "list.0.on"`, `wrong_type "list.0.on"`, `field "list.0.on" has the wrong type`},
		{`{"count":256}`, `invalid_value "count"`, `invalid_value "count"`, `field "count" has the wrong form`},
		{`{"count":-1}`, `invalid_value "count"`, `invalid_value "count"`, `field "count" has the wrong form`},
		{`{"at":"yesterday"}`, `invalid_value "at"`, `invalid_value "at"`, `field "at" has the wrong form`},
		{`{"name":"a","name":"b"}`, `invalid_value "name"`, `invalid_value "name"`, "the body is not JSON at byte 12: a member is given twice"},
		{``, `invalid_value ""`, `invalid_value ""`, "the body is not JSON at byte 0: it ends too early"},
		{`{"name":`, `invalid_value "name"`, `invalid_value "name"`, "the body is not JSON at byte 8: it ends too early"},
		{`{"name"=1}`, `invalid_value "name"`, `invalid_value "name"`, "the body is not JSON at byte 7: not valid"},
		{`{}{}`, `invalid_value ""`, `invalid_value ""`, "the body is not JSON at byte 2: not valid"},
		{"{\"name\":\"\xff\"}", `invalid_value "name"`, `invalid_value "name"`, "the body is not JSON at byte 9: not valid"},
	} {
		for how, decode := range map[string]func([]byte, any) error{"strict": Decode, "known": DecodeKnown} {
			want := c.strict
			if how == "known" {
				want = c.known
			}
			if want != "" {
				want = "400 invalid_request " + want
			}
			var d document
			err := decode([]byte(c.body), &d)
			if said(err) != want || err != nil && err.Error() != "invalid request: "+c.message {
				t.Errorf("%s %s: %s: %v", how, c.body, said(err), err)
			}
		}
	}
}

// bounded fails the test unless a refusal is a small one of the client.
func bounded(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusBadRequest || len(e.Errors) != 1 || len(e.Message) > MaxMessage || !utf8.ValidString(e.Message+e.Errors[0].Location) {
		t.Fatalf("%T: %+v", err, err)
	}
}

// Whatever is decoded strictly has known members alone, each once, and is decoded to the
// same otherwise.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"name":"a","count":255,"at":"2026-06-01T12:00:00Z","inner":{"a":"b"},"list":[{"on":true}]}`, `{"name":"a","name":"b"}`, `{"é":1}`,
		`{"list":[{"off":1}]}`, `null`, "{\"inner\":{\"\xff\":\"\"}}", `{"` + strings.Repeat("x", 300) + `":1}`, `[1`, `{"at":0}`,
	} {
		f.Add([]byte(body))
	}
	known := []string{"name", "count", "at", "inner", "list"}
	f.Fuzz(func(t *testing.T, body []byte) {
		var strict, loose document
		err, other := Decode(body, &strict), DecodeKnown(body, &loose)
		if other != nil {
			bounded(t, other)
			if err == nil {
				t.Fatalf("only decoded strictly: %v", other)
			}
		}
		if err != nil {
			bounded(t, err)
			return
		}
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(body, &members); err != nil || !utf8.Valid(body) {
			t.Fatalf("%q: %v", body, err)
		}
		for name := range maps.Keys(members) {
			if !slices.Contains(known, name) {
				t.Fatalf("%q is passed over", name)
			}
		}
		if fmt.Sprint(strict) != fmt.Sprint(loose) {
			t.Fatalf("%v and %v", strict, loose)
		}
	})
}

func request(body io.Reader, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestMedia(t *testing.T) {
	for _, c := range []struct{ header, value, media, want string }{
		{"", "", TypeJSON, ""},
		{"Content-Type", "application/json", TypeJSON, ""},
		{"Content-Type", "Application/YAML; charset=UTF-8", TypeYAML, ""},
		{"Content-Type", "application/json; charset=latin1", "", "charset latin1 is not supported, send UTF-8"},
		{"Content-Type", "text/plain", "", "Content-Type text/plain is not supported here, send application/json or application/yaml"},
		{"Content-Type", ";", "", "Content-Type ; is not supported here, send application/json or application/yaml"},
		{"Content-Encoding", "br", "", "Content-Encoding br is not supported, send the body with gzip or uncompressed"},
		{"Content-Encoding", "identity", TypeJSON, ""},
	} {
		r := request(nil)
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		media, _, err := Media(r, TypeJSON, TypeYAML)
		if media != c.media || (err != nil) != (c.want != "") || err != nil && (err.Error() != c.want || From(err).Status != http.StatusUnsupportedMediaType) {
			t.Errorf("%s %s: %q, %v", c.header, c.value, media, err)
		}
	}
	if _, params, err := Media(request(nil, "Content-Type", "multipart/form-data; boundary=x"), "multipart/form-data"); err != nil || params["boundary"] != "x" {
		t.Errorf("%v, %v", params, err)
	}
}

// Why a body cannot be read is the client's to know, as far as it is the client's.
func TestBody(t *testing.T) {
	own := &Error{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Message: "the body is not gzip"}
	for _, c := range []struct {
		body io.Reader
		want string
	}{
		{strings.NewReader("12345678"), ""},
		{strings.NewReader("123456789"), "the body is larger than 8 bytes"},
		{iotest.ErrReader(fmt.Errorf("read: %w", os.ErrDeadlineExceeded)), "the body did not arrive in time"},
		{iotest.ErrReader(io.ErrUnexpectedEOF), "the body could not be read"},
		{iotest.ErrReader(own), own.Message},
	} {
		body, err := JSON(httptest.NewRecorder(), request(c.body), 8)
		if c.want == "" {
			if err != nil || len(body) != 8 {
				t.Errorf("%q, %v", body, err)
			}
		} else if err == nil || From(err).Message != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	for want, status := range map[string]int{"the body is larger than 8 bytes": 413, "the body did not arrive in time": 408, "the body could not be read": 400} {
		e := Unreadable(map[int]error{413: &http.MaxBytesError{Limit: 8}, 408: os.ErrDeadlineExceeded, 400: io.EOF}[status])
		if e.Status != status || e.Message != want {
			t.Errorf("%d %s", e.Status, e.Message)
		}
	}
	var d document
	if err := DecodeJSON(httptest.NewRecorder(), request(strings.NewReader(`{"name":"a"}`)), 64, &d); err != nil || d.Name != "a" {
		t.Errorf("%+v, %v", d, err)
	}
	if err := DecodeJSON(httptest.NewRecorder(), request(strings.NewReader(`{}`), "Content-Type", "text/csv"), 64, &d); err == nil {
		t.Error("CSV is decoded as JSON")
	}
}

func TestNoBody(t *testing.T) {
	for body, want := range map[string]string{"": "", "{}": "", " {} \n": "", "null": `400 invalid_request unknown_field ""`, `{"a":1}`: `400 invalid_request unknown_field ""`, strings.Repeat("x", 1<<20): `400 invalid_request unknown_field ""`} {
		if got := said(NoBody(request(strings.NewReader(body)))); got != want {
			t.Errorf("%.20q: %s", body, got)
		}
	}
	if got := said(NoBody(request(iotest.ErrReader(os.ErrDeadlineExceeded)))); got != "408 request_timeout" {
		t.Error(got)
	}
}

// What is echoed is short and stays text.
func FuzzEcho(f *testing.F) {
	f.Add("plain")
	f.Add(strings.Repeat("é", 100) + "\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Echo(s)
		if len(got) > maxEcho+len("…") || !utf8.ValidString(got) || utf8.ValidString(s) && len(s) <= maxEcho && got != s || utf8.ValidString(s) && !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
