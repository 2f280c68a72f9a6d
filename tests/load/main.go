// Command load asks a charter-server at a constant rate while its charter is
// replaced every second, and holds every answer against a reference.
//
//	go run ./tests/load -rate 1000 -duration 60s -reload 1s -p99 10ms
//
// The load is open: question i is due at a time that no answer can delay, and
// latency counts from then, so that a stall shows in full (no coordinated
// omission). Two charters alternate that answer differently; an answer must be
// the one that an uncached evaluation of the revision it names gives, and name
// the revision that was in force when the question was sent. Standard output
// has one JSON line per figure. Exit codes: 0 passed, 1 a wrong answer, an error,
// or a latency above the bar, 2 usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	debug.SetGCPercent(400) // the asking side shares the machine and is not what is measured
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options say what is asked, and how fast.
type options struct {
	rate     int           // questions a second
	duration time.Duration // of the load
	reload   time.Duration // between two charters; 0 keeps the first
	metrics  int           // of each charter
	pool     int           // different questions
	p99      time.Duration // bar of the 99th percentile; 0 is none
	server   string        // charter-server binary; "" builds it
}

func (o options) validate() error {
	if o.rate < 1 || o.rate > 1_000_000 || o.duration <= 0 || o.reload < 0 || o.metrics < 2 || o.pool < 1 || o.p99 < 0 {
		return errors.New("rate, duration, metrics and pool must be positive")
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rate, "rate", 1000, "questions a second")
	flags.DurationVar(&o.duration, "duration", time.Minute, "of the load")
	flags.DurationVar(&o.reload, "reload", time.Second, "between two charters; 0 never reloads")
	flags.IntVar(&o.metrics, "metrics", 1000, "of each charter")
	flags.IntVar(&o.pool, "pool", 5000, "different questions")
	flags.DurationVar(&o.p99, "p99", 10*time.Millisecond, "bar of the 99th percentile; 0 is none")
	flags.StringVar(&o.server, "server", "", "charter-server binary; built when it is not given")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return 2
	}
	if err := o.validate(); err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 2
	}
	r, err := measure(ctx, o)
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 1
	}
	if err := r.print(stdout); err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 1
	}
	if faults := r.faults(o.p99); len(faults) > 0 {
		fmt.Fprintln(stderr, "load: "+strings.Join(faults, "\nload: "))
		return 1
	}
	return 0
}

// figure is one line of the output.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// print writes the figures, a line each.
func (r *result) print(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, f := range r.figures() {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *result) figures() []figure {
	ms := func(name string, d time.Duration) figure {
		return figure{"load_" + name, float64(d.Microseconds()) / 1000, "ms"}
	}
	count := func(name string, n int) figure { return figure{"load_" + name, float64(n), "count"} }
	list := []figure{
		count("questions", len(r.latency)), count("wrong", r.wrong), count("errors", r.failed),
		ms("p50", quantile(r.latency, 0.5)), ms("p99", quantile(r.latency, 0.99)), ms("p999", quantile(r.latency, 0.999)), ms("max", quantile(r.latency, 1)),
		ms("late_p99", quantile(r.late, 0.99)), // how far the asking side itself was behind
		count("reloads", len(r.reloads)), ms("reload_p50", quantile(r.reloads, 0.5)), ms("reload_max", quantile(r.reloads, 1)),
		{"load_server_cores", r.cores, "cores"},
	}
	if load, ok := machineLoad(); ok {
		list = append(list, figure{"machine_load_1m", load, "processes"})
	}
	return list
}

// machineLoad is how many processes wanted to run in the last minute.
func machineLoad() (float64, bool) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, false // not Linux
	}
	var load float64
	_, err = fmt.Sscan(string(text), &load)
	return load, err == nil
}

// faults are the reasons to fail.
func (r *result) faults(p99 time.Duration) []string {
	var list []string
	if r.wrong > 0 {
		list = append(list, fmt.Sprintf("%d wrong answers, such as: %s", r.wrong, r.sample))
	}
	if r.failed > 0 {
		list = append(list, fmt.Sprintf("%d errors, such as: %s", r.failed, r.trouble))
	}
	if got := quantile(r.latency, 0.99); p99 > 0 && got >= p99 {
		list = append(list, fmt.Sprintf("p99 is %s, the bar is %s", got, p99))
	}
	return list
}
