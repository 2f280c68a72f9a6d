package app

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	decisionapi "github.com/westworld-charter/charter/internal/httpapi/decision"
	"github.com/westworld-charter/charter/internal/wire"
)

// FuzzState holds the state document against encoding/json, and makes sure that
// whatever it says, the engine takes or refuses it.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"nodes":{"edge-1":{"standing":"suspended","until":"2027-01-01T00:00:00Z"}},"expires":"2027-01-01T00:00:00Z"}`, `{"a":1e400,"b":-0,"c":12345678901234567890}`,
		`null`, `[]`, `{"a":1,"a":2}`, `{"a":{"b":[{"c":1,"c":2}]}}`, `{} {}`, `{"a":`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70), "", "\ufeff{}",
		`{"revocations":[{"node":"edge-1"}],"overrides":[{}],"nodes":7}`,
	} {
		f.Add([]byte(s))
	}
	o := unrecorded()
	o.Charter = example1
	policy, _, err := server().compiler.loadPolicy(f.Context(), o, stamps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := parseState(data)
		if err != nil {
			if state != nil || !strings.HasPrefix(err.Error(), "decode state") || len(err.Error()) > 1000 {
				t.Fatalf("%q: %v, %v", data, state, err)
			}
			return
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(state, want) {
			t.Fatalf("%q was read as %v, not %v: %v", data, state, want, err)
		}
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseState(text); err != nil || !reflect.DeepEqual(again, state) {
			t.Fatalf("%s, written from %q, was read as %v: %v", text, data, again, err)
		}
		p, err := policy.WithState(t.Context(), state)
		if err != nil {
			return
		}
		d, err := p.Decide(t.Context(), decision.Input{Metric: "no_such_metric", Node: "edge-1", Role: "node_operator", Operation: decision.Collect, Time: "2026-06-01"})
		if err == nil && d.Allow {
			t.Fatalf("%q allows what no clause speaks for: %+v", data, d)
		}
	})
}

// FuzzCertificate makes sure that a certificate speaks for one node that its
// names give, or for none, and never for others unless a configured role says so.
func FuzzCertificate(f *testing.F) {
	for _, s := range [][3]string{
		{"edge-1", "", ""},
		{"", "edge-1.example.org", ""},
		{"cn", "dns", "charter://node/edge-1"},
		{"", "", "charter://node/a charter://node/b"},
		{"a\n", "", ""},
		{"edge-1", "", "charter://role/gateway"},
		{"edge-1", "", "charter://role/auditor spiffe://x/y"},
		{"edge-1", "", "charter://node/a/b"},
		{"edge-1", "", "charter:node/a"},
		{"edge-1", "", "charter://node/%2f charter://node/?q"},
		{"edge-1", "", "CHARTER://node/a"},
		{"\xff", "", ""},
		{strings.Repeat("x", 513), "", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	options := TLSOptions{ClientRoles: "node_operator", ClientClaims: "owns_node", AssertRoles: "gateway"}
	f.Fuzz(func(t *testing.T, cn, dns, uris string) {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: cn}}
		if dns != "" {
			cert.DNSNames = strings.Fields(dns)
		}
		ours := 0
		for text := range strings.FieldsSeq(uris) {
			u, err := url.Parse(text)
			if err != nil {
				return // crypto/x509 refuses such a certificate
			}
			cert.URIs = append(cert.URIs, u)
			if u.Scheme == "charter" {
				ours++
			}
		}
		id, err := certified(cert, options)
		if err != nil {
			if id != nil || err.Error() == "" {
				t.Fatalf("%v: %v", id, err)
			}
			return
		}
		if id.Node == "" || id.Node != id.Name || len(id.Node) > decision.MaxNameBytes || !printable(id.Node) || id.Kind != decisionapi.KindCertificate || !slices.Equal(id.Held, []string{claimMTLS}) {
			t.Fatalf("%+v", id)
		}
		named := 0
		for _, u := range cert.URIs {
			switch {
			case u.Scheme != "charter":
			case u.Host == "node":
				named++
				if "/"+id.Node != u.Path {
					t.Fatalf("%s speaks for %q", uris, id.Node)
				}
			case u.Host == "role" && slices.Contains(id.Roles, strings.TrimPrefix(u.Path, "/")):
				named++
			}
		}
		if named != ours {
			t.Fatalf("%d of %d names in %q were understood: %+v", named, ours, uris, id)
		}
		if id.Has(wire.ScopeAssert) != strings.Contains(" "+strings.Join(strings.Fields(uris), " ")+" ", " charter://role/gateway ") && !strings.Contains(uris, "%") && strings.ToLower(uris) == uris {
			t.Fatalf("%q gives the scopes %q", uris, id.Scopes)
		}
		if id.Has(wire.ScopeAdmin) || id.Has(wire.ScopeReplay) {
			t.Fatalf("%q gives the scopes %q", uris, id.Scopes)
		}
	})
}

// FuzzBearer makes sure that a header is taken for the token that it holds, or
// refused.
func FuzzBearer(f *testing.F) {
	for _, s := range []string{"Bearer abc", "bearer  abc ", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "", " Bearer a", "Bearer\tabc", "Bearer " + strings.Repeat("x", maxToken+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		presented, err := bearer(header)
		if err != nil {
			if presented != "" || len(err.Error()) > 200 {
				t.Fatalf("%q: %q, %v", header, presented, err)
			}
			return
		}
		scheme, rest, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "bearer") || presented == "" || len(presented) > maxToken || strings.TrimSpace(rest) != presented {
			t.Fatalf("%q gave the token %q", header, presented)
		}
		if id, err := (tokens{}).find(presented, time.Now()); err == nil {
			t.Fatalf("a file without tokens knows %q: %+v", presented, id)
		}
	})
}
