package signing_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

const twoOfThree = header + `
signers:
  - {name: ana, key: ana.pub}
  - {name: ben, key: ben.pub}
  - {name: cleo, key: cleo.pub}
threshold: 2
require:
  - https://westworld-charter.github.io/charter/release/v1
  - {type: https://slsa.dev/verification_summary/v1, signers: [cleo], threshold: 1}
`

func TestVerify(t *testing.T) {
	ana, anaPub := newKey(t)
	ben, benPub := newKey(t)
	cleo, cleoPub := newKey(t)
	eve, _ := newKey(t)
	all := files{"ana.pub": anaPub, "ben.pub": benPub, "cleo.pub": cleoPub}
	one := header + "signers: [{name: ana, key: ana.pub}]\n"
	onlyRelease := one + "require: [" + release.PolicyType + "]\n"
	releases := statement(t, digest, release.PolicyType, policy(7))
	other := statement(t, release.Digest([]byte("other")), release.PolicyType, policy(7))
	signature := statement(t, digest, release.SignatureType, struct{}{})
	summary := statement(t, digest, release.SummaryType, map[string]any{"verificationResult": "PASSED"})
	provenance := statement(t, digest, release.ProvenanceType, map[string]any{"buildDefinition": map[string]any{}})
	junk := slices.Repeat([][]byte{[]byte(`{"mediaType": "junk"}`), signWith(t, eve, releases)}, 25)

	tests := []struct {
		name    string
		trust   string
		bundles [][]byte
		code    signing.Code // "" is accepted
		signers string       // of the accepted statements
		ignored int
	}{
		{"signed and stated", one, [][]byte{signWith(t, ana, signature), signWith(t, ana, releases)}, "", "ana ana", 0},
		{"unsigned", one, nil, signing.CodeUnsigned, "", 0},
		{"only the signature of cosign", one, [][]byte{signWith(t, ana, signature)}, signing.CodeMissingStatement, "", 0},
		{"only another statement", onlyRelease, [][]byte{signWith(t, ana, summary)}, signing.CodeMissingStatement, "", 0},
		{"a key of somebody else", onlyRelease, [][]byte{signWith(t, eve, releases)}, signing.CodeUntrustedKey, "", 1},
		{"re-attached from another manifest", onlyRelease, [][]byte{signWith(t, ana, other)}, signing.CodeSubjectMismatch, "", 1},
		{"50 junk statements beside it", onlyRelease, append(slices.Clone(junk), signWith(t, ana, releases)), "", "ana", 50},
		{"junk alone: the closest is told", onlyRelease, append(slices.Clone(junk), signWith(t, ana, other)), signing.CodeSubjectMismatch, "", 51},
		{"more than can be asked to look at", onlyRelease, slices.Repeat(junk, 5), signing.CodeTooManyStatements, "", 0},
		{"not JSON", onlyRelease, [][]byte{[]byte("junk")}, signing.CodeMalformed, "", 1},
		{"two of three", twoOfThree, [][]byte{signWith(t, ana, releases), signWith(t, ben, releases), signWith(t, cleo, summary)}, "", "ana,ben cleo", 0},
		{"the same twice is one", twoOfThree, [][]byte{signWith(t, ana, releases), signWith(t, ana, releases), signWith(t, cleo, summary)}, signing.CodeTooFewSigners, "", 1},
		{
			"signatures of different sequences do not add up", twoOfThree,
			[][]byte{signWith(t, ana, releases), signWith(t, ben, statement(t, digest, release.PolicyType, policy(9))), signWith(t, cleo, summary)},
			signing.CodeTooFewSigners, "", 2,
		},
		{
			"a statement with fewer signers does no harm", twoOfThree,
			[][]byte{signWith(t, ben, statement(t, digest, release.PolicyType, policy(9))), signWith(t, ana, releases), signWith(t, ben, releases), signWith(t, cleo, summary)},
			"", "ana,ben cleo", 1,
		},
		{
			"what nobody requires needs the signers, too", twoOfThree,
			[][]byte{signWith(t, ana, provenance), signWith(t, ana, releases), signWith(t, ben, releases), signWith(t, cleo, summary)},
			"", "ana,ben cleo", 1,
		},
		{
			"the same content of another type is another statement", strings.Replace(twoOfThree, release.PolicyType, release.SignatureType, 1),
			[][]byte{signWith(t, ana, signature), signWith(t, ben, statement(t, digest, release.ProvenanceType, struct{}{})), signWith(t, cleo, summary)},
			signing.CodeTooFewSigners, "", 2,
		},
		{"who may state it is listed", twoOfThree, [][]byte{signWith(t, ana, releases), signWith(t, ben, releases), signWith(t, ana, summary)}, signing.CodeTooFewSigners, "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v, err := trust(t, test.trust, all).Verify(t.Context(), digest, test.bundles)
			if signing.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
				t.Fatalf("got %v, want code %q", err, test.code)
			}
			if len(v.Ignored) != test.ignored {
				t.Errorf("%d bundles ignored, want %d: %v", len(v.Ignored), test.ignored, v.Ignored)
			}
			var signers []string
			for _, s := range v.Statements {
				signers = append(signers, strings.Join(s.Signers, ","))
				if s.Subject != digest {
					t.Errorf("a statement about %s", s.Subject)
				}
			}
			if test.code == "" && strings.Join(signers, " ") != test.signers {
				t.Errorf("signers %q, want %q", signers, test.signers)
			}
		})
	}
}

