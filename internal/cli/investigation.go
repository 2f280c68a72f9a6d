package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// investigationAnswer is what of an investigation is shown.
type investigationAnswer struct {
	ID, Violation, Node, Severity, Type, Status, Outcome, Assignee string

	OpenedBy string `json:"opened_by"`
	Opened   time.Time
	Due      time.Time
	Closed   time.Time
	Overdue  bool
	Notes    []struct {
		Time time.Time
		By   string
		Text struct{ Hash string }
	}
}

// investigationStep is a step as the server reads it.
type investigationStep struct {
	Violation string `json:"violation,omitempty"`
	Assignee  string `json:"assignee,omitempty"`
	Outcome   string `json:"outcome,omitempty"`
	Text      string `json:"text,omitempty"`
}

func (p *program) investigationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "investigation",
		Short: "Look into violations",
		Long: `Investigations of violations at a charter-server. They take a token with the scope
committee; to list and show them, audit does as well. A report becomes an incident,
with consequences for the node, when an investigation is resolved as confirmed; an
incident that is resolved as unfounded counts no more. Every step is an entry of the
ledger; what is written with --text is kept outside of it.`,
		Args: cobra.ArbitraryArgs,
		RunE: p.unknownCommand,
	}
	cmd.AddCommand(
		p.investigationList(), p.investigationShow(),
		p.investigationStep("open VIOLATION", "Open the investigation of a violation", "", false, true),
		p.investigationStep("assign ID", "Give an investigation to somebody", "assign", false, true),
		p.investigationStep("note ID", "Add a note", "notes", false, false),
		p.investigationStep("resolve ID", "Close an investigation with an outcome", "resolve", true, false),
		p.investigationStep("dismiss ID", "Put an investigation aside", "dismiss", false, false),
	)
	return cmd
}

const investigationsPath = "/v1/investigations"

func (p *program) investigationList() *cobra.Command {
	var f remoteFlags
	var node, status string
	var limit int
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List investigations, the newest first",
		Args:  arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"node": node, "status": status} {
				if value != "" {
					q.Set(name, value)
				}
			}
			body, err := p.askServer(ctx, f, investigationsPath+"?"+q.Encode())
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(a struct{ Investigations []investigationAnswer }) error {
				return p.columns("ID\tSTATUS\tSEVERITY\tNODE\tVIOLATION\tASSIGNEE\tDUE", func(w io.Writer) {
					for _, i := range a.Investigations {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(i.ID), state(i), printable(i.Severity), printable(i.Node),
							printable(i.Violation), printable(i.Assignee), instantText(i.Due))
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "of this `node`")
	cmd.Flags().StringVar(&status, "status", "", "`one` of open, resolved and dismissed")
	cmd.Flags().IntVar(&limit, "limit", 100, "`number` of investigations at most")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

// state is the status of an investigation in a word.
func state(i investigationAnswer) string {
	switch {
	case i.Outcome != "":
		return printable(i.Outcome)
	case i.Overdue && i.Status == "open":
		return "overdue"
	default:
		return printable(i.Status)
	}
}

// instantText writes a time for people; "" for none.
func instantText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// columns writes a table under a head.
func (p *program) columns(head string, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(w)
	return w.Flush()
}

// askServer asks a server for a path.
func (p *program) askServer(ctx context.Context, f remoteFlags, path string) ([]byte, error) {
	server, err := p.remote(f, true)
	if err != nil {
		return nil, err
	}
	return server.get(ctx, path)
}

func (p *program) investigationShow() *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an investigation",
		Args:  arguments(1, 1, "the id of an investigation"),
		RunE: run(func(ctx context.Context, args []string) error {
			body, err := p.askServer(ctx, f, investigationsPath+"/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), p.showInvestigation)
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) showInvestigation(i investigationAnswer) error {
	facts := present(
		fact{"violation", i.Violation}, fact{"node", i.Node}, fact{"type", i.Type}, fact{"severity", i.Severity}, fact{"status", state(i)},
		fact{"opened", instantText(i.Opened) + " by " + i.OpenedBy}, fact{"assignee", i.Assignee}, fact{"due", instantText(i.Due)},
		fact{"closed", instantText(i.Closed)},
	)
	for _, n := range i.Notes {
		facts = append(facts, fact{"note", instantText(n.Time) + " by " + n.By + ", evidence " + n.Text.Hash})
	}
	fmt.Fprintf(p.stdout, "investigation %s\n", printable(i.ID))
	p.printFacts(facts)
	return nil
}

// investigationStep is a command that takes a step: name is that of its route, "" to
// open an investigation.
func (p *program) investigationStep(use, short, name string, outcome, assignee bool) *cobra.Command {
	var f remoteFlags
	var s investigationStep
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  arguments(1, 1, "an id"),
		RunE: run(func(ctx context.Context, args []string) error {
			server, err := p.remote(f, true)
			if err != nil {
				return err
			}
			path := investigationsPath
			if name == "" {
				s.Violation = args[0]
			} else {
				path += "/" + url.PathEscape(args[0]) + "/" + name
			}
			body, err := server.post(ctx, path, s, rand.Text())
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(i investigationAnswer) error {
				_, err := fmt.Fprintf(p.stdout, "investigation %s of violation %s: %s\n", printable(i.ID), printable(i.Violation), state(i))
				return err
			})
		}),
	}
	if outcome {
		cmd.Flags().StringVar(&s.Outcome, "outcome", "", "`outcome`: confirmed or unfounded")
	}
	if assignee {
		cmd.Flags().StringVar(&s.Assignee, "assignee", "", "`who` looks into it, such as the id of a member")
	}
	cmd.Flags().StringVar(&s.Text, "text", "", "a `note`, which stays outside the ledger")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}
