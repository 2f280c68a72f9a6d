package charterapi

import (
	"bytes"
	"errors"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// refusedWell fails the test unless err is a refusal that can be sent: short, of a
// known status, without what is not UTF-8.
func refusedWell(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if e.Status < 400 || e.Status > 499 || e.Code == "" || !utf8.ValidString(e.Message) || len(e.Message) > 4*wire.MaxMessage {
		t.Errorf("%d %s %q", e.Status, e.Code, e.Message)
	}
}

func form(t testing.TB, fields map[string]string, evidence string) (body []byte, boundary string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("evidence", "../../etc/passwd")
	if err == nil {
		_, err = part.Write([]byte(evidence))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.Boundary()
}

func FuzzReport(f *testing.F) {
	body, boundary := form(f, map[string]string{"type": "exploitation", "node": "edge-7", "anonymous": "true"}, "bytes")
	f.Add(body, boundary)
	f.Add([]byte(`{"type":"exploitation","node":"edge-7","evidence":{"media_type":"text/plain","data":"YQ=="}}`), "")
	f.Add([]byte(`{"node":"a","node":"b"}`), "")
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=node\r\n\r\nedge\r\n--x--"), "x")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		for _, read := range []func() (reportBody, error){
			func() (reportBody, error) { return parseReport(body) },
			func() (reportBody, error) { return parseForm(body, boundary) },
		} {
			b, err := read()
			if err != nil {
				refusedWell(t, err)
			} else if b.Evidence != nil && len(b.Evidence.Data) > enforcement.MaxEvidence {
				t.Errorf("%d bytes of evidence", len(b.Evidence.Data))
			}
		}
	})
}

func FuzzAlerts(f *testing.F) {
	f.Add([]byte(firing))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"resolved","labels":{"alertname":"A","severity":"warning"},"startsAt":"2026-06-01T12:00:00+02:00","endsAt":"2026-06-01T13:00:00Z","fingerprint":"ab"}]}`))
	f.Add([]byte(`{"version":"4","alerts":[{}]}`))
	f.Add([]byte(`{"version":"3"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, err := parseAlerts(body)
		if err != nil {
			refusedWell(t, err)
			return
		}
		for _, e := range entries {
			e.Schema, e.Time = ledger.Schema, "2026-06-01T12:00:00.000000000Z"
			if _, err := e.Body(); err != nil {
				t.Errorf("no entry can be made of %s: %v", e.Data, err)
			}
			if len(e.Data) > 4096 || len(e.RequestID) > 256 {
				t.Errorf("too much is kept: %d bytes under %q", len(e.Data), e.RequestID)
			}
		}
	})
}

func FuzzCharterText(f *testing.F) {
	f.Add([]byte(`{"file":"a.yaml","files":{"a.yaml":"kind: Charter"}}`), true)
	f.Add([]byte(`{"file":"a.yaml","files":{"a.yaml":"extends: ../b.yaml"},"old":{"file":"b","files":{"b":""}}}`), true)
	f.Add([]byte("apiVersion: charter/v1\nkind: Charter\nmetadata: {name: a, version: 1.0.0}\nextends: /etc/passwd\n"), false)
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, chartersPath+"/compare", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", wire.TypeYAML)
		if asJSON {
			r.Header.Set("Content-Type", wire.TypeJSON)
		}
		text, _, err := readText(nil, r)
		if err != nil {
			refusedWell(t, err)
			return
		}
		c, findings := checking().load(text)
		if c == nil && !findings.HasErrors() {
			t.Errorf("no charter and no reason: %v", findings)
		}
		for _, x := range findings {
			if strings.Contains(x.Message, "root:") {
				t.Errorf("a file of this machine was read: %s", x.Message)
			}
		}
	})
}

const firing = `{"version":"4","groupKey":"{}","alerts":[{"status":"firing","labels":{"alertname":"CriticalViolationDetected","severity":"critical","node":"edge-7"},
 "annotations":{"summary":"secret"},"startsAt":"2026-06-01T12:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"1a30ba71cca2921f","of a later version":1}]}`
