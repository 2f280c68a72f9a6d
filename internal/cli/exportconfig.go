package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/exportconfig"
	"github.com/westworld-charter/charter/internal/policytest"
)

// Targets of export-config.
const (
	targetPrometheus    = "prometheus"
	targetHTTPSD        = "http-sd"
	targetOTelFilter    = "otel-filter"
	targetOTelRedaction = "otel-redaction"
	targetOTEP4738      = "otep4738"
)

type exportConfigFlags struct {
	question     checkFlags
	target       choice
	leaveOut     []string
	targetLabels []string
	address      string
	output       string
}

func (p *program) exportConfigCommand() *cobra.Command {
	flags := exportConfigFlags{target: choice{values: []string{
		targetPrometheus, targetHTTPSD, targetOTelFilter, targetOTelRedaction, targetOTEP4738,
	}}}
	cmd := &cobra.Command{
		Use:   "export-config --target TARGET CHARTER|BUNDLE",
		Short: "Write what a node may collect as configuration of another program",
		Long: `Writes a configuration that keeps exactly the series the charter allows a node
and role, with exactly the labels that are left, for programs that know nothing
of charters:

  prometheus      metric_relabel_configs of a scrape configuration
  http-sd         target groups for http_sd_configs or file_sd_configs
  otel-filter     a filter processor of the OpenTelemetry Collector
  otel-redaction  filter and transform processors, which also remove attributes
  otep4738        Telemetry Policies as OTEP 4738 describes them

What a target cannot express is refused with a code and the clause, and the exit
code is 5; nothing is approximated. --leave-out ID drops the series of a clause
that is in the way. A configuration holds for one node, role and moment: it says
when to export again. The time is now unless --at says otherwise; with it the
same charter gives the same bytes.`,
		Example: `  charter-admin export-config --target prometheus --node edge-1 charter.yaml
  charter-admin export-config --target prometheus --retention 15d --leave-out node.zfs,node.bcache charter.yaml
  charter-admin export-config --target http-sd --address '{node}.mesh.example:9100' --state state.yaml charter.yaml
  charter-admin export-config --target otel-redaction --at 2026-06-01 -o charter-processors.yaml charter.yaml`,
		Args: arguments(1, 1, "one CHARTER or BUNDLE"),
	}
	f, q := cmd.Flags(), &flags.question
	f.Var(&flags.target, "target", "what to write for: "+strings.Join(flags.target.values, ", "))
	f.StringVar(&q.question.Node, "node", "local", "`id` of the node that collects")
	f.StringVar(&q.question.Role, "role", "node_operator", "`role` in which it does")
	f.StringVar(&q.question.Operation, "operation", decision.Collect, "`operation`: collect, read or export")
	f.StringVar(&q.question.Purpose, "purpose", "", "`purpose` of reading or exporting")
	f.StringVar(&q.question.Retention, "retention", "", "`duration` for which the target keeps series, such as 15d")
	f.StringVar(&q.question.Time, "at", "", "`time` for which to decide, RFC 3339 or a date (default now)")
	f.StringSliceVar(&q.claims, "claims", []string{allClaims}, "`claims` of the role, or all")
	f.StringVar(&q.state, "state", "", "state document, YAML or JSON `file`")
	f.StringSliceVar(&flags.leaveOut, "leave-out", nil, "`clauses` whose series are dropped although they are allowed")
	f.StringSliceVar(&flags.targetLabels, "target-label", nil, "`labels` of the scraped targets besides job and instance (prometheus)")
	f.StringVar(&flags.address, "address", "{node}:9100", "`address` of a node (http-sd)")
	f.StringVarP(&flags.output, "output", "o", "", "write to this `file` instead of standard output")
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if flags.target.value == "" {
			return usagef("export-config needs --target, one of %s", strings.Join(flags.target.values, ", "))
		}
		return p.exportConfig(ctx, args[0], flags)
	})
	return cmd
}

func (p *program) exportConfig(ctx context.Context, path string, flags exportConfigFlags) error {
	policy, err := p.loadPolicy(ctx, path, flags.question.state)
	if err != nil {
		return err
	}
	in, err := p.input(policy.Charter(), flags.question)
	if err != nil {
		return err
	}
	options := exportconfig.Options{LeaveOut: flags.leaveOut}
	if flags.question.state != "" {
		if options.State, err = policytest.LoadState(flags.question.state); err != nil {
			return usagef("export-config: %w", err)
		}
	}
	data, notes, err := configuration(ctx, policy, in, options, flags)
	if err != nil {
		return p.configurationError(policy.Charter(), err)
	}
	if flags.output != "" {
		err = writeWhole(flags.output, data)
	} else {
		_, err = p.stdout.Write(data)
	}
	for _, note := range notes {
		fmt.Fprintf(p.stderr, "%s: %s\n", flags.target.value, printable(note))
	}
	return err
}

// configuration makes the bytes for the target, and notes about what they leave to
// whoever uses them.
func configuration(ctx context.Context, policy *engine.Policy, in decision.Input, o exportconfig.Options, flags exportConfigFlags) (data []byte, notes []string, err error) {
	if flags.target.is(targetHTTPSD) {
		groups, err := exportconfig.Targets(ctx, policy, in, o, flags.address)
		if err != nil {
			return nil, nil, err
		}
		data, err = exportconfig.EncodeTargets(groups)
		return data, []string{plural(len(groups), "target")}, err
	}
	plan, err := exportconfig.Build(ctx, policy, in, o)
	if err != nil {
		return nil, nil, err
	}
	switch flags.target.value {
	case targetPrometheus:
		data, err = plan.Prometheus(flags.targetLabels)
	case targetOTelFilter:
		data, err = plan.OTelFilter()
	case targetOTelRedaction:
		data, err = plan.OTelRedaction()
	default:
		data, err = plan.OTEP4738()
		notes = append(notes, "the OTEP has implementations fail open; these policies state the charter, they do not enforce it")
	}
	if plan.Empty() {
		notes = append(notes, "nothing may be kept")
	}
	return data, append(notes, plan.Remaining()...), err
}

// configurationError gives every refusal its place and exit code.
func (p *program) configurationError(c *charter.Charter, err error) error {
	var refused *exportconfig.Refused
	var unknown *exportconfig.UnknownClauseError
	var field *decision.FieldError
	switch {
	case errors.As(err, &refused):
		if err := p.printFindings(refused.Findings); err != nil {
			return err
		}
		return &exitError{ExitFinding, fmt.Errorf("%s cannot express %s: %s", refused.Target, c.Revision(), tally(refused.Findings))}
	case errors.As(err, &unknown), errors.Is(err, exportconfig.ErrAddress):
		return usagef("export-config: %w", err)
	case errors.As(err, &field):
		var messages []string
		for _, one := range field.All() {
			messages = append(messages, one.Message)
		}
		return usagef("export-config: %s", strings.Join(messages, "; "))
	default:
		return err
	}
}
