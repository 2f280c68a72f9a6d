package signing_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/signingtest"
)

func findings(t *testing.T, err error) diag.List {
	t.Helper()
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*signing.InvalidTrust](err)
	if !ok {
		t.Fatalf("not an InvalidTrust: %v", err)
	}
	return invalid.Findings
}

// complete uses every field.
const complete = `apiVersion: charter/v1
kind: Trust
channel: production
trusted_root: trusted_root.json
signers:
  - {name: release, key: release.pub}
  - name: ci
    identity: {issuer: https://ci.example.org, subject_regexp: "https://ci.example.org/charters/.*"}
  - {name: dao, identity: {issuer_regexp: "https://(a|b).example.org", subject: dao@example.org}}
threshold: 2
log: {threshold: 1}
timestamps: {threshold: 1}
require:
  - https://sigstore.dev/cosign/sign/v1
  - {type: https://slsa.dev/verification_summary/v1, signers: [dao], threshold: 1}
state: {keys: [state.pub], threshold: 1, may: [labels]}
insecure_ignore_sct: true
`

func TestParseTrust(t *testing.T) {
	_, release := newKey(t)
	_, state := newKey(t)
	all := files{"release.pub": release, "state.pub": state, "trusted_root.json": signingtest.New(t).Root()}
	parsed := trust(t, complete, all)
	if parsed.Channel() != "production" || !parsed.HasState() || !parsed.StateMay(signing.StateLabels) || parsed.StateMay(signing.StateGrants) {
		t.Errorf("ParseTrust returned channel %q, state %v", parsed.Channel(), parsed.HasState())
	}
	inline := header + "signers:\n  - name: release\n    key: |\n" + indent(string(release))
	trust(t, inline, nil)
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ") + "\n"
}

func TestParseTrustRefuses(t *testing.T) {
	_, public := newKey(t)
	_, other := newKey(t)
	all := files{
		"a.pub": public, "b.pub": other, "junk.pub": []byte("junk"), "root.json": signingtest.New(t).Root(), "empty.json": []byte("{}"),
		"bare.json": []byte(`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`),
	}
	ok := header + "signers: [{name: a, key: a.pub}]\n"
	identity := "trusted_root: root.json\nsigners: [{name: a, identity: %}]\n"
	with := func(id string) string { return header + strings.Replace(identity, "%", id, 1) }
	for _, test := range []struct{ name, yaml, code, at, want string }{
		{"nothing", "", signing.TrustSyntax, "1:1", "empty"},
		{"comments only", "# nothing\n", signing.TrustSyntax, "1:1", "empty"},
		{"no YAML", "a: [", signing.TrustSyntax, "1", "not YAML"},
		{"a list", "[]", signing.TrustWrongType, "1:1", "must be a mapping"},
		{"two documents", ok + "---\n" + ok, signing.TrustSyntax, "5:1", "second YAML document"},
		{"another version", strings.Replace(ok, "charter/v1", "charter/v2", 1), signing.TrustInvalidValue, "1:13", "charter/v1"},
		{"another kind", strings.Replace(ok, "Trust", "Charter", 1), signing.TrustInvalidValue, "2:7", "kind: Trust"},
		{"a misspelt field", ok + "treshold: 1\n", signing.TrustUnknownField, "5:1", "did you mean threshold?"},
		{"a field twice", ok + "channel: x\n", signing.TrustDuplicate, "5:1", "twice"},
		{"no channel", strings.Replace(ok, "channel: production\n", "", 1), signing.TrustMissingField, "1:1", "channel"},
		{"a channel that cannot be", strings.Replace(ok, "production", "a/b", 1), signing.TrustInvalidValue, "3:10", "channel"},
		{"no signers", header, signing.TrustMissingField, "1:1", "signers"},
		{"empty signers", header + "signers: []\n", signing.TrustInvalidValue, "4:10", "1 to 64"},
		{"a signer without a name", header + "signers: [{key: a.pub}]\n", signing.TrustMissingField, "4:11", "name"},
		{"a signer with nothing", header + "signers: [{name: a}]\n", signing.TrustMissingField, "4:11", "a key or an identity"},
		{"a name with a comma", header + "signers: [{name: 'a,b', key: a.pub}]\n", signing.TrustInvalidValue, "4:11", "commas"},
		{"a key that is not there", header + "signers: [{name: a, key: c.pub}]\n", signing.TrustBadFile, "4:26", "does not exist"},
		{"a key that is none", header + "signers: [{name: a, key: junk.pub}]\n", signing.TrustBadFile, "4:26", "not a PEM"},
		{"a key twice", header + "signers: [{name: a, key: a.pub}, {name: b, key: a.pub}]\n", signing.TrustDuplicate, "4:49", "signer a"},
		{"an alias", header + "signers: [&s {name: a, key: a.pub}, *s]\n", signing.TrustWrongType, "4:11", "anchors"},
		{"a tag", header + "signers: [{name: !!str a, key: a.pub}]\n", signing.TrustWrongType, "4:18", "tag"},
		{"an identity without a root", header + "signers: [{name: a, identity: {issuer: i, subject: s}}]\n", signing.TrustMissingField, "1:1", "trusted_root"},
		{"an identity without issuer", with("{subject: s}"), signing.TrustMissingField, "5:31", "issuer or issuer_regexp"},
		{"an identity of anybody", with("{issuer: i}"), signing.TrustMissingField, "5:31", "subject or subject_regexp"},
		{"issuer and issuer_regexp", with("{issuer: i, issuer_regexp: i, subject: s}"), signing.TrustMissingField, "5:31", "not both"},
		{"a bad expression", with("{issuer: i, subject_regexp: 'a)|(b'}"), signing.TrustInvalidValue, "5:59", "unexpected )"},
		{"no CT log", with("{issuer: i, subject: s}"), signing.TrustInvalidValue, "1:1", "insecure_ignore_sct: true"},
		{"a root that is none", ok + "trusted_root: empty.json\n", signing.TrustBadFile, "5:15", "trusted-root create"},
		{"a root that is not there", ok + "trusted_root: none.json\n", signing.TrustBadFile, "5:15", "does not exist"},
		{"a log that the root does not name", ok + "trusted_root: bare.json\nlog: {threshold: 1}\n", signing.TrustInvalidValue, "1:1", "0 transparency logs"},
		{"a timestamp nobody can give", ok + "trusted_root: bare.json\ntimestamps: {threshold: 1}\n", signing.TrustInvalidValue, "1:1", "0 timestamp authorities"},
		{"a log without a root", ok + "log: {threshold: 1}\n", signing.TrustMissingField, "1:1", "trusted_root"},
		{"nine logs", ok + "trusted_root: root.json\nlog: {threshold: 9}\n", signing.TrustInvalidValue, "6:18", "more than 8"},
		{"a log of nothing", ok + "log: {}\n", signing.TrustMissingField, "5:6", "threshold"},
		{"threshold zero", ok + "threshold: 0\n", signing.TrustInvalidValue, "5:12", "from 1"},
		{"threshold of words", ok + "threshold: all\n", signing.TrustInvalidValue, "5:12", "number"},
		{"a threshold nobody meets", ok + "threshold: 2\n", signing.TrustInvalidValue, "5:12", "nothing can be accepted"},
		{"a type twice", ok + "require: [t, {type: t}]\n", signing.TrustDuplicate, "5:14", "twice"},
		{"a requirement of nothing", ok + "require: [{threshold: 1}]\n", signing.TrustMissingField, "5:11", "type"},
		{"a signer that is none", ok + "require: [{type: t, signers: [aa]}]\n", signing.TrustInvalidValue, "5:31", "did you mean a?"},
		{"a signer twice", ok + "require: [{type: t, signers: [a, a]}]\n", signing.TrustDuplicate, "5:34", "twice"},
		{"a requirement nobody meets", ok + "require: [{type: t, signers: [a], threshold: 2}]\n", signing.TrustInvalidValue, "5:11", "2 of 1"},
		{"a state key that signs releases", ok + "state: {keys: [a.pub]}\n", signing.TrustDuplicate, "5:16", "nothing but state"},
		{"a state key twice", ok + "state: {keys: [b.pub, b.pub]}\n", signing.TrustDuplicate, "5:23", "twice"},
		{"no state key", ok + "state: {threshold: 1}\n", signing.TrustMissingField, "5:8", "keys"},
		{"a state threshold nobody meets", ok + "state: {keys: [b.pub], threshold: 2}\n", signing.TrustInvalidValue, "5:8", "nothing can be accepted"},
		{"state keys trusted with all", ok + "state: {keys: [b.pub], may: [everything]}\n", signing.TrustInvalidValue, "5:30", "grants, labels"},
		{"a switch that is none", ok + "insecure_ignore_sct: maybe\n", signing.TrustWrongType, "5:22", "true or false"},
		{"huge", ok + strings.Repeat("#", 256<<10), signing.TrustSyntax, "1:1", "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := signing.ParseTrust("trust.yaml", []byte(test.yaml), all.read)
			found := findings(t, err)
			for _, f := range found {
				if f.Code == test.code && f.Pos.String() == "trust.yaml:"+test.at && strings.Contains(f.Message+f.Fix, test.want) {
					return
				}
			}
			t.Errorf("want %s at %s that says %q; got %+v", test.code, test.at, test.want, found)
		})
	}
}

