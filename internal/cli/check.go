package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/explain"
)

// allClaims stands for every claim that a role of the charter requires.
const allClaims = "all"

type checkFlags struct {
	question   decision.Input
	labels     []string
	claims     []string
	exposition string
	state      string
	all        bool
	explain    bool
	format     choice
}

func (p *program) checkCommand() *cobra.Command {
	flags := checkFlags{format: choice{values: []string{formatTable, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "check (--exposition FILE|URL | --metric NAME) CHARTER|BUNDLE",
		Short: "Decide one question, or every series of a Prometheus exposition",
		Long: `Decides by a charter, which is compiled for it, or by a bundle.

With --metric it decides one question. The exit code is 5 when the answer is no.
With --explain it says how the answer came about, step by step, and what the
smallest change of the question is that would be allowed.

With --exposition it reads what a target exposes (a file, an http or https URL,
or - for standard input) and decides for each series whether it may pass. The
exit code is 0 whatever the answers are. The table sums up by clause and lists
what is denied and why; --all lists every series. The json form is
{"revision", "summary", "results": [{"metric", "labels", "allow", "outcome",
"clause", "reasons", "obligations", ...}]} with one result per line.

--claims defaults to "all" for an exposition, which is every claim that a role of
the charter requires, and to none for one question. The time is now unless --time
says otherwise.`,
		Example: `  charter-admin check --metric node_load1 --node edge-1 --role auditor --operation read charter.yaml
  charter-admin check --metric node_load1 --explain charter.yaml
  charter-admin check --metric up --label instance=a:9100 --claims mtls,owns_node bundle.tar.gz
  charter-admin check --exposition http://localhost:9100/metrics charter.yaml
  charter-admin check --exposition node.prom --format json charter.yaml >results.json`,
		Args: arguments(1, 1, "one CHARTER or BUNDLE"),
	}
	flags.add(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		asked := cmd.Flags().Changed("metric")
		switch {
		case asked && flags.exposition != "":
			return usagef("check takes --metric or --exposition, not both")
		case flags.explain && flags.exposition != "":
			return usagef("check: --explain goes with --metric; ask for one series of the exposition by its name")
		case flags.exposition != "":
			if !cmd.Flags().Changed("claims") {
				flags.claims = []string{allClaims}
			}
			return p.checkExposition(ctx, args[0], flags)
		case asked:
			return p.checkOne(ctx, args[0], flags)
		default:
			return usagef("check needs --metric NAME or --exposition FILE; see charter-admin check --help")
		}
	})
	return cmd
}

func (c *checkFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.exposition, "exposition", "", "decide every series of this `file` or URL")
	f.StringVar(&c.question.Metric, "metric", "", "decide about this metric `name`")
	f.StringVar(&c.question.Node, "node", "local", "`id` of the node")
	f.StringVar(&c.question.Role, "role", "node_operator", "`role` of who asks")
	f.StringVar(&c.question.Operation, "operation", decision.Collect, "`operation`: collect, read or export")
	f.StringVar(&c.question.Purpose, "purpose", "", "`purpose` of reading or exporting")
	f.StringVar(&c.question.Retention, "retention", "", "`duration` for which the series is to be kept, such as 30d")
	f.StringVar(&c.question.Time, "time", "", "`time` of the question, RFC 3339 or a date (default now)")
	f.StringArrayVar(&c.labels, "label", nil, "label `name=value` of the metric; may be repeated")
	f.StringSliceVar(&c.claims, "claims", nil, "`claims` of who asks, or all")
	f.StringVar(&c.state, "state", "", "state document, YAML or JSON `file`")
	f.BoolVar(&c.all, "all", false, "list every series (table)")
	f.BoolVar(&c.explain, "explain", false, "explain the answer to one question")
	c.format.flag(cmd)
}

// input completes the question for a charter and refuses what no question may
// hold: that is a mistake of whoever typed it, not an answer of the charter.
func (p *program) input(c *charter.Charter, flags checkFlags) (decision.Input, error) {
	in := flags.question
	in.Claims = flags.claims
	if slices.Contains(flags.claims, allClaims) {
		in.Claims = requiredClaims(c)
	}
	if in.Time == "" {
		in.Time = p.now().UTC().Format(time.RFC3339)
	}
	for _, label := range flags.labels {
		name, value, ok := strings.Cut(label, "=")
		if !ok {
			return in, usagef("check: --label %q is not name=value", label)
		}
		if _, twice := in.Labels[name]; twice {
			return in, usagef("check: --label %s is given twice", name)
		}
		if in.Labels == nil {
			in.Labels = map[string]string{}
		}
		in.Labels[name] = value
	}
	return in, nil
}

