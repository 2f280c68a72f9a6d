package cli

import (
	"encoding/json"
	"fmt"
	"strings"
)

// demoClaim is one thing that the demo says, and what came of it.
type demoClaim struct {
	Step     int      `json:"step"`
	Claim    string   `json:"claim"`
	Held     bool     `json:"held"`
	Skipped  string   `json:"skipped,omitempty"`  // why it was not tried
	Seen     []string `json:"seen,omitempty"`     // lines
	Expected string   `json:"expected,omitempty"` // where it does not hold
	Commands []string `json:"commands"`
	TookMS   int64    `json:"took_ms"`
}

// unmet is a claim that does not hold.
type unmet struct{ expected, seen string }

func (e *unmet) Error() string { return "expected " + e.expected + "; saw " + e.seen }

// expect returns nil where something holds, and an unmet else.
func expect(holds bool, expected, format string, seen ...any) error {
	if holds {
		return nil
	}
	return &unmet{expected, fmt.Sprintf(format, seen...)}
}

// show adds commands that repeat a claim by hand.
func (c *demoClaim) show(commands ...string) { c.Commands = append(c.Commands, commands...) }

// say adds a line about what was seen.
func (c *demoClaim) say(format string, args ...any) {
	c.Seen = append(c.Seen, fmt.Sprintf(format, args...))
}

// announce says what is about to be tried; it can take a moment.
func (d *demoRun) announce(c *demoClaim) {
	fmt.Fprintf(d.p.stdout, "%d. %s\n", c.Step, c.Claim)
	_ = d.p.stdout.Flush() // the buffer keeps the error for the end
}

// tell says what came of a claim.
func (d *demoRun) tell(c *demoClaim) {
	switch {
	case c.Skipped != "":
		d.marked("33", "skipped", []string{c.Skipped})
	case !c.Held:
		d.marked("31", "NO", append([]string{"expected " + c.Expected}, c.Seen...))
	default:
		d.marked("32", "ok", c.Seen)
	}
	for _, command := range c.Commands {
		fmt.Fprintf(d.p.stdout, "      %s\n", d.paint("36", command))
	}
	fmt.Fprintln(d.p.stdout)
}

// marked writes lines with a mark before the first.
func (d *demoRun) marked(color, mark string, lines []string) {
	blank := strings.Repeat(" ", len(mark))
	mark = d.paint(color, mark)
	for _, line := range lines {
		fmt.Fprintf(d.p.stdout, "   %s  %s\n", mark, printable(line))
		mark = blank
	}
}

func (d *demoRun) paint(color, text string) string {
	if !d.p.color.stdout {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (d *demoRun) printJSON() error {
	out := json.NewEncoder(d.p.stdout)
	out.SetEscapeHTML(false) // commands are to be copied
	out.SetIndent("", "  ")
	if err := out.Encode(d.claims); err != nil {
		return err
	}
	return d.p.stdout.Flush()
}
