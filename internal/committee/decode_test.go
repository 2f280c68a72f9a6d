package committee

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeWhatWasEncoded(t *testing.T) {
	for _, v := range vectors(t) {
		s := signedBy(t, v.Request, "ana", "ben", "cow")
		data, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s came back as %+v, %v", data, back, err)
		}
		if indented, err := s.Indented(); err != nil || !bytes.Equal(compact(t, indented), data) {
			t.Errorf("%s, %v", indented, err)
		}
		added, err := back.Add(back.Signatures[1])
		if err != nil || added || len(back.Signatures) != 3 {
			t.Errorf("signed again: %v, %v", added, err)
		}
	}
}

func compact(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The same instant in another zone is the same request, in one form.
func TestOneFormOfATime(t *testing.T) {
	s := signedBy(t, override(t), "ana")
	data, _ := s.Encode()
	other := strings.Replace(string(data), `"2026-06-01T02:00:00Z"`, `"2026-06-01T04:00:00+02:00"`, 1)
	back, err := Decode([]byte(other))
	if err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("%+v, %v", back, err)
	}
	s.Request.Until = s.Request.Until.In(time.FixedZone("", 7200))
	if again, err := s.Encode(); err != nil || !bytes.Equal(again, data) {
		t.Errorf("%s, %v", again, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	s := signedBy(t, override(t), "ana")
	data, _ := s.Encode()
	text := string(data)
	change := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in %s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	many := `"n0"`
	for i := range maxItems {
		many += `,"n` + strings.Repeat("x", i+1) + `"`
	}
	for name, tc := range map[string]struct{ text, code string }{
		"nothing":                   {"", CodeInvalidRequest},
		"null":                      {"null", CodeInvalidRequest},
		"a list":                    {"[]", CodeInvalidRequest},
		"no request":                {`{"signatures":[]}`, CodeInvalidRequest},
		"two documents":             {text + text, CodeInvalidRequest},
		"an unknown field":          {change(`"nonce"`, `"nonse":1,"nonce"`), CodeInvalidRequest},
		"an unknown field outside":  {change(`"signatures"`, `"signature":1,"signatures"`), CodeInvalidRequest},
		"a field of another case":   {change(`"nonce"`, `"Nonce"`), CodeInvalidRequest},
		"a field twice":             {change(`"nonce"`, `"reason":"other","nonce"`), CodeInvalidRequest},
		"a number":                  {change(`"OPS-12"`, `12`), CodeInvalidRequest},
		"text that is not UTF-8":    {change(`OPS-12`, "OPS\xff"), CodeInvalidRequest},
		"prose":                     {change(`OPS-12`, "because Ana is ill"), CodeInvalidRequest},
		"letters that look alike":   {change(`OPS-12`, "\u041ePS-12"), CodeInvalidRequest},
		"an invisible letter":       {change(`edge-1`, "edge-1\u200b"), CodeInvalidRequest},
		"a space at the end":        {change(`edge-1`, "edge-1 "), CodeInvalidRequest},
		"a long name":               {change(`edge-1`, strings.Repeat("e", maxNode+1)), CodeInvalidRequest},
		"text that runs backwards":  {change(`edge-1`, "edge-\u202e1"), CodeInvalidRequest},
		"a pattern of nodes":        {change(`edge-1`, "edge-*"), CodeInvalidRequest},
		"a node twice":              {change(`"edge-1"`, `"edge-1","edge-1"`), CodeInvalidRequest},
		"too many nodes":            {change(`"edge-1"`, many), CodeInvalidRequest},
		"a kind of tomorrow":        {change(`"override"`, `"dismiss"`), CodeInvalidRequest},
		"no kind":                   {change(`"kind":"override",`, ``), CodeInvalidRequest},
		"no nonce":                  {change(`000102030405060708090a0b0c0d0e0f`, ``), CodeInvalidRequest},
		"a short nonce":             {change(`0001020304`, `01`), CodeInvalidRequest},
		"a nonce in upper case":     {change(`0a0b`, `0A0B`), CodeInvalidRequest},
		"a field of another kind":   {change(`"reason"`, `"node":"edge-1","reason"`), CodeInvalidRequest},
		"no clauses":                {change(`"clauses":["net.latency","net.node"],`, ``), CodeInvalidRequest},
		"nothing to loosen":         {change(`"retention":"60d","purposes":["operations"],`, ``), CodeInvalidRequest},
		"an impossible duration":    {change(`60d`, `9999999999y`), CodeInvalidRequest},
		"no end":                    {change(`"until":"2026-06-01T02:00:00Z",`, ``), CodeInvalidRequest},
		"an end before the begin":   {change(`2026-06-01T02:00:00Z`, `2026-06-01T00:00:00Z`), CodeInvalidRequest},
		"a begin after it expired":  {change(`2026-06-02T00:00:00Z`, `2026-05-31T23:59:59Z`), CodeInvalidRequest},
		"a fraction of a second":    {change(`2026-06-02T00:00:00Z`, `2026-06-02T00:00:00.5Z`), CodeInvalidRequest},
		"a time before all":         {change(`2026-06-02T00:00:00Z`, `1969-06-02T00:00:00Z`), CodeInvalidRequest},
		"a time after all":          {change(`2026-06-02T00:00:00Z`, `2262-06-02T00:00:00Z`), CodeInvalidRequest},
		"a date":                    {change(`2026-06-02T00:00:00Z`, `2026-06-02`), CodeInvalidRequest},
		"a signature that is none":  {change(`"signature":"0x`, `"signature":"0xzz`), CodeInvalidSignature},
		"an address that is none":   {change(`"address":"0x`, `"address":"0`), CodeInvalidSignature},
		"more than is ever needed":  {text + strings.Repeat(" ", MaxDocument), CodeInvalidRequest},
		"more depth than is needed": {strings.Repeat("[", 20000), CodeInvalidRequest},
	} {
		if got, err := Decode([]byte(tc.text)); code(err) != tc.code || !reflect.DeepEqual(got, Signed{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each of the kinds asks for its own reason of revocations.
func TestReasonOfARevocation(t *testing.T) {
	r := vectors(t)[5].Request
	r.Reason = "because"
	if _, err := r.Digest(); code(err) != CodeInvalidRequest || !strings.Contains(err.Error(), "decommissioned") {
		t.Errorf("%v", err)
	}
}

// A certificate can call a node almost anything, and such a node can be restored too.
func TestNamesOfNodes(t *testing.T) {
	r := vectors(t)[4].Request
	for name, good := range map[string]bool{
		"CN=edge 1, O=Übersee": true, "*.example.org": true, strings.Repeat("e", maxNode): true,
		"": false, " edge": false, "a\x00": false, "a\nb": false, "a\xff": false, "a\ufffd": false, "a\u00a0b": false,
	} {
		r.Node = name
		if _, err := r.Digest(); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	restore, end := vectors(t)[4].Request, vectors(t)[6].Request
	s := Signed{Request: restore}
	foreign, _ := seeded(t, "ana").Sign(end)
	good, _ := seeded(t, "ana").Sign(restore)
	for name, sig := range map[string]Signature{
		"of another request": foreign,
		"of another member":  {seeded(t, "ben").Address().String(), good.Signature},
		"of nobody":          {"", good.Signature},
		"none":               {good.Address, "0x"},
	} {
		if added, err := s.Add(sig); added || code(err) != CodeInvalidSignature {
			t.Errorf("%s: %v, %v", name, added, err)
		}
	}
	if len(s.Signatures) > 0 {
		t.Error("a signature was added")
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		data, err := signedBy(f, v.Request, "ana", "cow").Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"request":{"kind":"restore","charter":"c","node":"n","reason":"r","nonce":"00000000000000000000000000000000","expires":"2026-01-01T00:00:00Z"},"signatures":[{"address":"","signature":""}]}`))
	c := production(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			if code(err) == err.Error() {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		text, err := s.Encode()
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again, err := Decode(text)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s became %s: %v", data, text, err)
		}
		if a, _ := s.Request.Digest(); true {
			if b, err := again.Request.Digest(); err != nil || a != b {
				t.Fatalf("%s: the digest changed, %v", data, err)
			}
		}
		if typed, err := s.Request.TypedData(); err != nil || !json.Valid(typed) {
			t.Fatalf("%s: %v", typed, err)
		}
		tally, err := Authorize(c, s, now())
		if (err == nil) != tally.Met {
			t.Fatalf("%s: %+v, %v", data, tally, err)
		}
	})
}