// An envelope that is changed in any way is not what was signed.
func TestVerifyChangedBundle(t *testing.T) {
	ana, public := newKey(t)
	eve, _ := newKey(t)
	payload := statement(t, digest, release.PolicyType, policy(7))
	good := signWith(t, ana, payload)
	encoded := base64.StdEncoding.EncodeToString
	tests := []struct {
		name     string
		old, new string
		code     signing.Code
	}{
		{"payload", encoded(payload), encoded(bytes.Replace(payload, []byte(`"sequence":7`), []byte(`"sequence":8`), 1)), signing.CodeInvalidSignature},
		{"hint", eve.Hint(), ana.Hint(), signing.CodeInvalidSignature},
		{"payload type", release.PayloadType, "text/plain", signing.CodeMalformed},
		{"media type", "bundle.v0.3", "bundle.v0.9", signing.CodeMalformed},
		{"unknown field", `{"mediaType"`, `{"more":1,"mediaType"`, signing.CodeMalformed},
		{"field given twice", `{"mediaType"`, `{"mediaType":"x","mediaType"`, signing.CodeMalformed},
	}
	parsed, err := signing.TrustKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from := good
			if test.name == "hint" {
				from = signWith(t, eve, payload)
			}
			changed := bytes.Replace(from, []byte(test.old), []byte(test.new), 1)
			if bytes.Equal(changed, from) {
				t.Fatal("nothing was changed")
			}
			if _, err := parsed.Verify(t.Context(), digest, [][]byte{changed}); signing.CodeOf(err) != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
}

func TestTrustKey(t *testing.T) {
	ana, public := newKey(t)
	parsed, err := signing.TrustKey(public)
	if err != nil {
		t.Fatal(err)
	}
	any := statement(t, digest, "https://example.org/anything", map[string]int{"a": 1})
	v, err := parsed.Verify(t.Context(), digest, [][]byte{signWith(t, ana, any)})
	if err != nil || len(v.Statements) != 1 || !bytes.Equal(v.Statements[0].Payload, any) {
		t.Errorf("Verify returned %+v, %v", v, err)
	}
	if _, err := parsed.VerifyState(t.Context(), digest, [][]byte{signWith(t, ana, any)}); signing.CodeOf(err) != signing.CodeNoStateKey {
		t.Errorf("a key for releases verifies state: %v", err)
	}
	if parsed.Channel() != "" || parsed.HasState() {
		t.Error("a key says nothing about channel and state")
	}
	if _, err := signing.TrustKey([]byte("no key")); err == nil {
		t.Error("TrustKey accepts what is no key")
	}
}

