package witness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func vkeys(t testing.TB, n int) (witnesses []string, log string) {
	t.Helper()
	for i := range n {
		witnesses = append(witnesses, newSigner(t, fmt.Sprintf("w.example/%d", i)).VerifierKey())
	}
	return witnesses, newHistory(t).vkey
}

// The example of C2SP tlog-policy, with keys.
func TestSpecificationPolicy(t *testing.T) {
	w, log := vkeys(t, 6)
	p, err := ParsePolicy(fmt.Appendf(nil, `log %s

witness X1 %s
witness X2 %s
witness X3 %s
group X-witnesses 2 X1 X2 X3

witness Y1 %s
witness Y2 %s
witness Y3 %s
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`, log, w[0], w[1], w[2], w[3], w[4], w[5]))
	if err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]bool{
		"": false, "X1 X2": false, "X1 Y1": false, "Y1 Y2 Y3": false, "X1 X2 Y1": true, "X2 X3 Y3": true, "X1 X2 X3 Y1 Y2 Y3": true,
		"X1 X2 X-witnesses Y-witnesses": false,
	} {
		if got := p.Met(func(name string) bool { return strings.Contains(" "+names+" ", " "+name+" ") }); got != want {
			t.Errorf("%q: %v", names, got)
		}
	}
	if len(p.Witnesses) != 6 || len(p.Logs) != 1 || len(p.LogKeys(origin)) != 1 || p.LogKeys("other") != nil {
		t.Errorf("%+v", p)
	}
}

func TestPolicies(t *testing.T) {
	w, log := vkeys(t, 2)
	a, b := "witness a "+w[0]+"\n", "witness b "+w[1]+" https://w.example/b/\n"
	none := func(string) bool { return false }
	p, err := ParsePolicy([]byte(" \t# a comment \xff\n\n\tlog  " + log + " https://x \n" + a + b + "group g any a\nquorum none\n"))
	if err != nil || !p.Met(none) || p.Witnesses[1].URL != "https://w.example/b" || p.Logs[0].URL != "https://x" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = ParsePolicy([]byte(a + "quorum a\n")); err != nil || p.Met(none) || !p.Met(func(n string) bool { return n == "a" }) {
		t.Errorf("one witness: %v", err)
	}
	// Names are bytes: the Kelvin sign is no K.
	if _, err = ParsePolicy([]byte("witness K " + w[0] + "\nwitness \u212a " + w[1] + "\ngroup g all K \u212a\nquorum g\n")); err != nil {
		t.Error(err)
	}
	renamed := strings.Replace(w[0], "w.example/0", "w.example/9", 1)
	for _, c := range []struct {
		text string
		line int
		says string
	}{
		{"", 0, "no quorum line"},
		{a, 0, "no quorum line"},
		{a + "quorum a", 0, "newline"},
		{"quorum a\n" + a, 1, "not a witness or group"},
		{"quorum none\nquorum none\n", 2, "already"},
		{"quorum none none\n", 1, "quorum NAME"},
		{"\r\nquorum none\n", 1, "control character"},
		{"quorum none # comment\n", 1, "quorum NAME"},
		{"Quorum none\n", 1, "unknown word"},
		{a + a, 2, "given twice"},
		{a + "witness c " + renamed + "\n", 2, "id"},
		{a + "witness a " + w[1] + "\n", 2, "taken"},
		{"witness none " + w[0] + "\n", 1, "taken"},
		{"witness a " + log + "\n", 1, "type 0x04"},
		{"witness a\n", 1, "witness NAME VKEY"},
		{"witness a " + w[0] + " ftp://x\n", 1, "not an http or https URL"},
		{"witness a " + w[0] + " https://u:p@x\n", 1, "not an http or https URL"},
		{"witness a " + w[0] + " https://x/?q\n", 1, "not an http or https URL"},
		{"log " + w[0] + "\n", 1, "key of the log"},
		{"log " + log + "\nlog " + log + "\n", 2, "given twice"},
		{"log\n", 1, "log VKEY"},
		{a + "group g 0 a\n", 2, "of 1 members"},
		{a + "group g 2 a\n", 2, "of 1 members"},
		{a + "group g 01 a\n", 2, "of 1 members"},
		{a + "group g most a\n", 2, "of 1 members"},
		{a + "group g any\n", 2, "group NAME"},
		{a + "group g any c\n", 2, "not a witness or group"},
		{a + "group g any g\n", 2, "not a witness or group"},
		{a + "group g any none\n", 2, "not a witness or group"},
		{a + "group g 2 a a\n", 2, "a member already"},
		{a + "group g any a\ngroup h any a\n", 3, "a member already"},
		{a + "group a any a\n", 2, "taken"},
		{"log x\n", 1, "key of the log"},
		{strings.Repeat("#\n", maxPolicy), 0, "larger than"},
	} {
		_, err := ParsePolicy([]byte(c.text))
		e, ok := errors.AsType[*PolicyError](err)
		if !ok || e.Line != c.line || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%.80q: %v, want %q in line %d", c.text, err, c.says, c.line)
		}
	}
}

func TestReadPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy")
	if _, err := ReadPolicy(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPolicy(path); err == nil || !strings.Contains(err.Error(), path+": line 1") {
		t.Error(err)
	}
}

func FuzzPolicy(f *testing.F) {
	w, log := vkeys(f, 3)
	f.Add([]byte("log " + log + "\nwitness a " + w[0] + " https://x\nwitness b " + w[1] + "\ngroup g 1 a b\nquorum g\n"))
	f.Add([]byte("witness a " + w[0] + "\ngroup g all a\nwitness b " + w[1] + "\ngroup h any g b\nquorum h\n"))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if err != nil {
			return
		}
		if !p.Met(func(string) bool { return true }) {
			t.Fatalf("%q cannot be met", data)
		}
		if met := p.Met(func(string) bool { return false }); met != (p.quorum == "") {
			t.Fatalf("%q is met by nobody: %v", data, met)
		}
	})
}
