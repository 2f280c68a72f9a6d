package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

// What this test binary is when it is started again, and where it listens then.
const (
	role    = "CHARTER_PROCESS_ROLE"
	address = "CHARTER_PROCESS_ADDRESS"
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "server":
		l, err := net.Listen("tcp", os.Getenv(address))
		for err == nil {
			_, err = l.Accept()
		}
		fmt.Println(err)
		os.Exit(3)
	case "broken":
		fmt.Println("no such port")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// witness is a test that notes why it failed.
type witness struct {
	testing.TB
	complaint string
}

func (w *witness) Helper() {}

func (w *witness) Fatalf(format string, args ...any) {
	w.complaint = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestEndedBeforeItWasReady(t *testing.T) {
	p := Start(t, Options{Env: []string{role + "=broken"}}, os.Args[0])
	w, done, began := &witness{TB: t}, make(chan struct{}), time.Now()
	go func() {
		defer close(done)
		p.Ready(w, func() error { return errors.New("nobody answers") })
	}()
	<-done
	if !strings.Contains(w.complaint, "exit status 3") || !strings.Contains(w.complaint, "no such port") || time.Since(began) > poll.Patience/2 {
		t.Errorf("after %s: %s", time.Since(began), w.complaint)
	}
}

func dial(where string) error {
	c, err := net.Dial("tcp", where)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func TestEnds(t *testing.T) {
	p := Start(t, Options{Env: []string{role + "=broken"}}, os.Args[0])
	if err := p.Wait(); err == nil || !strings.HasPrefix(p.Log(), "no such port\n") { // more is what -cover adds
		t.Errorf("%v: %s", err, p)
	}
	p.Kill() // which does nothing to a process that has ended
	for _, end := range []func(p *Process) error{
		func(p *Process) error { return p.End(syscall.SIGTERM) },
		func(p *Process) error { p.Kill(); return p.Wait() },
	} {
		where := FreeAddress(t)
		p = Start(t, Options{Dir: t.TempDir(), Env: []string{role + "=server", address + "=" + where}}, os.Args[0])
		p.Ready(t, func() error { return dial(where) })
		if err := end(p); err == nil || !strings.HasPrefix(err.Error(), "signal: ") || dial(where) == nil {
			t.Errorf("%v", err)
		}
	}
}

// TestParent is run by TestKilledTestBinary.
func TestParent(t *testing.T) {
	where := os.Getenv(address)
	if where == "" {
		t.Skip("run by another test")
	}
	_ = Start(t, Options{Env: []string{role + "=server"}}, os.Args[0]).Wait()
}

// Nobody runs the clean-up of a test binary that is killed.
func TestKilledTestBinary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	where := FreeAddress(t)
	parent := exec.Command(os.Args[0], "-test.run=^TestParent$")
	parent.Env = append(os.Environ(), address+"="+where)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "the server listens", func() error { return dial(where) })
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	poll.Until(t, "the server is gone", func() error {
		if dial(where) == nil {
			return errors.New("it listens")
		}
		return nil
	})
}

func TestRun(t *testing.T) {
	r := Run(t, Options{}, "sh", "-c", "echo out; echo err >&2; exit 4")
	if r != (Result{4, "out\n", "err\n"}) {
		t.Errorf("%+v", r)
	}
	if out := Output(t, Options{Env: []string{"GREETING=hello"}}, "sh", "-c", "echo $GREETING"); out != "hello\n" {
		t.Errorf("%q", out)
	}
}
