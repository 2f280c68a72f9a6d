package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	demoPoll  = 20 * time.Millisecond
	demoStart = 30 * time.Second // for a program to get ready
	demoStop  = 10 * time.Second // for a program to end when asked to
	demoTail  = 5                // lines of a log that are quoted
)

// demoProcess is a program that the demo has started.
type demoProcess struct {
	name string
	cmd  *exec.Cmd
	log  string        // file that its output is appended to
	from int64         // where in the file its output begins
	done chan struct{} // closed when it has ended; err is set before
	err  error
}

// startProcess starts a program in dir, with its output in the file NAME.log and its
// id in NAME.pid.
func startProcess(dir, name, program string, args ...string) (*demoProcess, error) {
	path := filepath.Join(dir, name+".log")
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the program has its own
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, demoEnviron(), log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	r := &demoProcess{name: name, cmd: cmd, log: path, from: info.Size(), done: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	id := []byte(strconv.Itoa(cmd.Process.Pid) + "\n")
	if err := os.WriteFile(filepath.Join(dir, name+".pid"), id, 0o600); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// demoEnviron is the environment without the settings of charter-server and the
// defaults of charter-admin, which would make the demo another one.
func demoEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CHARTER_") })
}

// output is what the program has written so far.
func (r *demoProcess) output() string {
	data, err := os.ReadFile(r.log)
	if err != nil || int64(len(data)) < r.from {
		return ""
	}
	return string(data[r.from:])
}

// tail is the end of the output, for messages.
func (r *demoProcess) tail() string {
	lines := strings.Split(strings.TrimSpace(r.output()), "\n")
	if text := strings.Join(lines[max(0, len(lines)-demoTail):], "\n"); text != "" {
		return "it wrote:\n" + text
	}
	return "it wrote nothing"
}

// until waits for something of the program; "" is not yet.
func (r *demoProcess) until(ctx context.Context, what string, look func(context.Context) string) (string, error) {
	limit, cancel := context.WithTimeout(ctx, demoStart)
	defer cancel()
	tick := time.NewTicker(demoPoll)
	defer tick.Stop()
	for {
		if found := look(limit); found != "" {
			return found, nil
		}
		select {
		case <-tick.C:
		case <-r.done:
			how := "with exit code 0"
			if r.err != nil {
				how = "with " + r.err.Error()
			}
			return "", &unmet{what, r.name + " ended " + how + "; " + r.tail()}
		case <-limit.Done():
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return "", &unmet{what + " within " + demoStart.String(), "nothing of the kind; " + r.name + " runs, " + r.tail()}
		}
	}
}

// kill ends the program at once, as kill -9 does.
func (r *demoProcess) kill() error {
	err := r.cmd.Process.Kill()
	<-r.done
	return err
}

// stop ends the program in an orderly way, or else at once. A nil one has ended.
func (r *demoProcess) stop() {
	if r == nil {
		return
	}
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = r.kill() // where there are no signals
		return
	}
	late := time.NewTimer(demoStop)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
		_ = r.kill() // it cannot be gone: nobody else waits for it
	}
}

// run runs this program as the words say, in a directory below that of the demo, and
// returns its output and exit code. Its environment is that of the others.
func (d *demoRun) run(ctx context.Context, below string, words ...string) (stdout, stderr string, code int, err error) {
	var out, complaints strings.Builder
	cmd := exec.CommandContext(ctx, d.admin, words...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(d.dir, below), demoEnviron(), &out, &complaints
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		code, err = exit.ExitCode(), nil
	}
	if err != nil {
		err = fmt.Errorf("charter-admin %s: %w", strings.Join(words, " "), err)
	}
	return out.String(), strings.TrimSpace(complaints.String()), code, err
}

// succeed is run for a command that must succeed.
func (d *demoRun) succeed(ctx context.Context, words ...string) (string, error) {
	stdout, stderr, code, err := d.run(ctx, "", words...)
	if err != nil {
		return "", err
	}
	return stdout, expect(code == ExitOK, "exit code 0 of "+adminCommand(words...), "exit code %d: %s", code, stderr)
}

// adminCommand is how a command is typed.
func adminCommand(words ...string) string {
	typed := []string{"charter-admin"}
	for _, w := range words {
		typed = append(typed, shellWord(w))
	}
	return strings.Join(typed, " ")
}

// shellWord quotes a word for a shell where it needs it.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
