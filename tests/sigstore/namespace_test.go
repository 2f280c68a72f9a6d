package sigstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"github.com/westworld-charter/charter/tests/internal/judge"
)

// inside is set in the process that has a network namespace of its own.
const inside = "CHARTER_SIGSTORE_NAMESPACE"

// TestMain runs the tests again in a network namespace that has nothing but loopback:
// the servers choose their ports freely, some of them listen on all interfaces, and
// nothing here may be asking a service on the internet.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "loopback:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		os.Exit(0)
	case exited:
		os.Exit(exit.ExitCode())
	default:
		os.Exit(m.Run()) // each test says that there is no namespace
	}
}

// loopbackUp is `ip link set lo up`.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := struct { // struct ifreq, netdevice(7)
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// needNamespace ends a test that has none.
func needNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv(inside) != "" {
		return
	}
	if os.Getenv(judge.RequiredEnv) == "all" {
		t.Fatal("network namespaces are not allowed here, and all judges are required")
	}
	t.Skip("network namespaces are not allowed here")
}