// requiredClaims is every claim that a role of c requires, sorted.
func requiredClaims(c *charter.Charter) []string {
	var claims []string
	for i := range c.Roles {
		claims = append(claims, c.Roles[i].Requires...)
	}
	slices.Sort(claims)
	return slices.Compact(claims)
}

// badQuestion turns what is wrong with a question into a usage error; the
// messages name the fields, which the flags are named after.
func badQuestion(err error) error {
	var fe *decision.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	var messages []string
	for _, one := range fe.All() {
		messages = append(messages, one.Message)
	}
	return usagef("check: %s", strings.Join(messages, "; "))
}

func (p *program) checkOne(ctx context.Context, path string, flags checkFlags) error {
	policy, err := p.loadPolicy(ctx, path, flags.state)
	if err != nil {
		return err
	}
	in, err := p.input(policy.Charter(), flags)
	if err != nil {
		return err
	}
	if err := in.Validate(); err != nil {
		return badQuestion(err)
	}
	d, err := decide(ctx, policy, in)
	if err != nil {
		return err
	}
	var why *explain.Explanation
	if flags.explain {
		if why, err = explainOne(ctx, policy, in, &d); err != nil {
			return err
		}
	}
	if flags.format.is(formatJSON) {
		err = p.printJSON(explainedDecision{d, why})
	} else {
		p.printDecision(in, d)
		p.printExplanation(d, why)
	}
	if err == nil && !d.Allow {
		err = silent(ExitFinding)
	}
	return err
}

// decide asks through an engine, which adds the id, sources and
// the suggestion.
func decide(ctx context.Context, policy *engine.Policy, in decision.Input) (decision.Decision, error) {
	e := engine.New()
	e.Swap(policy)
	return e.Decide(ctx, in)
}

func (p *program) printDecision(in decision.Input, d decision.Decision) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(p.stdout, "  %-12s %s\n", name, printable(value))
		}
	}
	fmt.Fprintf(p.stdout, "%s  %s\n", p.verdict(d), printable(in.Metric))
	row("question", describeQuestion(in))
	row("clause", d.Clause)
	if d.Severity != "none" {
		row("severity", d.Severity)
	}
	for _, reason := range d.Reasons {
		row("reason", fmt.Sprintf("%s (%s): %s", reason.Code, reason.Clause, reason.Message))
	}
	row("obligations", describeObligations(d.Obligations))
	if d.Enforced != nil && !*d.Enforced {
		row("not enforced", "the mode is "+d.Mode)
	}
	row("suggestion", d.Suggestion)
	row("revision", d.Revision)
}

// verdict is the outcome, coloured on a terminal.
func (p *program) verdict(d decision.Decision) string {
	if !p.color.stdout {
		return d.Outcome
	}
	color := "31"
	if d.Allow {
		color = "32"
	}
	return "\x1b[" + color + "m" + d.Outcome + "\x1b[0m"
}

func describeQuestion(in decision.Input) string {
	text := in.Operation
	if in.Node != "" {
		text += " at " + in.Node
	}
	text += " as " + in.Role
	if len(in.Claims) > 0 {
		text += " with " + strings.Join(in.Claims, ", ")
	}
	if in.Purpose != "" {
		text += " for " + in.Purpose
	}
	if in.Retention != "" {
		text += ", kept " + in.Retention
	}
	return text + ", " + in.Time
}

func describeObligations(o decision.Obligations) string {
	var parts []string
	if o.Retention != "" {
		parts = append(parts, "keep at most "+o.Retention)
	}
	for _, l := range []struct {
		verb  string
		items []string
	}{
		{"drop", o.DropLabels},
		{"hash", o.HashLabels},
		{"refuse", o.ForbidLabels},
		{"rate", o.Rates},
	} {
		if len(l.items) > 0 {
			parts = append(parts, l.verb+" "+strings.Join(l.items, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func (p *program) isAllowedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "is-allowed METRIC NODE CHARTER",
		Short: "Say whether a node may collect a metric",
		Long: `Says whether the operator of a node, with all claims that roles of the charter
require, may collect a metric there now. The exit code is 0 for yes and 5 for no.
For other roles, operations, labels and times use check.`,
		Example: "  charter-admin is-allowed latency_p50 edge-1 policies/production/charter.yaml",
		Args:    arguments(3, 3, "METRIC, NODE and CHARTER"),
	}
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		flags := checkFlags{claims: []string{allClaims}, format: choice{value: formatTable}}
		flags.question = decision.Input{Metric: args[0], Node: args[1], Role: "node_operator", Operation: decision.Collect}
		return p.checkOne(ctx, args[2], flags)
	})
	return cmd
}
