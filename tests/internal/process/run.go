package process

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/poll"
)

// Result is what a program left behind that has run to its end.
type Result struct {
	Code           int // it exited with; -1 when a signal ended it
	Stdout, Stderr string
}

// Run runs a program to its end, [poll.Patience] at most. The test fails when it cannot
// be started, whereas it may exit with any code.
func Run(t testing.TB, o Options, program string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), poll.Patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	o.apply(cmd)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s%s", program, errors.Join(err, ctx.Err()), &stdout, &stderr)
	}
	return Result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// Output is [Run] for what has to succeed: exit code 0. It returns the standard output.
func Output(t testing.TB, o Options, program string, args ...string) string {
	t.Helper()
	r := Run(t, o, program, args...)
	if r.Code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(program), strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}
