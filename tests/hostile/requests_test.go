package hostile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

// bad is a request that must be refused.
type bad struct {
	name, path, body string
	header           []string // beside Content-Length, as lines
	chunked          bool
	status           int
	code             string // in the error shape, "" for what never gets to a handler
	location         string // of the first error, "" when it does not matter
}

const asked = `"metric":"latency_p50","node":"edge-1","role":"node_operator","operation":"collect"`

// requests are everything that is wrong with a single request.
func requests(t *testing.T) []bad {
	t.Helper()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	labels := manyLabels(100_000)
	list := []bad{
		{name: "huge body, declared", path: "/v1/check", header: []string{"Content-Length: 1099511627776"}, status: 413, code: "body_too_large"},
		{name: "huge batch, declared", path: "/v1/check/batch", header: []string{"Content-Length: 1099511627776"}, status: 413, code: "body_too_large"},
		{name: "huge body, chunked", path: "/v1/check", body: strings.Repeat(" ", 2<<20), chunked: true, status: 413, code: "body_too_large"},
		{name: "huge batch, chunked", path: "/v1/check/batch", body: strings.Repeat(" ", 17<<20), chunked: true, status: 413, code: "body_too_large"},
		{name: "deep", path: "/v1/check", body: nested(30_000), status: 400, code: "invalid_request"},
		{name: "deep label", path: "/v1/check", body: `{` + asked + `,"labels":{"a":` + nested(20_000) + `}}`, status: 400, code: "invalid_request"},
		{name: "100,000 levels", path: "/v1/check", body: nested(100_000), status: 413, code: "body_too_large"},
		{name: "100,000 levels", path: "/v1/check/batch", body: `{"items":` + nested(100_000) + `}`, status: 400, code: "invalid_request"},
		{name: "100,000 levels", path: "/v1/batch/data/charter/decision", body: `{"inputs":{"a":` + nested(100_000) + `}}`, status: 400, code: "invalid_request"},
		{name: "100,000 levels", path: "/access/v1/evaluations", body: `{"evaluations":` + nested(100_000) + `}`, header: jsonBody(), status: 400, code: "invalid_request"},
		{name: "100,000 labels", path: "/v1/check", body: `{` + asked + `,"labels":` + labels + `}`, status: 413, code: "body_too_large"},
		{name: "129 labels", path: "/v1/check", body: `{` + asked + `,"labels":` + manyLabels(129) + `}`, status: 400, code: "invalid_request", location: "labels"},
		{name: "100,000 labels in common", path: "/v1/check/batch", body: `{"common":{"labels":` + labels + `},"items":[]}`, status: 400, code: "invalid_request", location: "common.labels"},
		{name: "100,000 labels", path: "/v1/batch/data/charter/decision", body: `{"inputs":{"a":{` + asked + `,"labels":` + labels + `}}}`, status: 400, code: "invalid_request", location: "inputs.a.input.labels"},
		{name: "10,001 questions", path: "/v1/check/batch", body: `{"items":[{}` + strings.Repeat(",{}", 10_000) + `]}`, status: 400, code: "invalid_request", location: "items"},
		{name: "not JSON", path: "/v1/check", body: "metric=latency_p50", status: 400, code: "invalid_request", location: "input"},
		{name: "two values", path: "/v1/check", body: `{` + asked + `}{` + asked + `}`, status: 400, code: "invalid_request", location: "input"},
		{name: "half a value", path: "/v1/check", body: `{` + asked, status: 400, code: "invalid_request", location: "input"},
		{name: "nothing", path: "/v1/check", status: 400, code: "invalid_request", location: "input"},
		{name: "duplicate input", path: "/v1/data/charter/decision", body: `{"input":{` + asked + `},"input":{` + asked + `}}`, status: 400, code: "invalid_request", location: "input"},
		{name: "duplicate items", path: "/v1/check/batch", body: `{"items":[],"items":[]}`, status: 400, code: "invalid_request", location: "items"},
		{name: "duplicate id", path: "/v1/batch/data/charter/decision", body: `{"inputs":{"a":{},"a":{}}}`, status: 400, code: "invalid_request", location: "inputs"},
		{name: "gzip bomb", path: "/v1/check/batch", body: squeezed(t, strings.Repeat(" ", 64<<20)), header: []string{"Content-Encoding: gzip"}, status: 413, code: "body_too_large"},
		{name: "gzip bomb, chunked", path: "/v1/check", body: squeezed(t, strings.Repeat(" ", 64<<20)), header: []string{"Content-Encoding: gzip"}, chunked: true, status: 413, code: "body_too_large"},
		{name: "not gzip", path: "/v1/check", body: `{` + asked + `}`, header: []string{"Content-Encoding: gzip"}, status: 400, code: "invalid_request"},
		{name: "half of gzip", path: "/v1/check", body: squeezed(t, `{`+asked+`}`)[:20], header: []string{"Content-Encoding: gzip"}, status: 400, code: "invalid_request"},
		{name: "gzip in gzip", path: "/v1/check", body: squeezed(t, squeezed(t, "{}")), header: []string{"Content-Encoding: gzip, gzip"}, status: 415, code: "unsupported_media_type"},
		{name: "not JSON's type", path: "/v1/check", body: `{` + asked + `}`, header: []string{"Content-Type: text/xml"}, status: 415, code: "unsupported_media_type"},
		{name: "another charset", path: "/v1/check", body: `{` + asked + `}`, header: []string{"Content-Type: application/json; charset=utf-7"}, status: 415, code: "unsupported_media_type"},
		{name: "another origin", path: "/v1/check", body: `{` + asked + `}`, header: []string{"Origin: https://evil.example"}, status: 403, code: "cross_origin"},
		{name: "a proxy", path: "/v1/check", body: `{` + asked + `}`, header: []string{"X-Forwarded-For: 10.0.0.1"}, status: 403, code: "not_local"},
		{name: "no such path", path: "/v1/%2e%2e/%2e%2e/etc/passwd", body: `{}`, status: 404, code: "not_found"},
		{name: "a header of 1 MiB", path: "/v1/check", body: `{}`, header: []string{"X-Flood: " + strings.Repeat("x", 1<<20)}, status: 431},
		{name: "100,000 headers", path: "/v1/check", body: `{}`, header: slices.Repeat([]string{"X-Flood: x"}, 100_000), status: 431},
		{name: "two lengths", path: "/v1/check", body: `{}`, header: []string{"Content-Length: 3"}, status: 400},
		{name: "a negative length", path: "/v1/check", header: []string{"Content-Length: -1"}, status: 400},
		{name: "a header with a line break", path: "/v1/check", body: `{}`, header: []string{"X-A: b\r\r\n c"}, status: 400},
		{name: "a header without a name", path: "/v1/check", body: `{}`, header: []string{": x"}, status: 400},
		{name: "another transfer coding", path: "/v1/check", header: []string{"Transfer-Encoding: zip"}, status: 501},
	}
	return slices.Concat(list, values())
}

