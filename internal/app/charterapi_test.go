package app

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reporting is a server that people report to.
func reporting(t *testing.T, anonymous string, change func(*Options)) *serving {
	t.Helper()
	dir := t.TempDir()
	o := Defaults()
	o.Charter = put(t, filepath.Join(dir, "charter.yaml"), strings.Replace(governedBase, "name: base", "name: village", 1)+"reports: {anonymous: "+anonymous+"}\n")
	o.TokenFile = put(t, filepath.Join(dir, "tokens.yaml"), "- {name: member, sha256: "+hashed("member-token")+", scopes: [committee]}\n"+
		"- {name: scraper, sha256: "+hashed("scraper-token")+", scopes: [metrics]}\n")
	change(&o)
	return recording(t, o)
}

// tell sends a body as the bearer of a token, "" for nobody.
func (s *serving) tell(t *testing.T, method, path, token, media, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", media)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := map[string]any{"body": string(text)}
	_ = json.Unmarshal(text, &answer) // evidence is not JSON
	return res.StatusCode, answer
}

const theft = `{"type":"exploitation","node":"edge-7","description":"heard of it"}`

// A report without a name leaves no trace of who sent it, and one with a name may
// leave it out.
func TestAnonymousReports(t *testing.T) {
	s := reporting(t, "true", func(*Options) {})
	status, first := s.tell(t, "POST", "/v1/violations", "", "application/json", theft)
	if status != http.StatusCreated || first["id"] == nil || first["node"] != nil {
		t.Errorf("%d %v", status, first)
	}
	status, answer := s.tell(t, "POST", "/v1/violations", "scraper-token", "application/json", strings.Replace(theft, "{", `{"anonymous":true,`, 1))
	if status != http.StatusCreated || answer["reporter"] != nil {
		t.Errorf("%d %v", status, answer)
	}
	status, answer = s.tell(t, "POST", "/v1/violations", "scraper-token", "application/json", theft)
	if status != http.StatusCreated || answer["reporter"] != "token:scraper" {
		t.Errorf("with a name: %d %v", status, answer)
	}
	if status, answer := s.tell(t, "POST", "/v1/violations", "forged-token", "application/json", theft); status != http.StatusUnauthorized {
		t.Errorf("a proof that does not hold: %d %v", status, answer)
	}
	for line := range strings.Lines(s.journal.String()) {
		if strings.Contains(line, `"/v1/violations"`) && (strings.Contains(line, "remote") || strings.Contains(line, "scraper") || strings.Contains(line, "127.0.0.1")) {
			t.Errorf("the log tells who reported: %s", line)
		}
		if strings.Contains(line, "heard of it") {
			t.Errorf("the log tells what was written: %s", line)
		}
	}
	_, answer = s.tell(t, "GET", "/v1/violations/"+first["id"].(string), "member-token", "", "")
	if answer["node"] != "edge-7" || answer["reporter"] != nil {
		t.Errorf("%v", answer)
	}
}

