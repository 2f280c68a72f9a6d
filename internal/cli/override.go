package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/committee"
)

// submission is a request that the committee signed, and where it goes.
type submission struct {
	committee.Signed

	body []byte
}

// readSubmission reads a signed request, which must be of one of the kinds.
func readSubmission(file string, kinds ...string) (submission, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return submission{}, usagef("%w", err)
	}
	s, err := committee.Decode(data)
	if err != nil {
		return submission{}, usagef("%s: %w", file, err)
	}
	if !slices.Contains(kinds, s.Request.Kind) {
		return submission{}, usagef("%s: a request of kind %s; this takes %s", file, s.Request.Kind, strings.Join(kinds, " or "))
	}
	return submission{s, data}, nil
}

// path is where the server takes a request of that kind.
func (s *submission) path() string {
	node, override := url.PathEscape(s.Request.Node), url.PathEscape(s.Request.Override)
	switch s.Request.Kind {
	case committee.Override:
		return "/v1/overrides"
	case committee.Renew:
		return "/v1/overrides/" + override + "/renew"
	case committee.EndOverride:
		return "/v1/overrides/" + override + "/end"
	case committee.Restore:
		return "/v1/nodes/" + node + "/restore"
	case committee.Revoke:
		return "/v1/revocations"
	default:
		return "/v1/revocations/" + node + "/end"
	}
}

// submitCommand brings signed requests of some kinds to a server.
func (p *program) submitCommand(cmd *cobra.Command, kinds ...string) *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd.Args = arguments(1, 1, "a file with a signed request")
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		s, err := readSubmission(args[0], kinds...)
		if err != nil {
			return err
		}
		return p.submit(ctx, f, s, format.is(formatJSON))
	})
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) submit(ctx context.Context, f remoteFlags, s submission, asJSON bool) error {
	server, err := p.remote(f, true)
	if err != nil {
		return err
	}
	body, err := server.post(ctx, s.path(), s.body, "")
	if err != nil {
		return err
	}
	return answered(p, body, asJSON, func(a overrideAnswer) error {
		var text string
		switch s.Request.Kind {
		case committee.Restore:
			text = fmt.Sprintf("node %s has the standing %s", a.ID, a.Standing)
		case committee.Revoke:
			text = fmt.Sprintf("node %s may collect no more; it may export its own data until %s", a.Node, instantText(a.ExportUntil))
		case committee.EndRevocation:
			text = fmt.Sprintf("node %s has its data access back", a.ID)
		default:
			text = fmt.Sprintf("override %s: %s", a.ID, a.state())
		}
		_, err := fmt.Fprintln(p.stdout, printable(text))
		return err
	})
}

// overrideAnswer is what of an override, or of what else a request brought about, is
// shown.
type overrideAnswer struct {
	ID, Node, Standing, Retention string

	Clauses, Nodes, Purposes []string
	Active                   bool
	Until, Ended             time.Time
	ExportUntil              time.Time `json:"export_until"`
	EndedBy                  string    `json:"ended_by"`
}

func (o *overrideAnswer) state() string {
	if o.Active {
		return "in force until " + instantText(o.Until)
	}
	return "ended at " + instantText(o.Ended) + " by " + o.EndedBy
}

func (p *program) restoreCommand() *cobra.Command {
	return p.submitCommand(&cobra.Command{
		Use:   "restore FILE",
		Short: "Give a node its good standing back, by a signed request",
		Long: `Brings a request of kind restore, which members of the committee signed, to a
charter-server. charter-admin committee makes and signs requests. The signatures are
the permission; the token only has to be one that the server knows.`,
		Example: `  charter-admin restore edge-7.json --server https://charter.example.org:8000`,
	}, committee.Restore)
}

func (p *program) overrideCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "override",
		Short: "Emergency overrides, by signed requests",
		Args:  cobra.ArbitraryArgs,
		RunE:  p.unknownCommand,
	}
	cmd.AddCommand(
		p.submitCommand(&cobra.Command{Use: "submit FILE", Short: "Bring a signed request of kind override or renew"}, committee.Override, committee.Renew),
		p.submitCommand(&cobra.Command{Use: "end FILE", Short: "Bring a signed request of kind end-override"}, committee.EndOverride),
		p.overrideList(),
	)
	return cmd
}

func (p *program) overrideList() *cobra.Command {
	var f remoteFlags
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List overrides, the newest first",
		Args:  arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			body, err := p.askServer(ctx, f, "/v1/overrides")
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(a struct{ Overrides []overrideAnswer }) error {
				return p.columns("ID\tSTATE\tCLAUSES\tNODES\tGRANTS", func(w io.Writer) {
					for _, o := range a.Overrides {
						nodes := "all"
						if len(o.Nodes) > 0 {
							nodes = strings.Join(o.Nodes, ",")
						}
						grants := append(slices.Clone(o.Purposes), o.Retention)
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(o.ID), printable(o.state()), printable(strings.Join(o.Clauses, ",")), printable(nodes),
							printable(strings.Trim(strings.Join(grants, ","), ",")))
					}
				})
			})
		}),
	}
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) revokeCommand() *cobra.Command {
	var f remoteFlags
	var reason, file string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "revoke NODE --reason REASON | --signed FILE",
		Short: "End a node's data access, or give it back",
		Long: `Ends the data access of a node: it may collect nothing from then on, and export its
own data as long as the charter says. With a token of the scope committee, NODE and
--reason are enough; a node may do so itself, with the reason consent_withdrawn.
--signed brings a request of the committee, of kind revoke, or end-revocation to give
the access back.

Reasons: consent_withdrawn, decommissioned, key_compromised, legal, violation, other.`,
		Example: `  charter-admin revoke edge-7 --reason decommissioned
  charter-admin revoke --signed end-revocation.json`,
		Args: arguments(0, 1, "the name of a node"),
		RunE: run(func(ctx context.Context, args []string) error {
			if file != "" {
				if len(args) > 0 || reason != "" {
					return usagef("take NODE with --reason, or --signed, not both")
				}
				s, err := readSubmission(file, committee.Revoke, committee.EndRevocation)
				if err != nil {
					return err
				}
				return p.submit(ctx, f, s, format.is(formatJSON))
			}
			if len(args) == 0 || reason == "" {
				return usagef("revoke needs NODE and --reason, or --signed FILE; see charter-admin revoke --help")
			}
			return p.revoke(ctx, f, args[0], reason, format.is(formatJSON))
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, one of the reasons above")
	cmd.Flags().StringVar(&file, "signed", "", "`file` with a signed request")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) revoke(ctx context.Context, f remoteFlags, node, reason string, asJSON bool) error {
	server, err := p.remote(f, true)
	if err != nil {
		return err
	}
	body, err := server.post(ctx, "/v1/revocations", map[string]string{"node": node, "reason": reason}, rand.Text())
	if err != nil {
		return err
	}
	return answered(p, body, asJSON, func(a overrideAnswer) error {
		if a.Node == "" {
			return errors.New("the answer names no node")
		}
		_, err := fmt.Fprintf(p.stdout, "node %s may collect no more; it may export its own data until %s\n", printable(a.Node), instantText(a.ExportUntil))
		return err
	})
}