// What signs state signs nothing else, and nothing else signs state.
func TestVerifyState(t *testing.T) {
	ana, anaPub := newKey(t)
	server, serverPub := newKey(t)
	parsed := trust(t, header+"signers: [{name: ana, key: ana.pub}]\nrequire: ["+release.PolicyType+"]\nstate: {keys: [server.pub]}\n",
		files{"ana.pub": anaPub, "server.pub": serverPub})
	state := statement(t, digest, release.StateType, map[string]any{"charter": "c", "sequence": 1})
	policy := statement(t, digest, release.PolicyType, policy(1))
	for _, test := range []struct {
		name    string
		verify  func(context.Context, string, [][]byte) (signing.Verified, error)
		key     signing.Key
		payload []byte
		code    signing.Code
	}{
		{"state", parsed.VerifyState, server, state, ""},
		{"state by a release key", parsed.VerifyState, ana, state, signing.CodeUntrustedKey},
		{"a release by the state key", parsed.Verify, server, policy, signing.CodeUntrustedKey},
		{"a release where state is due", parsed.VerifyState, server, policy, signing.CodeMissingStatement},
		{"a release", parsed.Verify, ana, policy, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.verify(t.Context(), digest, [][]byte{signWith(t, test.key, test.payload)})
			if signing.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
}

func TestVerifyStateByTwo(t *testing.T) {
	_, anaPub := newKey(t)
	one, onePub := newKey(t)
	two, twoPub := newKey(t)
	parsed := trust(t, header+"signers: [{name: ana, key: ana.pub}]\nstate: {keys: [one.pub, two.pub], threshold: 2}\n",
		files{"ana.pub": anaPub, "one.pub": onePub, "two.pub": twoPub})
	state := statement(t, digest, release.StateType, map[string]any{"charter": "c", "sequence": 1})
	if _, err := parsed.VerifyState(t.Context(), digest, [][]byte{signWith(t, one, state)}); signing.CodeOf(err) != signing.CodeTooFewSigners {
		t.Errorf("state by one of two: %v", err)
	}
	if _, err := parsed.VerifyState(t.Context(), digest, [][]byte{signWith(t, one, state), signWith(t, two, state)}); err != nil {
		t.Errorf("state by two of two: %v", err)
	}
}

// One holder of two keys, as in a rotation, is one signer.
func TestRotationIsOneSigner(t *testing.T) {
	before, beforePub := newKey(t)
	after, afterPub := newKey(t)
	ben, benPub := newKey(t)
	yaml := header + "signers:\n  - {name: ana, key: before.pub}\n  - {name: ana, key: after.pub}\n  - {name: ben, key: ben.pub}\n" +
		"threshold: 2\nrequire: [" + release.PolicyType + "]\n"
	parsed := trust(t, yaml, files{"before.pub": beforePub, "after.pub": afterPub, "ben.pub": benPub})
	payload := statement(t, digest, release.PolicyType, policy(1))
	if _, err := parsed.Verify(t.Context(), digest, [][]byte{signWith(t, before, payload), signWith(t, after, payload)}); signing.CodeOf(err) != signing.CodeTooFewSigners {
		t.Errorf("two keys of one holder: %v", err)
	}
	if _, err := parsed.Verify(t.Context(), digest, [][]byte{signWith(t, after, payload), signWith(t, ben, payload)}); err != nil {
		t.Errorf("the new key and another signer: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	ana, _ := newKey(t)
	payload := statement(t, digest, release.PolicyType, policy(1))
	got, err := signing.Describe(signWith(t, ana, payload))
	if err != nil || got.KeyHint != ana.Hint() || got.Statement.Subject != digest || !bytes.Equal(got.Payload, payload) {
		t.Errorf("Describe returned %+v, %v", got, err)
	}
	if _, err := signing.Describe([]byte("{}")); signing.CodeOf(err) != signing.CodeMalformed {
		t.Errorf("Describe of junk: %v", err)
	}
}

func TestSignRefusesWhatNobodyAccepts(t *testing.T) {
	ana, _ := newKey(t)
	signer, err := signing.NewKeySigner(ana)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(t.Context(), []byte(`{"_type": "x"}`)); err == nil {
		t.Error("Sign accepts what is no statement")
	}
	if !strings.Contains(signer.Describe(), ana.Hint()) {
		t.Errorf("Describe does not name the key: %s", signer.Describe())
	}
}
