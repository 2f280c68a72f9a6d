// Package process runs servers beside a test, to be asked, stopped, killed and started
// again: [Start] comes first, then [Process.Ready]. Programs that end by themselves are for
// [Run].
//
// No process outlives its test, whatever becomes of the test; on Linux it does not outlive
// the test binary either, when that is killed or runs into its time limit. What a process
// wrote is shown when its test fails, and at once when it ends before it is ready.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

// shown is how many bytes of what a process wrote last are shown.
const shown = 6000

// Process is a program that was started.
type Process struct {
	cmd  *exec.Cmd
	log  output
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; to be read then
}

// Options are what a process has beside its arguments.
type Options struct {
	Dir string   // it works in; that of the test when ""
	Env []string // NAME=value, beside the environment of the test
}

func (o Options) apply(cmd *exec.Cmd) {
	cmd.Dir = o.Dir
	cmd.Env = append(cmd.Environ(), o.Env...)
	tie(cmd)
}

// Start runs a program until it is ended, or else the test.
func Start(t testing.TB, o Options, program string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	o.apply(p.cmd)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Log(p)
		}
	})
	return p
}

// String is the name of the program and the end of what it wrote.
func (p *Process) String() string {
	text := p.Log()
	return fmt.Sprintf("%s wrote: %s", filepath.Base(p.cmd.Path), text[max(0, len(text)-shown):])
}

// Log is all that the process has written to its standard output and error.
func (p *Process) Log() string {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.b.String()
}

// Ready returns once nothing is wrong with the process any more, see [poll.Until]. It
// fails the test without waiting when the process has ended.
func (p *Process) Ready(t testing.TB, wrong func() error) {
	t.Helper()
	poll.Until(t, filepath.Base(p.cmd.Path)+" is ready", func() error {
		select {
		case <-p.done:
			t.Fatalf("ended before it was ready: %v; %s", p.err, p)
		default:
		}
		return wrong()
	})
}

// Wait waits until the process has ended, and returns how: nil for exit code 0.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// End asks the process to end, as an operator does, and returns how it did.
func (p *Process) End(signal os.Signal) error {
	err := p.cmd.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil // how it ended says more
	}
	return errors.Join(err, p.Wait())
}

// Kill ends the process without a warning, as kill -9, unless it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // or it has ended
	<-p.done
}

// FreeAddress is an address of this machine that nobody listens on now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was served
	return l.Addr().String()
}

// output is what a process wrote.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}
