package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/committee"
)

// withPassword runs charter-admin where the password of keys is set.
func withPassword(t *testing.T, password string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(name string) string {
		if name == passwordVariable {
			return password
		}
		return ""
	})
	return result{code, stdout.String(), stderr.String()}
}

const memberCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: mesh, version: 1.0.0}
access_levels: [public]
purposes: [operations, billing]
roles:
  - {name: operator, reads: [public], collects: [network]}
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d, purposes: [operations]}
    - {id: net.guarded, match: [guarded], access: public, protected: true}
committee:
  members:
    - {id: ana, address: "%s", power: 1}
    - {id: ben, address: "%s", power: 1}
    - {id: eve, address: "%s", power: 1}
  quorum: {power: 0.6, heads: 2}
emergency: {max: 2h, quorum: 0.9, may: [retention]}
`

// members makes keys and a charter with them in a new working directory.
func members(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	var addresses []any
	for _, name := range []string{"ana", "ben", "eve"} {
		r := admin(t, "committee", "key", "generate", "-o", name)
		if r.code != ExitOK || !strings.Contains(r.stderr, "NOT encrypted") {
			t.Fatalf("%+v", r)
		}
		addresses = append(addresses, strings.TrimSpace(r.stdout))
	}
	write(t, "charter.yaml", fmt.Sprintf(memberCharter, addresses...))
}

func request(t *testing.T, args ...string) {
	t.Helper()
	if r := admin(t, append([]string{"committee", "request"}, append(args, "--charter", "charter.yaml", "-o", "r.json")...)...); r.code != ExitOK {
		t.Fatalf("%v: %+v", args, r)
	}
}

func verdictOf(t *testing.T, args ...string) (verdict, int) {
	t.Helper()
	r := admin(t, append([]string{"committee", "verify", "--charter", "charter.yaml", "--format", "json", "r.json"}, args...)...)
	var v verdict
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return v, r.code
}

func TestCommitteeKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	r := withPassword(t, "secret", "committee", "key", "generate", "-o", "ana")
	if r.code != ExitOK || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	info, err := os.Stat("ana.key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of a key is %v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile("ana.key")
	for name, again := range map[string]struct {
		result
		code int
		say  string
	}{
		"its address":        {withPassword(t, "secret", "committee", "address", "ana.key"), ExitOK, ""},
		"another password":   {withPassword(t, "sword", "committee", "address", "ana.key"), ExitUsage, "password is wrong"},
		"no password":        {admin(t, "committee", "address", "ana.key"), ExitUsage, passwordVariable},
		"a second key there": {withPassword(t, "secret", "committee", "key", "generate", "-o", "ana"), ExitUsage, "never replaced"},
		"no name":            {admin(t, "committee", "key", "generate"), ExitUsage, "-o NAME"},
		"no file":            {admin(t, "committee", "address", "ben.key"), ExitUsage, "ben.key"},
	} {
		if again.result.code != again.code || !strings.Contains(again.stderr, again.say) || again.code == ExitOK && again.stdout != r.stdout {
			t.Errorf("%s: %+v", name, again.result)
		}
	}
	if after, _ := os.ReadFile("ana.key"); !bytes.Equal(before, after) {
		t.Error("a key was replaced")
	}
}

// From a request to a quorum, for every kind.
func TestCommitteeSignsRequests(t *testing.T) {
	members(t)
	for _, args := range [][]string{
		{"override", "--clause", "net.latency", "--node", "edge-7", "--retention", "60d", "--for", "2h", "--reason", "OPS-12"},
		{"renew", "--override", "o-1", "--for", "1h", "--reason", "OPS-12"},
		{"end-override", "--override", "o-1", "--reason", "solved"},
		{"restore", "--node", "edge-7", "--reason", "inspected"},
		{"revoke", "--node", "edge-7", "--reason", "decommissioned"},
		{"end-revocation", "--node", "edge-7", "--reason", "returned"},
	} {
		request(t, args...)
		for i, name := range []string{"ana", "ana", "ben", "eve"} {
			if r := admin(t, "committee", "sign", "--key", name+".key", "r.json"); r.code != ExitOK || !strings.Contains(r.stderr, args[0]) {
				t.Fatalf("%s signs: %+v", name, r)
			}
			heads := max(1, i) // ana signs twice
			enough := heads >= 2 && args[0] != "override" && args[0] != "renew" || heads == 3
			v, code := verdictOf(t)
			if v.OK != enough || (code == ExitOK) != enough || v.Tally.Heads != heads || !enough && (v.Code != committee.CodeNoQuorum || code != ExitVerify) {
				t.Errorf("%s with %d: exit %d, %+v", args[0], heads, code, v)
			}
		}
	}
}

func TestCommitteeVerifyRefuses(t *testing.T) {
	members(t)
	request(t, "restore", "--node", "edge-7", "--reason", "inspected", "--expires", "2h")
	for _, name := range []string{"ana", "ben"} {
		admin(t, "committee", "sign", "--key", name+".key", "r.json")
	}
	if v, code := verdictOf(t, "--at", time.Now().Add(3*time.Hour).Format(time.RFC3339)); code != ExitVerify || v.Code != committee.CodeExpiredRequest || v.Tally.Heads != 2 {
		t.Errorf("expired: %d, %+v", code, v)
	}
	text, _ := os.ReadFile("r.json")
	for name, tc := range map[string]struct{ old, replacement, code string }{
		"another node":    {"edge-7", "edge-8", committee.CodeInvalidSignature},
		"another charter": {`"mesh"`, `"other"`, committee.CodeWrongCharter},
	} {
		write(t, "r.json", strings.ReplaceAll(string(text), tc.old, tc.replacement))
		if v, code := verdictOf(t); code != ExitVerify || v.OK || v.Code != tc.code {
			t.Errorf("%s: %d, %+v", name, code, v)
		}
	}
	write(t, "r.json", "{}")
	if r := admin(t, "committee", "verify", "--charter", "charter.yaml", "r.json"); r.code != ExitVerify || !strings.Contains(r.stderr, "r.json: kind") {
		t.Errorf("no request: %+v", r)
	}
	write(t, "r.json", string(text))
	if r := admin(t, "committee", "verify", "--charter", "charter.yaml", "r.json"); r.code != ExitOK || !strings.Contains(r.stdout, "verified: it may have effect") || !strings.Contains(r.stdout, "missing") {
		t.Errorf("%+v", r)
	}
}

func TestCommitteeRequestRefuses(t *testing.T) {
	members(t)
	loosen := func(args ...string) []string {
		return append([]string{"override", "--clause", "net.latency", "--reason", "OPS-12", "--charter", "charter.yaml"}, args...)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		say  string
	}{
		"no charter":       {[]string{"restore", "--node", "edge-7", "--reason", "x"}, ExitUsage, "--charter"},
		"no node":          {[]string{"restore", "--reason", "x", "--charter", "charter.yaml"}, ExitUsage, "node: it is missing"},
		"prose":            {[]string{"restore", "--node", "e", "--reason", "it is well", "--charter", "charter.yaml"}, ExitUsage, "without spaces"},
		"another reason":   {[]string{"revoke", "--node", "e", "--reason", "x", "--charter", "charter.yaml"}, ExitUsage, "consent_withdrawn"},
		"no kind":          {[]string{"restor"}, ExitUsage, "restore?"},
		"until and for":    {loosen("--retention", "60d", "--for", "1h", "--until", "2030-01-01"), ExitUsage, "not both"},
		"no time":          {loosen("--retention", "60d", "--for", "soon"), ExitUsage, "--for"},
		"no instant":       {loosen("--retention", "60d", "--until", "soon"), ExitUsage, "--until"},
		"no begin":         {loosen("--retention", "60d", "--from", "soon", "--for", "1h"), ExitUsage, "--from"},
		"too long":         {loosen("--retention", "60d", "--for", "3h"), ExitFinding, "2h at most"},
		"not to be given":  {loosen("--purpose", "billing", "--for", "1h"), ExitFinding, "emergency.may"},
		"protected":        {loosen("--clause", "net.guarded", "--retention", "60d", "--for", "1h"), ExitFinding, "protected"},
		"expires too late": {loosen("--retention", "60d", "--for", "1h", "--expires", "8d"), ExitFinding, committee.CodeExpiresTooLate},
	} {
		if r := admin(t, append([]string{"committee", "request"}, tc.args...)...); r.code != tc.code || !strings.Contains(r.stderr, tc.say) || r.stdout != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A wallet signs what typed-data writes; any key stands for one here.
func TestCommitteeTakesSignaturesOfWallets(t *testing.T) {
	members(t)
	request(t, "restore", "--node", "edge-\u0435", "--reason", "inspected")
	typed := admin(t, "committee", "typed-data", "r.json")
	if typed.code != ExitOK || !strings.Contains(typed.stdout, `"primaryType": "RestoreNode"`) || !json.Valid([]byte(typed.stdout)) {
		t.Fatalf("%+v", typed)
	}
	file, _ := os.ReadFile("r.json")
	s, err := committee.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := os.ReadFile("ana.key")
	key, err := committee.ParseKey(secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.Sign(s.Request)
	if err != nil {
		t.Fatal(err)
	}
	if r := admin(t, "committee", "sign", "--signature", sig.Signature, "r.json"); r.code != ExitOK || !strings.Contains(r.stderr, sig.Address) || !strings.Contains(r.stderr, "CAUTION") {
		t.Errorf("%+v", r)
	}
	if r := admin(t, "committee", "sign", "--signature", sig.Signature[:60], "r.json"); r.code != ExitVerify {
		t.Errorf("half a signature: %+v", r)
	}
	if r := admin(t, "committee", "sign", "r.json"); r.code != ExitUsage {
		t.Errorf("neither key nor signature: %+v", r)
	}
	if v, _ := verdictOf(t); v.Tally.Heads != 1 || v.Tally.Signers[0].Member != "ana" {
		t.Errorf("%+v", v)
	}
}
