package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func examplePolicy() Policy {
	return Policy{
		Channel: "production", Sequence: 7, Revision: "production-1.2.0+0123456789ab", CharterDigest: layerDigest,
		Expires: time.Date(2029, 1, 11, 1, 0, 0, 5, time.FixedZone("CET", 3600)),
	}
}

const goldenStatement = `{"_type":"https://in-toto.io/Statement/v1",` +
	`"subject":[{"name":"bundle.tar.gz","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}],` +
	`"predicateType":"https://westworld-charter.github.io/charter/release/v1",` +
	`"predicate":{"channel":"production","sequence":7,"expires":"2029-01-11T00:00:00Z",` +
	`"revision":"production-1.2.0+0123456789ab","charterDigest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}`

// Signers of one release on several machines sign the same bytes.
func TestStatementBytes(t *testing.T) {
	s, err := NewStatement(layerDigest, PolicyType, examplePolicy())
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Encode()
	if err != nil || string(payload) != goldenStatement {
		t.Fatalf("the statement is\n%s (%v), want\n%s", payload, err, goldenStatement)
	}
	read, err := ParseStatement(payload)
	if err != nil || read.Subject != layerDigest || read.Type != PolicyType {
		t.Fatalf("ParseStatement returned %+v, %v", read, err)
	}
	p, err := read.Policy()
	if err != nil || p.Sequence != 7 || !p.Expires.Equal(time.Date(2029, 1, 11, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("Policy returned %+v, %v", p, err)
	}
	if _, err := read.State(); err == nil {
		t.Error("a release is read as state")
	}
}

// What `cosign attest --predicate FILE --type URI` of cosign 3.1.3 signs.
const cosignStatement = `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"localhost:5000/policies",` +
	`"digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}],` +
	`"predicateType":"https://westworld-charter.github.io/charter/release/v1","predicate":{"channel":"production","sequence":7,` +
	`"expires":"2029-01-11T00:00:00Z","revision":"r","charterDigest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}`

func TestStatementOfCosign(t *testing.T) {
	s, err := ParseStatement([]byte(cosignStatement))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Policy(); err != nil || p.Sequence != 7 {
		t.Errorf("Policy returned %+v, %v", p, err)
	}
}

func TestParseStatementRefuses(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"not JSON", "{", "", "statement"},
		{"another type", "Statement/v1", "Statement/v2", "_type"},
		{"two subjects", `"subject":[`, `"subject":[{"name":"x","digest":{"sha256":"00"}},`, "2 subjects"},
		{"no subject", `"subject":`, `"Subject":`, "0 subjects"},
		{"a subject twice", `"subject":`, `"subject":[],"subject":`, "duplicate"},
		{"a digest twice", `"digest":{`, `"digest":{"sha256":"00",`, "duplicate"},
		{"no SHA-256", `"sha256"`, `"sha512"`, "SHA-256"},
		{"no predicate type", `"predicateType":`, `"x":`, "predicateType"},
		{"a predicate that is a list", `"predicate":{`, `"predicate":[],"x":{`, "JSON object"},
		{"no predicate", `"predicate":`, `"x":`, "JSON object"},
		{"a field twice in the predicate", `"sequence":7`, `"sequence":7,"sequence":8`, "duplicate"},
		{"huge", "{", "{" + strings.Repeat(" ", MaxStatement), "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseStatement([]byte(strings.Replace(goldenStatement, test.old, test.new, 1)))
			refused(t, err, test.want)
		})
	}
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeBadStatement || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s that says %q", err, CodeBadStatement, want)
	}
}

func TestPolicyRefuses(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"another type", "release/v1", "state/v1", "type"},
		{"an unknown field", `"channel":`, `"force":true,"channel":`, "force"},
		{"a channel with a space", `"production"`, `"pro duction"`, "channel"},
		{"no channel", `"production"`, `""`, "channel"},
		{"sequence zero", `:7`, `:0`, "sequence 0"},
		{"a sequence that JSON cannot carry", `:7`, `:9007199254740992`, "sequence 9007199254740992"},
		{"a broken sequence", `:7`, `:7.5`, "sequence"},
		{"no expiry", `"2029-01-11T00:00:00Z"`, `null`, "expires"},
		{"a day as expiry", `2029-01-11T00:00:00Z`, `2029-01-11`, "expires"},
		{"no revision", `"revision":"production-1.2.0+0123456789ab"`, `"revision":""`, "revision"},
		{"no charter digest", `"charterDigest":"sha256:`, `"charterDigest":"`, "charterDigest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := ParseStatement([]byte(strings.Replace(goldenStatement, test.old, test.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Policy()
			refused(t, err, test.want)
		})
	}
}

func TestState(t *testing.T) {
	issued := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	state := State{Charter: "production", Sequence: 5, Issued: issued, Expires: issued.Add(15 * time.Minute)}
	for _, test := range []struct {
		name   string
		change func(*State)
		want   string // "" is accepted
	}{
		{"as it should be", func(*State) {}, ""},
		{"no charter", func(s *State) { s.Charter = "" }, "charter"},
		{"sequence zero", func(s *State) { s.Sequence = 0 }, "sequence"},
		{"expired when issued", func(s *State) { s.Expires = s.Issued }, "expires"},
		{"never issued", func(s *State) { s.Issued = time.Time{} }, "issued"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := state
			test.change(&changed)
			s, err := NewStatement(layerDigest, StateType, changed)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.State()
			if test.want != "" {
				refused(t, err, test.want)
			} else if err != nil || got != state {
				t.Errorf("State returned %+v, %v", got, err)
			}
		})
	}
}

func TestEncodeRefusesABadSubject(t *testing.T) {
	s, err := NewStatement("sha256:12", SignatureType, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Encode()
	refused(t, err, "subject")
}

func FuzzParseStatement(f *testing.F) {
	f.Add([]byte(goldenStatement))
	f.Add([]byte(cosignStatement))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{}],"predicateType":"x","predicate":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := ParseStatement(payload)
		if err != nil {
			return
		}
		if !json.Valid(payload) {
			t.Fatal("accepts what encoding/json does not")
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParseStatement(again)
		if err != nil || read.Subject != s.Subject || read.Type != s.Type {
			t.Fatalf("read again: %+v, %v", read, err)
		}
		if p, err := s.Policy(); err == nil && (p.Sequence < 1 || !ValidChannel(p.Channel)) {
			t.Errorf("Policy returned %+v", p)
		}
		if p, err := s.State(); err == nil && p.Sequence < 1 {
			t.Errorf("State returned %+v", p)
		}
		if bytes.Contains(s.Predicate, []byte{0xff}) {
			t.Error("a predicate that is not UTF-8")
		}
	})
}
