package cli

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Wherever the name stands in the entry, a forged receipt differs in one byte and
// names another node.
func TestForgedReceiptDiffersInOneByte(t *testing.T) {
	for before := range 7 {
		entry := `{"asked":"` + strings.Repeat("x", before) + `","node":"edge-7","schema":1}`
		receipt := []byte("c2sp.org/tlog-proof@v1\nextra " + base64.StdEncoding.EncodeToString([]byte(entry)) + "\nindex 3\n\norigin\n")
		changed, at, err := forge(receipt)
		if err != nil {
			t.Fatal(err)
		}
		honest := bytes.Clone(receipt)
		honest[at] = changed[at]
		if !bytes.Equal(honest, changed) {
			t.Errorf("%d bytes before: more than byte %d changed", before, at)
		}
		text := strings.Fields(string(changed))[2]
		if got, _ := base64.StdEncoding.DecodeString(text); string(got) != strings.Replace(entry, "edge-7", "edge-6", 1) {
			t.Errorf("%d bytes before: the entry is now %s", before, got)
		}
	}
	for _, bad := range []string{"", "\nextra ", "\nextra !!\n", "\nextra e30=\n"} {
		if _, _, err := forge([]byte(bad)); err == nil {
			t.Errorf("%q was forged", bad)
		}
	}
}

func TestCommandsAreQuotedForTheShell(t *testing.T) {
	for _, word := range []string{"plain", "", "two words", "it's", `a"b`, "$HOME", "a;b", "*", "\\", "https://127.0.0.1:1/x"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q comes back as %q (%v)", word, out, err)
		}
	}
}

// The server that was named, else the one beside this program, else that of $PATH.
func TestDemoFindsTheServer(t *testing.T) {
	dir := t.TempDir()
	beside, named, onPath := filepath.Join(dir, "a", demoServerName), filepath.Join(dir, "b", "other"), filepath.Join(dir, "c", demoServerName)
	for _, file := range []string{beside, named, onPath} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	admin := filepath.Join(dir, "a", "charter-admin")
	t.Setenv("PATH", filepath.Dir(onPath))
	finds := func(named, want string) {
		t.Helper()
		if got, err := findServer(named, admin); got != want || (err == nil) != (want != "") {
			t.Errorf("findServer(%q) = %q, %v; want %q", named, got, err, want)
		}
	}
	finds(named, named)
	finds("", beside)
	finds(filepath.Join(dir, "nowhere"), "")
	finds(demoServerName, "") // a file, and there is none here
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	finds("", onPath)
	t.Setenv("PATH", dir)
	finds("", "")
}
