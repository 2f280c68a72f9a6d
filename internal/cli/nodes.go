package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// nodeAnswer is what of a node is shown.
type nodeAnswer struct {
	ID, Standing, Restore, Cause string

	Since, Until     time.Time
	Level, Incidents int
	Revocation       *struct {
		Reason      string
		Since       time.Time
		ExportUntil time.Time `json:"export_until"`
	}
	Violations []struct {
		ID, Source, Status, Clause, Severity, Investigation string

		Time time.Time
	}
	History []struct {
		Kind, Action, From, To, Cause, Reason string

		Time time.Time
	}
	Groups []string
}

func (p *program) nodesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "Show the standing of nodes",
		Long: `Shows what a charter-server knows about nodes: their standing, how it came about,
and their violations. That takes a token with the scope audit or committee; a node
may be shown itself.`,
		Args: cobra.ArbitraryArgs,
	}
	list := p.nodesList()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return p.unknownCommand(c, args)
		}
		return usagef("nodes needs a command; charter-admin nodes list lists all")
	}
	cmd.AddCommand(list, p.nodesShow(), p.nodesFleet(), p.nodesMirrors())
	return cmd
}

func (p *program) nodesList() *cobra.Command {
	var f remoteFlags
	var standing string
	var limit int
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the nodes of which something is known",
		Args:  arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if standing != "" {
				q.Set("standing", standing)
			}
			body, err := p.askServer(ctx, f, "/v1/nodes?"+q.Encode())
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(a struct{ Nodes []nodeAnswer }) error {
				return p.columns("NODE\tSTANDING\tSINCE\tUNTIL\tINCIDENTS\tDATA ACCESS", func(w io.Writer) {
					for _, n := range a.Nodes {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", printable(n.ID), printable(n.Standing), instantText(n.Since), instantText(n.Until), n.Incidents, n.access())
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&standing, "standing", "", "`one` of good, warned, suspended and quarantined")
	cmd.Flags().IntVar(&limit, "limit", 1000, "`number` of nodes at most")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

// access says what became of the data access of a node.
func (n *nodeAnswer) access() string {
	switch {
	case n.Revocation == nil:
		return ""
	case n.Revocation.ExportUntil.IsZero():
		return "revoked"
	default:
		return "revoked, export until " + instantText(n.Revocation.ExportUntil)
	}
}

func (p *program) nodesShow() *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "show NODE",
		Short: "Show a node with its violations and history",
		Args:  arguments(1, 1, "the name of a node"),
		RunE: run(func(ctx context.Context, args []string) error {
			body, err := p.askServer(ctx, f, "/v1/nodes/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), p.showNode)
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) showNode(n nodeAnswer) error {
	facts := present(
		fact{"standing", n.Standing}, fact{"since", instantText(n.Since)}, fact{"until", instantText(n.Until)}, fact{"lifted by", n.Restore},
		fact{"cause", n.Cause}, fact{"incidents", strconv.Itoa(n.Incidents)}, fact{"data access", n.access()},
		fact{"groups", strings.Join(n.Groups, ", ")},
	)
	for _, v := range n.Violations {
		facts = append(facts, fact{"violation", strings.Join([]string{instantText(v.Time), v.ID, v.Source, v.Status, v.Clause}, " ")})
	}
	for _, h := range n.History {
		what := h.Action
		if h.To != "" {
			what = h.From + " to " + h.To + " (" + h.Action + ")"
		}
		facts = append(facts, fact{h.Kind, strings.Join([]string{instantText(h.Time), what, h.Cause + h.Reason}, " ")})
	}
	fmt.Fprintf(p.stdout, "node %s\n", printable(n.ID))
	p.printFacts(facts)
	return nil
}
