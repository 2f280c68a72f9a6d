package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"github.com/westworld-charter/charter/tests/bench/measure"
)

// threads is GOMAXPROCS of this process and of every server it starts.
const threads = 2

// shortBudget is when a short run starts its last row. A machine that others
// keep busy may not get to all of them.
const shortBudget = 38 * time.Second

// options of one run.
type options struct {
	short  bool
	rounds int
	target time.Duration
	only   *regexp.Regexp
	opa    string
	root   string // of the repository
	// entries is how many the ledger holds whose size and reading are measured.
	entries int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	runtime.GOMAXPROCS(threads)
	if len(args) > 0 {
		if child, ok := children()[args[0]]; ok {
			return exit(stderr, child(ctx, args[1:], stdout))
		}
	}
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	return exit(stderr, runRows(ctx, o, stdout, stderr))
}

func exit(stderr io.Writer, err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.short, "short", false, "fewer sizes and rounds: at most 45 s")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of each side; 0 is 5, or 3 with -short")
	flags.StringVar(&only, "only", "", "regular expression: run only the rows whose names match")
	flags.IntVar(&o.entries, "entries", 0, "entries of the ledger that is verified and queried; 0 is 200000, or 10000 with -short")
	flags.StringVar(&o.opa, "opa", "", "path of the opa command; default .judges/bin/opa, else the one in PATH")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.rounds < 0 {
		return o, fmt.Errorf("-rounds %d is negative", o.rounds)
	}
	if o.entries < 0 || o.entries > 0 && o.entries < leastEntries {
		return o, fmt.Errorf("-entries %d: the least is %d", o.entries, leastEntries)
	}
	o.fill()
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if o.root, err = repository(); err != nil {
		return o, err
	}
	o.opa = findOPA(o)
	return o, nil
}

// fill sets what no flag has set.
func (o *options) fill() {
	rounds, entries := 5, 200_000
	o.target = 400 * time.Millisecond
	if o.short {
		rounds, entries = 3, leastEntries
		o.target = 60 * time.Millisecond
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
	if o.entries == 0 {
		o.entries = entries
	}
}

// repository is the directory of the product's module, two above this one.
func repository() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", product).Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return string(out[:len(out)-1]), nil
}

const product = "github.com/westworld-charter/charter"

// findOPA returns the path of opa, "" when there is none.
func findOPA(o options) string {
	if o.opa != "" {
		return o.opa
	}
	judge := filepath.Join(o.root, ".judges", "bin", "opa")
	if _, err := os.Stat(judge); err == nil {
		return judge
	}
	path, _ := exec.LookPath("opa")
	return path
}

// line is one result. Ratio is A over B; A and B are medians over the rounds.
type line struct {
	Name    string      `json:"name"`
	Ratio   float64     `json:"ratio"`
	A       float64     `json:"a"`
	B       float64     `json:"b"`
	Rounds  int         `json:"rounds"`
	Unit    string      `json:"unit"`
	Goal    string      `json:"goal,omitempty"`
	GoalMet *bool       `json:"goal_met,omitempty"`
	Spread  *[2]float64 `json:"spread,omitempty"` // ratios of the best and the worst round
	AllocsA float64     `json:"allocs_a,omitempty"`
	AllocsB float64     `json:"allocs_b,omitempty"`
	Note    string      `json:"note,omitempty"`
}

// skipped is why a row could not be measured.
type skipped string

func (s skipped) Error() string { return string(s) }

func runRows(ctx context.Context, o options, stdout, stderr io.Writer) error {
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	start := time.Now()
	b.log("%d rounds of %v CPU time each, GOMAXPROCS=%d", o.rounds, o.target, threads)
	for _, r := range rows() {
		if !o.only.MatchString(r.name) || o.short && !r.short {
			continue
		}
		if o.short && time.Since(start) > shortBudget {
			b.log("%s: skipped: the short run ends", r.name)
			continue
		}
		began := time.Now()
		lines, err := r.measure(ctx, b)
		var why skipped
		switch {
		case errors.As(err, &why):
			b.log("%s: skipped: %s", r.name, why)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", r.name, err)
		}
		for _, l := range lines {
			if err := out.Encode(l); err != nil {
				return fmt.Errorf("write result: %w", err)
			}
			b.log("%s: %.4g%s in %.1f s", l.Name, l.Ratio, verdict(l), time.Since(began).Seconds())
		}
	}
	b.log("done in %.0f s", time.Since(start).Seconds())
	return nil
}

func verdict(l line) string {
	switch {
	case l.GoalMet == nil:
		return ""
	case *l.GoalMet:
		return " (goal " + l.Goal + ": met)"
	default:
		return " (goal " + l.Goal + ": MISSED)"
	}
}

// compared makes the line of a comparison.
func compared(name string, g goal, r measure.Result) line {
	return line{
		Name: name, Ratio: round(r.Ratio()), A: round(r.A.Nanos), B: round(r.B.Nanos), Rounds: r.Rounds, Unit: "ns CPU per question",
		Spread: &[2]float64{round(r.Low), round(r.High)}, AllocsA: round(r.A.Allocs), AllocsB: round(r.B.Allocs),
	}.judged(g)
}

// judged adds the goal to a line.
func (l line) judged(g goal) line {
	if g != (goal{}) {
		met := g.met(l.Ratio)
		l.Goal, l.GoalMet = g.String(), &met
	}
	return l
}
