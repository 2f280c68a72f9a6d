package ledger

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

// breakDisk makes the disk of this process fail.
func breakDisk(how string) error {
	switch how {
	case "":
		return nil
	case "full":
		signal.Ignore(syscall.SIGXFSZ)
		const limit = 256 << 10 // a file that grows beyond it cannot be written
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit})
	case "fsync":
		return failFsync()
	}
	return fmt.Errorf("no fault is named %q", how)
}

// cpuTime is what the process has used of all CPUs.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// failFsync makes fsync and fdatasync of this process answer EIO, by a filter of
// system calls (seccomp) for all of its threads.
func failFsync() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("not on %s", runtime.GOARCH)
	}
	type instruction struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	const (
		load, equal, ret  = 0x20, 0x15, 0x06
		allow, fail       = 0x7fff0000, 0x00050000 | uint32(syscall.EIO)
		noNewPrivileges   = 38
		seccomp           = 317
		setModeFilter     = 1
		allThreads        = 1
		fsync, fdatasync  = 74, 75
		numberOfTheSystem = 0 // offset of the call's number in seccomp_data
	)
	program := []instruction{
		{load, 0, 0, numberOfTheSystem},
		{equal, 2, 0, fsync},
		{equal, 1, 0, fdatasync},
		{ret, 0, 0, allow},
		{ret, 0, 0, fail},
	}
	filter := struct {
		length uint16
		code   *instruction
	}{uint16(len(program)), &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(seccomp, setModeFilter, allThreads, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// When the disk is full, or cannot promise durability, the writer stops: what it
// has acknowledged is there, and it acknowledges nothing more.
func TestBrokenDisk(t *testing.T) {
	for _, fault := range []string{"full", "fsync"} {
		dir := t.TempDir()
		signer, key, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
		if err != nil {
			t.Fatal(err)
		}
		before, complaint := start(t, dir, key, 0, "full", func(*os.Process) {})
		if len(before) == 0 || !strings.Contains(complaint, ledger.ErrStopped.Error()) {
			t.Fatalf("full: %d entries acknowledged, then: %s", len(before), complaint)
		}
		present(t, dir, signer, before)
		if fault == "full" {
			continue
		}
		after, complaint := start(t, dir, key, 1, fault, func(*os.Process) {})
		if strings.Contains(complaint, "seccomp") || strings.Contains(complaint, "not on") {
			t.Skip(complaint)
		}
		if len(after) != 0 || !strings.Contains(complaint, ledger.ErrStopped.Error()) {
			t.Errorf("fsync fails: %d entries acknowledged, then: %s", len(after), complaint)
		}
		present(t, dir, signer, before)
	}
}
