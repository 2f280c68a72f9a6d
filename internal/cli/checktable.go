package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/westworld-charter/charter/internal/decision"
)

// namesWidth is how far lists of names reach.
const namesWidth = 100

// printTables is the form for people: a line per clause, then what is denied
// and why, or with all every series.
func (p *program) printTables(revision string, in decision.Input, results []judged, all bool) error {
	fmt.Fprintf(p.stdout, "%s\n%s\n\n", revision, printable(describeQuestion(in)))
	if all {
		if err := p.printSeries(results); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout)
	}
	if err := p.printClauses(results); err != nil {
		return err
	}
	if !all {
		p.printDenied("DENIED", results, func(r judged) (decided, bool) { return r.decided, !r.Allow })
		p.printDenied("WOULD BE DENIED BUT IS NOT ENFORCED", results, func(r judged) (decided, bool) {
			if r.WouldDeny == nil {
				return decided{}, false
			}
			return decidedOf(*r.WouldDeny), true
		})
	}
	sum := summarize(results)
	_, err := fmt.Fprintf(p.stdout, "\n%d of %d series allowed, %d denied\n", sum.Allowed, sum.Series, sum.Denied)
	return err
}

// group is series with one clause and one outcome.
type group struct {
	clause, outcome string
	series          int
	names           map[string]int // series by metric
	obligations     map[string]bool
	codes           map[string]bool // reason codes, comma separated
	messages        map[string]bool
}

// groups sorts results into groups by what key says of the decision that view
// shows of them; view leaves results out.
func groups(results []judged, view func(judged) (decided, bool), key func(decided) string) []*group {
	byKey := map[string]*group{}
	for _, r := range results {
		d, ok := view(r)
		if !ok {
			continue
		}
		k := key(d)
		g := byKey[k]
		if g == nil {
			g = &group{
				clause: d.Clause, outcome: d.Outcome, names: map[string]int{}, obligations: map[string]bool{},
				codes: map[string]bool{}, messages: map[string]bool{},
			}
			byKey[k] = g
		}
		g.series++
		g.names[r.Metric]++
		if text := describeObligations(d.Obligations); text != "" {
			g.obligations[text] = true
		}
		if len(d.Reasons) > 0 {
			g.codes[codes(d.Reasons)] = true
			g.messages[d.Reasons[0].Message] = true
		}
	}
	all := make([]*group, 0, len(byKey))
	for _, k := range sortedKeys(byKey) {
		all = append(all, byKey[k])
	}
	return all
}

func codes(reasons []decision.Reason) string {
	var codes []string
	for _, r := range reasons {
		if !slices.Contains(codes, r.Code) {
			codes = append(codes, r.Code)
		}
	}
	return strings.Join(codes, ", ")
}

func (p *program) printClauses(results []judged) error {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "CLAUSE\tOUTCOME\tSERIES\tNAMES\tOBLIGATIONS")
	all := func(r judged) (decided, bool) { return r.decided, true }
	for _, g := range groups(results, all, func(d decided) string { return d.Clause + "\x00" + d.Outcome }) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", g.clause, g.outcome, g.series, len(g.names),
			printable(strings.Join(sortedKeys(g.obligations), " | ")))
	}
	return errors.Join(w.Flush(), p.printTrimmed(text.String()))
}

// printTrimmed prints a table without the blanks that fill its last column.
func (p *program) printTrimmed(table string) error {
	for line := range strings.Lines(table) {
		if _, err := fmt.Fprintln(p.stdout, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// printDenied lists the names of the metrics in view by clause and reasons.
func (p *program) printDenied(title string, results []judged, view func(judged) (decided, bool)) {
	denied := groups(results, view, func(d decided) string { return d.Clause + "\x00" + d.Outcome + "\x00" + codes(d.Reasons) })
	if len(denied) == 0 {
		return
	}
	slices.SortStableFunc(denied, func(a, b *group) int { return cmp.Compare(precedence(a.outcome), precedence(b.outcome)) })
	fmt.Fprintf(p.stdout, "\n%s\n", title)
	for _, g := range denied {
		fmt.Fprintf(p.stdout, "\n%s: %s (%s)\n", g.clause, g.outcome, strings.Join(sortedKeys(g.codes), "; "))
		if len(g.messages) == 1 {
			fmt.Fprintf(p.stdout, "  %s\n", printable(sortedKeys(g.messages)[0]))
		}
		p.printNames(g)
	}
}

// precedence puts what was forbidden before what nobody spoke of.
func precedence(outcome string) int {
	return slices.Index([]string{decision.Forbidden, decision.Denied, decision.UnknownMetric}, outcome)
}

// printNames wraps names; the number of series follows a name when it has more
// than one.
func (p *program) printNames(g *group) {
	line := "   "
	for _, name := range sortedKeys(g.names) {
		word := " " + printable(name)
		if n := g.names[name]; n > 1 {
			word += " (" + strconv.Itoa(n) + ")"
		}
		if len(line)+len(word) > namesWidth && strings.TrimSpace(line) != "" {
			fmt.Fprintln(p.stdout, line)
			line = "   "
		}
		line += word
	}
	fmt.Fprintln(p.stdout, line)
}

// printSeries lists every series in the order of the exposition.
func (p *program) printSeries(results []judged) error {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "OUTCOME\tCLAUSE\tSERIES\tREASONS")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Outcome, r.Clause, printable(r.name()), codes(r.Reasons))
	}
	return errors.Join(w.Flush(), p.printTrimmed(text.String()))
}

// name renders a series as PromQL does.
func (r judged) name() string {
	if len(r.Labels) == 0 {
		return r.Metric
	}
	var pairs []string
	for _, label := range sortedKeys(r.Labels) {
		pairs = append(pairs, label+"="+strconv.Quote(r.Labels[label]))
	}
	return r.Metric + "{" + strings.Join(pairs, ",") + "}"
}