// values are bad values of every field.
func values() []bad {
	var list []bad
	whole := map[string]string{
		"metric": `"latency_p50"`, "node": `"edge-1"`, "role": `"node_operator"`, "operation": `"collect"`, "purpose": `"operations"`,
		"labels": `{"a":"b"}`, "claims": `["owns_node"]`, "retention": `"1d"`,
	}
	with := func(field, value string) string {
		var members []string
		for _, name := range []string{"metric", "node", "role", "operation", "purpose", "labels", "claims", "retention"} {
			text := whole[name]
			if name == field {
				text = value
			}
			members = append(members, strconv.Quote(name)+":"+text)
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	add := func(what, field, value, location string) {
		list = append(list, bad{name: what + " in " + field, path: "/v1/check", body: with(field, value), status: 400, code: "invalid_request", location: location})
	}
	for _, field := range []string{"metric", "node", "role", "operation", "purpose", "labels", "claims", "retention"} {
		for _, number := range []string{"NaN", "Infinity", "-Infinity", "0x10", "1e", "01", "+1", ".5"} {
			where := "input" // no JSON at all
			if field == "claims" {
				where = "" // the array before it may be missed first
			}
			add(number, field, number, where)
		}
		for _, number := range []string{"1e999", "-0", "123456789012345678901234567890", "null", "true", "7"} {
			add(number, field, number, field)
		}
		add("two values", field, whole[field]+","+strconv.Quote(field)+":"+whole[field], field)
		switch field {
		case "labels":
			add("invalid UTF-8 in a name", field, "{\"\xc3\x28\":\"b\"}", "input")
			add("invalid UTF-8 in a value", field, "{\"a\":\"\xff\"}", "input")
			add("the same label twice", field, `{"a":"b","a":"c"}`, field)
			add("a number", field, `{"a":1}`, field)
			add("a long name", field, `{"`+strings.Repeat("x", 513)+`":""}`, field)
		case "claims":
			add("invalid UTF-8", field, "[\"\xed\xa0\x80\"]", "input")
			add("a number", field, `[1]`, field)
			add("65", field, `["a"`+strings.Repeat(`,"a"`, 64)+`]`, field)
		default:
			add("invalid UTF-8", field, "\"\xf0\x28\x8c\x28\"", "input")
			add("half of an escape", field, `"\u12"`, "input")
			add("a control character", field, "\"\x00\"", "input")
			add("a long text", field, `"`+strings.Repeat("x", 513)+`"`, field)
		}
	}
	return list
}

func jsonBody() []string { return []string{"Content-Type: application/json"} }

func manyLabels(n int) string {
	var b strings.Builder
	b.WriteString(`{"l":""`)
	for i := range n - 1 {
		fmt.Fprintf(&b, `,"l%d":""`, i)
	}
	return b.String() + "}"
}

func squeezed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// text is the request as it is sent.
func (b bad) text() string {
	var r strings.Builder
	r.WriteString("POST " + b.path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
	for _, h := range b.header {
		r.WriteString(h + "\r\n")
	}
	declares := slices.ContainsFunc(b.header, func(h string) bool {
		return strings.HasPrefix(h, "Content-Length") && b.body == "" || strings.HasPrefix(h, "Transfer-Encoding")
	})
	switch {
	case b.chunked:
		r.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for chunk := range slices.Chunk([]byte(b.body), 64<<10) {
			fmt.Fprintf(&r, "%x\r\n%s\r\n", len(chunk), chunk)
		}
		r.WriteString("0\r\n\r\n")
	case declares:
		r.WriteString("\r\n")
	default:
		fmt.Fprintf(&r, "Content-Length: %d\r\n\r\n%s", len(b.body), b.body)
	}
	return r.String()
}

// reply is an answer as far as it matters here.
type reply struct {
	status int
	body   []byte
}

// exchange sends a request and reads the answer. A server that has had enough
// closes the connection while the client still writes, so errors of writing do
// not count.
func exchange(c net.Conn, text string) (reply, error) {
	if err := c.SetDeadline(time.Now().Add(poll.Patience)); err != nil {
		return reply{}, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(c, text)
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(res.Body)
	_ = c.Close()
	<-written
	return reply{res.StatusCode, body}, errors.Join(err, res.Body.Close())
}

// refused sends every bad request and checks that the answer names the fault.
func refused(t *testing.T, s *server) {
	for _, b := range requests(t) {
		got, err := exchange(s.dial(t), b.text())
		if err != nil {
			// What was still being sent can reset the connection before the answer is read.
			if len(b.text()) < 64<<10 {
				t.Errorf("%s to %s: no answer: %v", b.name, b.path, err)
			}
			continue
		}
		if got.status != b.status {
			t.Errorf("%s to %s: %d, want %d: %.300s", b.name, b.path, got.status, b.status, got.body)
			continue
		}
		if b.code != "" {
			b.check(t, got.body)
		}
	}
}

// check looks for the code of the fault and where it is.
func (b bad) check(t *testing.T, body []byte) {
	var e struct {
		Code, Message string
		Errors        []struct{ Code, Message, Location string }
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Code != b.code || e.Message == "" {
		t.Errorf("%s to %s: %.300s, want code %s", b.name, b.path, body, b.code)
		return
	}
	if len(body) > 16<<10 {
		t.Errorf("%s to %s: the answer has %d bytes", b.name, b.path, len(body))
	}
	if b.location == "" {
		return
	}
	if len(e.Errors) == 0 || e.Errors[0].Location != b.location || e.Errors[0].Code == "" || e.Errors[0].Message == "" {
		t.Errorf("%s to %s: the fault is at %s: %.300s", b.name, b.path, b.location, body)
	}
}