func TestReadTrust(t *testing.T) {
	_, public := newKey(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absolute := write("a.pub", string(public))
	if _, err := signing.ReadTrust(write("relative.yaml", header+"signers: [{name: a, key: a.pub}]\n")); err != nil {
		t.Errorf("a key beside the policy: %v", err)
	}
	if _, err := signing.ReadTrust(write("absolute.yaml", header+"signers: [{name: a, key: "+absolute+"}]\n")); err != nil {
		t.Errorf("a key elsewhere: %v", err)
	}
	_, err := signing.ReadTrust(write("directory.yaml", header+"signers: [{name: a, key: .}]\n"))
	if found := findings(t, err); len(found) != 1 || found[0].Code != signing.TrustBadFile || !strings.Contains(err.Error(), "directory.yaml:4:26") {
		t.Errorf("a directory as key: %v", err)
	}
	if _, err := signing.ReadTrust(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no policy: %v", err)
	}
}

func FuzzParseTrust(f *testing.F) {
	_, public := newKey(f)
	f.Add(complete, public)
	f.Add(header+"signers: [{name: a, key: a.pub}]\n", public)
	f.Add("a: &a [*a, {<<: *a}]\n? [x]\n: y\n---\n", []byte("{}"))
	f.Fuzz(func(t *testing.T, yaml string, named []byte) {
		parsed, err := signing.ParseTrust("f", []byte(yaml), func(string) ([]byte, error) { return named, nil })
		if err != nil {
			if len(findings(t, err)) == 0 || err.Error() == "" {
				t.Error("refused without a finding")
			}
			return
		}
		if _, err := parsed.Verify(t.Context(), digest, [][]byte{named}); err == nil {
			t.Error("a policy accepts what nobody signed")
		}
	})
}
