package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// demoPause is the time between two steps, for people to read.
const demoPause = 2 * time.Second

// demoServerName is the program that the demo starts.
const demoServerName = "charter-server"

// demoFlags are those of the demo.
type demoFlags struct {
	fast, keep  bool
	dir, server string
	format      choice
}

func (p *program) demoCommand() *cobra.Command {
	f := demoFlags{format: choice{values: []string{formatPretty, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show on real components that a charter holds",
		Long: `Starts a charter-server of its own with a small charter, TLS, certificates and a
ledger, all in a temporary directory, and plays through what a charter is for: a node
tries to collect location data and is blocked, an auditor reports a violation, the
ledger shows both and proves it, the alert for Prometheus fires, and a crash changes
nothing. Every claim is checked; one that does not hold ends the demo with exit
code 1, what was expected and what was seen.

Under each step are the commands that repeat it. With --keep they work until you press
Ctrl-C, and the directory stays; without it nothing is left behind. No network is
needed. The alert is tried with prometheus, or else promtool, where one is installed.

charter-server is the one beside charter-admin, else that of $PATH.`,
		Example: `  charter-admin demo
  charter-admin demo --fast --keep
  charter-admin demo --fast --format json | jq '.[] | {step, claim, held}'`,
		Args: arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error { return p.demo(ctx, f) }),
	}
	cmd.Flags().BoolVar(&f.fast, "fast", false, "do not pause between steps")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave the server running until interrupted, and the directory after it")
	cmd.Flags().StringVar(&f.dir, "dir", "", "`directory` to work in, new or empty (default a temporary one)")
	cmd.Flags().StringVar(&f.server, "server", "", "`file` of the program charter-server")
	f.format.flag(cmd)
	return cmd
}

// demoRun is one run of the demo.
type demoRun struct {
	p      *program
	flags  demoFlags
	dir    string   // absolute; all programs work in it
	made   bool     // dir did not exist before
	setup  []string // commands after which the others work
	admin  string   // path of this program
	binary string   // path of charter-server
	claims []*demoClaim

	server *demoProcess
	url    string       // of the server
	node   *http.Client // with the certificate of the node

	prometheus    *demoProcess // nil where it is not installed
	prometheusURL string

	story story
}

func (p *program) demo(ctx context.Context, f demoFlags) (err error) {
	d := &demoRun{p: p, flags: f}
	if err := d.findPrograms(); err != nil {
		return err
	}
	if err := d.makeDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.cleanUp()) }()
	played := d.play(ctx)
	if f.format.is(formatJSON) {
		if err := d.printJSON(); err != nil {
			return err
		}
	}
	if played != nil || !f.keep {
		return played
	}
	return d.hold(ctx)
}

// findPrograms finds this program and the server, and says how to type their names.
func (d *demoRun) findPrograms() (err error) {
	if d.admin, err = os.Executable(); err != nil {
		return fmt.Errorf("find charter-admin: %w", err)
	}
	if d.binary, err = findServer(d.flags.server, d.admin); err != nil {
		return err
	}
	for _, program := range []string{d.admin, d.binary} {
		name := filepath.Base(program)
		if typed, err := exec.LookPath(name); err == nil && sameFile(typed, program) {
			continue
		}
		line := "PATH=" + shellWord(filepath.Dir(program)) + ":$PATH"
		if len(d.setup) == 0 || d.setup[len(d.setup)-1] != line {
			d.setup = append(d.setup, line)
		}
	}
	return nil
}

// findServer returns the path of charter-server: the file that was named, the program
// beside this one, or that of $PATH.
func findServer(named, admin string) (string, error) {
	beside := filepath.Join(filepath.Dir(admin), demoServerName+filepath.Ext(admin))
	for _, file := range []string{named, beside, demoServerName} {
		switch {
		case file == "":
			continue
		case file == named:
			path, err := filepath.Abs(file) // it is a file, never a name in $PATH
			if err == nil {
				path, err = exec.LookPath(path)
			}
			if err != nil {
				return "", usagef("--server: %w", err)
			}
			return path, nil
		}
		if path, err := exec.LookPath(file); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", usagef("there is no charter-server in %s and none in $PATH; build both with: go build -o bin/ ./cmd/charter-admin ./cmd/charter-server, or name one with --server", filepath.Dir(admin))
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// makeDir makes the directory of the demo, which is for its owner alone.
func (d *demoRun) makeDir() error {
	if d.flags.dir == "" {
		dir, err := os.MkdirTemp("", "charter-demo-")
		d.dir, d.made = dir, true
		return err
	}
	dir, err := filepath.Abs(d.flags.dir)
	if err != nil {
		return usagef("--dir: %w", err)
	}
	d.dir, d.made = dir, !exists(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--dir: %w", err)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return usagef("--dir: %w", err)
	case len(entries) > 0:
		return usagef("--dir: %s is not empty; the demo needs a new or an empty directory", d.flags.dir)
	}
	return nil
}

// hold leaves everything running until somebody interrupts it, which is no fault.
func (d *demoRun) hold(ctx context.Context) error {
	fmt.Fprintf(d.p.stderr, `
The server runs until you press Ctrl-C; so long the commands above work. %s has a
clean record: with its name and certificate in place of those of %s they tell the story anew.
%s stays; it is yours to remove.
`, demoOther, demoNode, d.dir)
	<-ctx.Done()
	return nil
}

// cleanUp ends what was started and removes what was made.
func (d *demoRun) cleanUp() error {
	d.prometheus.stop()
	d.server.stop()
	if d.flags.keep {
		return nil
	}
	if d.made {
		return os.RemoveAll(d.dir)
	}
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
	}
	return err
}

// claim tries one claim and tells about it.
func (d *demoRun) claim(ctx context.Context, step int, text string, try func(context.Context, *demoClaim) error) error {
	if err := d.pause(ctx); err != nil {
		return err
	}
	c := &demoClaim{Step: step, Claim: text, Commands: []string{}}
	d.claims = append(d.claims, c)
	pretty := !d.flags.format.is(formatJSON)
	if pretty {
		d.announce(c)
	}
	began := time.Now()
	err := try(ctx, c)
	c.TookMS = time.Since(began).Milliseconds()
	c.Held = err == nil && c.Skipped == ""
	if err != nil && ctx.Err() == nil {
		var not *unmet
		if !errors.As(err, &not) {
			not = &unmet{text, err.Error()}
		}
		c.Expected, c.Seen = not.expected, append(c.Seen, not.seen)
		err = fmt.Errorf("step %d of the demo does not hold: expected %s; saw %s", step, not.expected, not.seen)
	}
	if pretty {
		d.tell(c)
	}
	return errors.Join(err, d.p.stdout.Flush())
}

// pause waits between two steps.
func (d *demoRun) pause(ctx context.Context) error {
	if d.flags.fast || d.flags.format.is(formatJSON) || len(d.claims) == 0 {
		return ctx.Err()
	}
	wait := time.NewTimer(demoPause)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
