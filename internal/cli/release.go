package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/fleet"
)

// Paths of releases and rollouts.
const (
	releasesPath = "/v1/releases"
	rolloutsPath = "/v1/rollouts"
)

// maxUpload bounds an archive of releases in bytes.
const maxUpload = 136 << 20

func (p *program) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Publish releases on a server, and roll them out in stages",
		Long: `Brings a signed release to a charter-server, which verifies it with its own trust
policy and offers it to more and more nodes of its channel. The server signs nothing:
the release that a rollback needs is signed beforehand and comes along.

A rollout goes back by itself when too many nodes cannot activate the release, deny
more than the others, or become slow. It then waits for a person. Commands that change
something take a token with the scope admin, the others audit.`,
		Args: cobra.ArbitraryArgs,
		RunE: p.unknownCommand,
	}
	cmd.AddCommand(
		p.releasePublish(), p.releaseList(), p.releaseStatus(),
		p.releaseStep("promote", "Go on with the next stage at once, or with a rollout that was halted"),
		p.releaseStep("halt", "Keep a release from reaching further nodes"),
		p.releaseStep("rollback", "Give the nodes that have a release its rollback"),
	)
	return cmd
}

// beginning is what begins a rollout; what is absent is as the server has it.
type beginning struct {
	Channel  string         `json:"channel"`
	Sequence int64          `json:"sequence"`
	Stages   []fleet.Stage  `json:"stages,omitempty"`
	Gates    map[string]any `json:"gates,omitempty"`
	Manual   bool           `json:"manual,omitempty"`
}

func (p *program) releasePublish() *cobra.Command {
	var f remoteFlags
	var b beginning
	var stages []string
	var only bool
	var latency time.Duration
	gates := fleet.DefaultGates()
	latency = time.Duration(gates.Latency)
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "publish FILE",
		Short: "Publish a release with its rollback, and begin to roll it out",
		Long: `Sends an archive to the server that save has written: an OCI image layout with the
release of sequence n, and an earlier release signed once more under n+1, which is its
rollback. The first release of a channel comes alone. To publish the same again changes
nothing.

A stage is labels that nodes must have and a percentage of these, with the time that
it lasts: --stage env=canary,100%:30m --stage 10%:1h --stage 100%:10m. The last one must
be all nodes; nodes that a stage has reached stay reached. The shares are of node names,
the same nodes every time.`,
		Example: `  charter-admin save oci://registry.example.org/charter:v5 oci://registry.example.org/charter:v5-rollback -o v5.tar
  charter-admin release publish v5.tar --server https://charter.example.org --stage 5%:10m --stage 100%:10m`,
		Args: arguments(1, 1, "the FILE that save has written"),
	}
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		for _, text := range stages {
			s, err := parseStage(text)
			if err != nil {
				return usagef("--stage %q: %w", text, err)
			}
			b.Stages = append(b.Stages, s)
		}
		gates.Latency, b.Gates = fleet.Duration(latency), map[string]any{}
		for flag, field := range map[string]struct {
			name  string
			value any
		}{
			"max-errors": {"errors", gates.Errors}, "max-violations": {"violations", gates.Violations}, "max-latency": {"latency", gates.Latency},
			"min-nodes": {"min_nodes", gates.Nodes}, "min-decisions": {"min_decisions", gates.Decisions},
		} {
			if cmd.Flags().Changed(flag) {
				b.Gates[field.name] = field.value
			}
		}
		archive, err := readUpload(args[0])
		if err != nil {
			return err
		}
		server, err := p.remote(f, true)
		if err != nil {
			return err
		}
		return p.publish(ctx, server, archive, b, only, format.is(formatJSON))
	})
	cmd.Flags().StringArrayVar(&stages, "stage", nil, "`[LABEL=VALUE,…,]PERCENT%:TIME`, again for each stage (default 5%:10m, 25%:10m, 100%:10m)")
	cmd.Flags().BoolVar(&b.Manual, "manual", false, "go on to the next stage only when promoted")
	cmd.Flags().BoolVar(&only, "only-publish", false, "begin no rollout")
	cmd.Flags().Float64Var(&gates.Errors, "max-errors", gates.Errors, "`share` of the reached nodes that may fail, 0 to 1")
	cmd.Flags().Float64Var(&gates.Violations, "max-violations", gates.Violations, "by how much the `share` of denied questions may be larger than on the other nodes, 0 to 1")
	cmd.Flags().DurationVar(&latency, "max-latency", latency, "`time` that 99 of 100 decisions may take on the nodes, by their median")
	cmd.Flags().IntVar(&gates.Nodes, "min-nodes", gates.Nodes, "`number` of nodes that must have been heard before a stage is judged, or all where it has no more; with 1, one node may decide")
	cmd.Flags().Uint64Var(&gates.Decisions, "min-decisions", gates.Decisions, "`number` of decisions before shares of them are judged")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) publish(ctx context.Context, server *remote, archive []byte, b beginning, only, asJSON bool) error {
	body, err := server.upload(ctx, releasesPath, archive, "application/x-tar")
	if err != nil {
		return err
	}
	var published fleet.Published
	if err := json.Unmarshal(body, &published); err != nil {
		return fmt.Errorf("the answer is not understood: %w", err)
	}
	r := published.Release
	if !asJSON {
		what := "published"
		if published.Again {
			what = "was published before"
		}
		fmt.Fprintf(p.stdout, "release %d of %s %s: %s, %s\n", r.Sequence, printable(r.Channel), what, printable(r.Revision), r.Digest)
		if r.Rollback != 0 {
			fmt.Fprintf(p.stdout, "its rollback is %d\n", r.Rollback)
		}
	}
	if only {
		return answered(p, body, asJSON, func(fleet.Published) error { return nil })
	}
	b.Channel, b.Sequence = r.Channel, r.Sequence
	if body, err = server.post(ctx, rolloutsPath, b, ""); err != nil {
		return err
	}
	return answered(p, body, asJSON, p.showStep)
}

