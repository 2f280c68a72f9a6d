package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/tests/internal/program"
)

// exitVerify is charter-admin's exit code for what does not hold.
const exitVerify = 6

// A receipt from a running server verifies elsewhere, offline, with nothing but the
// public key, and fails after a change of any byte. The program is run on each byte
// with one of its bits changed; each bit of each byte is put to what it calls.
// Normally the program sees every 31st byte; with CHARTER_LONG=1 it sees all, and
// what it calls sees every value of every byte.
func TestReceiptOfARunningServer(t *testing.T) {
	admin, data := program.Path(t, "charter-admin"), t.TempDir()
	s := start(t, data, "--ledger-origin", "example.org/ledger")
	for range 300 { // a proof of some hashes
		s.must(t, forbidden)
	}
	elsewhere := t.TempDir()
	key := text(t, filepath.Join(data, "ledger.pub"))
	if err := os.WriteFile(filepath.Join(elsewhere, "trusted.pub"), []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		cmd := exec.CommandContext(t.Context(), admin, args...)
		cmd.Dir = elsewhere
		cmd.Env = []string{"PATH=/nowhere", "HOME=" + elsewhere}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if code, out := run("audit", "prove", "42", "--server", s.url, "-o", "entry.receipt"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	s.stop(t)
	if err := os.RemoveAll(filepath.Join(data, "ledger")); err != nil { // nothing but the key is left
		t.Fatal(err)
	}
	if code, out := run("audit", "check-receipt", "entry.receipt", "--key", "trusted.pub"); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	receipt, err := os.ReadFile(filepath.Join(elsewhere, "entry.receipt"))
	if err != nil {
		t.Fatal(err)
	}
	long := os.Getenv("CHARTER_LONG") != ""
	everyChange(t, receipt, key, long)
	step := 31
	if long {
		step = 1
	}
	places := make(chan int)
	var checking sync.WaitGroup
	for worker := range 2 {
		checking.Go(func() {
			name := fmt.Sprintf("changed-%d", worker)
			for at := range places {
				changed := bytes.Clone(receipt)
				changed[at] ^= 1 << (at % 8)
				if err := os.WriteFile(filepath.Join(elsewhere, name), changed, 0o600); err != nil {
					t.Error(err)
				}
				if code, out := run("audit", "check-receipt", name, "--key", "trusted.pub"); code != exitVerify {
					t.Errorf("byte %d of %d was changed: exit code %d: %s", at, len(receipt), code, out)
				}
			}
		})
	}
	for at := 0; at < len(receipt); at += step {
		places <- at
	}
	close(places)
	checking.Wait()
}

// everyChange changes each bit, or each byte to every other value, and adds and
// removes each byte.
func everyChange(t *testing.T, receipt []byte, key string, values bool) {
	t.Helper()
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	keys := ledger.Keys{Origin: v.Name(), Log: []note.Verifier{v}}
	if p, err := ledger.VerifyReceipt(receipt, keys); err != nil || p.Index != 42 {
		t.Fatalf("%+v, %v", p, err)
	}
	valid := func(what string, at int, changed []byte) {
		if _, err := ledger.VerifyReceipt(changed, keys); err == nil {
			t.Errorf("%s byte %d, and the receipt is valid", what, at)
		}
	}
	changed := bytes.Clone(receipt)
	for at := range receipt {
		for difference := 1; difference < 256; difference++ {
			if values || difference&(difference-1) == 0 {
				changed[at] = receipt[at] ^ byte(difference)
				valid(fmt.Sprintf("%#x in", changed[at]), at, changed)
			}
		}
		changed[at] = receipt[at]
		valid("without", at, append(bytes.Clone(receipt[:at]), receipt[at+1:]...))
		valid("twice", at, append(bytes.Clone(receipt[:at+1]), receipt[at:]...))
	}
	valid("cut before", len(receipt)-1, receipt[:len(receipt)-1])
}