func TestReportsWithoutANameCanBeClosed(t *testing.T) {
	s := reporting(t, "false", func(*Options) {})
	if status, answer := s.tell(t, "POST", "/v1/violations", "", "application/json", theft); status != http.StatusForbidden || answer["code"] != "reports_closed" {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := s.tell(t, "POST", "/v1/violations", "scraper-token", "application/json", theft); status != http.StatusCreated {
		t.Errorf("%d %v", status, answer)
	}
	own := reporting(t, "false", func(o *Options) { o.TokenFile, o.InsecureSelfAsserted = "", true })
	if status, answer := own.tell(t, "POST", "/v1/violations", "", "application/json", theft); status != http.StatusForbidden || answer["code"] != "reports_closed" {
		t.Errorf("self-asserted: %d %v", status, answer)
	}
}

// One address gets through with a few reports only, and another still does.
func TestReportsOfAnAddressAreLimited(t *testing.T) {
	s := reporting(t, "true", func(*Options) {})
	refused := 0
	for range 8 {
		status, answer := s.tell(t, "POST", "/v1/violations", "", "application/json", theft)
		if status == http.StatusTooManyRequests && answer["code"] == "too_many_reports" {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d of 8 reports were refused", refused)
	}
	if status, answer := s.tell(t, "POST", "/v1/violations", "scraper-token", "application/json", theft); status != http.StatusCreated {
		t.Errorf("somebody with a name: %d %v", status, answer)
	}
}

// Evidence comes as a file, too, and goes to those who investigate alone, as nothing
// that a browser would run.
func TestEvidence(t *testing.T) {
	s := reporting(t, "true", func(*Options) {})
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("type", "exploitation")
	_ = w.WriteField("node", "edge-7")
	part, err := w.CreateFormFile("evidence", "page.html")
	if err == nil {
		_, err = part.Write([]byte("<script>evil()</script>"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	status, answer := s.tell(t, "POST", "/v1/violations", "scraper-token", w.FormDataContentType(), form.String())
	ref, _ := answer["evidence"].(map[string]any)
	if status != http.StatusCreated || ref == nil || ref["size"] != 23.0 {
		t.Fatalf("%d %v", status, answer)
	}
	path := "/v1/evidence/" + ref["hash"].(string)
	if status, _ := s.tell(t, "GET", path, "scraper-token", "", ""); status != http.StatusForbidden {
		t.Errorf("somebody reads evidence: %d", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer member-token")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, _ := io.ReadAll(res.Body)
	if string(text) != "<script>evil()</script>" || res.Header.Get("Content-Type") != "application/octet-stream" ||
		!strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v", text, res.Header)
	}
	if status, answer := s.tell(t, "GET", "/v1/evidence/..%2f..%2ftokens.yaml", "member-token", "", ""); status != http.StatusNotFound {
		t.Errorf("%d %v", status, answer)
	}
	big := `{"type":"exploitation","node":"edge-7","evidence":{"data":"` + strings.Repeat("AAAA", 400_000) + `"}}`
	if status, answer := s.tell(t, "POST", "/v1/violations", "scraper-token", "application/json", big); status != http.StatusRequestEntityTooLarge || answer["code"] != "evidence_too_large" && answer["code"] != "body_too_large" {
		t.Errorf("%d %.200v", status, answer)
	}
}

// Who is believed without proof may report, and read, and take no step that is
// recorded in somebody's name.
func TestSelfAssertedCallersDecideNothing(t *testing.T) {
	s := reporting(t, "true", func(o *Options) { o.TokenFile, o.InsecureSelfAsserted, o.AllowApply = "", true, true })
	if status, answer := s.tell(t, "POST", "/v1/violations", "", "application/json", theft); status != http.StatusCreated {
		t.Errorf("%d %v", status, answer)
	}
	for _, path := range []string{"/v1/investigations", "/v1/investigations/x/resolve", "/v1/revocations", "/alerts", "/v1/charters/apply?digest=sha256:00", "/v1/charters/rollback"} {
		media := "application/json"
		if strings.Contains(path, "apply") {
			media = "application/yaml"
		}
		if status, answer := s.tell(t, "POST", path, "", media, `{}`); status != http.StatusForbidden && answer["code"] != "invalid_request" {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	if status, answer := s.tell(t, "POST", "/v1/revocations", "", "application/json", `{"node":"edge-7","reason":"legal"}`); status != http.StatusForbidden {
		t.Errorf("%d %v", status, answer)
	}
	if status, _ := s.tell(t, "GET", "/v1/violations", "", "", ""); status != http.StatusOK {
		t.Errorf("%d", status)
	}
}

// Without a ledger there are no violations, and charters are validated still.
func TestWithoutALedgerChartersAlone(t *testing.T) {
	o := selfAsserted(example1)
	s := offered(t, o)
	if status, _ := s.tell(t, "GET", "/v1/violations", "", "", ""); status != http.StatusNotFound {
		t.Errorf("%d", status)
	}
	text, err := os.ReadFile(example1)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := s.tell(t, "POST", "/v1/charters/validate", "", "application/yaml", string(text)); status != http.StatusOK || answer["valid"] != true {
		t.Errorf("%d %v", status, answer)
	}
}