// parseStage reads a stage as [fleet.Stage.String] writes it.
func parseStage(text string) (fleet.Stage, error) {
	var s fleet.Stage
	who, soak, ok := strings.Cut(text, ":")
	if !ok {
		return s, fmt.Errorf("the time is missing, as in 25%%:10m")
	}
	if err := s.Soak.UnmarshalText([]byte(soak)); err != nil {
		return s, err
	}
	for part := range strings.SplitSeq(who, ",") {
		if name, value, isLabel := strings.Cut(part, "="); isLabel {
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
			s.Labels[name] = value
			continue
		}
		digits, isShare := strings.CutSuffix(part, "%")
		n, err := strconv.Atoi(digits)
		if !isShare || err != nil || s.Percent != 0 {
			return s, fmt.Errorf("%q is neither LABEL=VALUE nor the one PERCENT%%", part)
		}
		s.Percent = n
	}
	return s, nil
}

// readUpload reads a file that is sent as a whole.
func readUpload(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef("%w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxUpload+1))
	_ = file.Close() // it was only read
	if err != nil {
		return nil, usagef("%w", err)
	}
	if len(data) > maxUpload {
		return nil, usagef("%s is larger than %d bytes", path, maxUpload)
	}
	return data, nil
}

func (p *program) releaseList() *cobra.Command {
	var f remoteFlags
	var channel string
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the releases that were published on a server, the newest first",
		Args:  arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			path := releasesPath
			if channel != "" {
				path += "?" + url.Values{"channel": {channel}}.Encode()
			}
			body, err := p.askServer(ctx, f, path)
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(a struct{ Releases []fleet.Release }) error {
				return p.columns("CHANNEL\tSEQUENCE\tREVISION\tROLLBACK OF\tPUBLISHED\tBY\tSIGNERS\tEXPIRES", func(w io.Writer) {
					for _, r := range a.Releases {
						fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(r.Channel), r.Sequence, printable(r.Revision), sequenceText(r.RollbackOf),
							instantText(r.Published), printable(r.By), printable(strings.Join(r.Signers, ", ")), instantText(r.Expires))
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&channel, "channel", "", "of this `channel` alone")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func sequenceText(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// rolloutsAnswer is what the server says about its rollouts.
type rolloutsAnswer struct{ Rollouts []fleet.Progress }

func (p *program) releaseStatus() *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "status [CHANNEL]",
		Short: "Show how far releases have got, and what their nodes report",
		Args:  arguments(0, 1, "at most one CHANNEL"),
		RunE: run(func(ctx context.Context, args []string) error {
			body, err := p.askServer(ctx, f, rolloutsPath)
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(a rolloutsAnswer) error {
				shown := 0
				for _, r := range a.Rollouts {
					if len(args) == 0 || args[0] == r.Channel {
						p.showProgress(r)
						shown++
					}
				}
				if shown == 0 {
					return usagef("nothing is rolled out there; release publish begins")
				}
				return nil
			})
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) showProgress(r fleet.Progress) {
	fmt.Fprintf(p.stdout, "release %d of %s: %s\n", r.Sequence, printable(r.Channel), rolloutText(r.Rollout))
	m, g := r.Measures, r.Plan.Gates
	facts := present(
		fact{"digest", r.Digest}, fact{"rollback", sequenceText(r.Rollback)}, fact{"the others have", sequenceText(r.Before)},
		fact{"since", instantText(r.Since)}, fact{"by", r.By}, fact{"cause", causeText(r.Cause)},
	)
	for i, s := range r.Plan.Stages {
		mark := ""
		if i == r.Stage && r.State == fleet.Running {
			mark = "  (now)"
		}
		facts = append(facts, fact{"stage " + strconv.Itoa(i+1), s.String() + mark})
	}
	facts = append(facts,
		fact{"nodes", fmt.Sprintf("%d report, %d were reached, %d run it", m.Nodes, m.Reached, m.Runs)},
		fact{"heard", fmt.Sprintf("%d nodes, want %d; %d reports", m.Heard, m.Needed, m.Reports)},
		fact{"errors", shareText(m.Errors) + ", at most " + shareText(&g.Errors)},
		fact{"denied", fmt.Sprintf("%s, %s on the others, at most %s more", shareText(m.Denied), shareText(m.DeniedBefore), shareText(&g.Violations))},
		fact{"latency p99", fmt.Sprintf("%s, %s on the others, at most %s", latencyText(m.Latency), latencyText(m.LatencyBefore), g.Latency)},
	)
	p.printFacts(append(facts, present(fact{"waits for", waitsText(r)})...))
}

// rolloutText says where a rollout is.
func rolloutText(r fleet.Rollout) string {
	stage := fmt.Sprintf("stage %d of %d", r.Stage+1, len(r.Plan.Stages))
	switch r.State {
	case fleet.Running:
		return stage
	case fleet.Done:
		return "everybody gets it"
	case fleet.RolledBack:
		return fmt.Sprintf("rolled back with %d in %s", r.Rollback, stage)
	default:
		return fmt.Sprintf("%s in %s", printable(r.State), stage)
	}
}

func causeText(c *fleet.Cause) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("gate %s: %.4g, at most %.4g; %d reports of %d nodes", c.Gate, c.Value, c.Limit, c.Reports, c.Reached)
}

// waitsText says what a stage waits for, beside its time; "" for nothing.
func waitsText(r fleet.Progress) string {
	switch w := r.Measures.Waits; {
	case r.State != fleet.Running || w == "":
		return ""
	case w == fleet.WaitsForNodes:
		return "more nodes to be heard"
	default:
		return "a person: gate " + w + " does not hold for what one node alone reports; look at it, then promote or rollback"
	}
}

func shareText(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return strconv.FormatFloat(100**v, 'g', 4, 64) + " %"
}

func latencyText(seconds *float64) string {
	if seconds == nil {
		return "unknown"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(10 * time.Microsecond).String()
}

func (p *program) showStep(r fleet.Rollout) error {
	_, err := fmt.Fprintf(p.stdout, "release %d: %s\n", r.Sequence, rolloutText(r))
	return err
}

// releaseStep is a command that takes a step of a rollout, by the name of its route.
func (p *program) releaseStep(name, short string) *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   name + " [CHANNEL]",
		Short: short,
		Args:  arguments(0, 1, "at most one CHANNEL"),
		RunE: run(func(ctx context.Context, args []string) error {
			server, err := p.remote(f, true)
			if err != nil {
				return err
			}
			channel, err := theChannel(ctx, server, args)
			if err != nil {
				return err
			}
			body, err := server.post(ctx, rolloutsPath+"/"+url.PathEscape(channel)+"/"+name, struct{}{}, "")
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), p.showStep)
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

// theChannel is the one that was named, or the only one there is.
func theChannel(ctx context.Context, server *remote, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	body, err := server.get(ctx, rolloutsPath)
	if err != nil {
		return "", err
	}
	var a rolloutsAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return "", fmt.Errorf("the answer is not understood: %w", err)
	}
	if len(a.Rollouts) != 1 {
		return "", usagef("there are %d rollouts; name the CHANNEL", len(a.Rollouts))
	}
	return a.Rollouts[0].Channel, nil
}
