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

	"github.com/westworld-charter/charter/internal/fleet"
)

// fleetAnswer is who runs what.
type fleetAnswer struct {
	Summary map[string]int
	Nodes   []fleet.Node
	OPAs    []fleet.OPA `json:"opas"`
	Next    string
}

func (p *program) nodesFleet() *cobra.Command {
	var f remoteFlags
	var condition string
	var limit int
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show which release each node runs, who is behind and who is degraded",
		Long: `Shows what nodes have reported about themselves. Conditions, the gravest first:
went_backwards (runs an older release than it has reported before, as when its disk was
replaced by an older copy), silent (owes reports), unknown_release, degraded, behind,
no_report (fetches releases and reports nothing), current.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if condition != "" {
				q.Set("condition", condition)
			}
			body, err := p.askServer(ctx, f, "/v1/fleet?"+q.Encode())
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), p.showFleet)
		}),
	}
	cmd.Flags().StringVar(&condition, "condition", "", "`one` of "+strings.Join(fleet.Conditions(), ", "))
	cmd.Flags().IntVar(&limit, "limit", 1000, "`number` of nodes at most")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

func (p *program) showFleet(a fleetAnswer) error {
	err := p.columns("NODE\tCONDITION\tSEQUENCE\tOFFERED\tREVISION\tHEARD\tVERSION\tTROUBLE", func(w io.Writer) {
		for _, n := range a.Nodes {
			var r fleet.Report
			if n.Report != nil {
				r = *n.Report
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(n.Node), strings.Join(n.Conditions, ","), sequenceText(r.Status.Sequence),
				sequenceText(n.Desired.Sequence), printable(r.Status.Revision), p.heard(n.Arrived), printable(r.Version), printable(troubleText(n)))
		}
	})
	if err != nil {
		return err
	}
	if len(a.OPAs) > 0 {
		fmt.Fprintln(p.stdout)
		err = p.columns("OPA\tBUNDLE\tREVISION\tHEARD\tTROUBLE", func(w io.Writer) {
			for _, o := range a.OPAs {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(o.ID), printable(o.Bundle), printable(o.Revision), p.heard(o.Arrived),
					printable(strings.TrimSpace(o.Code+" "+o.Message)))
			}
		})
	}
	var sums []string
	for _, c := range fleet.Conditions() {
		if k := a.Summary[c]; k > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", k, c))
		}
	}
	fmt.Fprintf(p.stderr, "%s\n", strings.Join(sums, ", "))
	if a.Next != "" {
		fmt.Fprintln(p.stderr, "there are more; raise --limit")
	}
	return err
}

// heard says how long ago something was heard of.
func (p *program) heard(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return max(0, p.now().Sub(at)).Round(time.Second).String() + " ago"
}

// troubleText says what is wrong with a node.
func troubleText(n fleet.Node) string {
	var parts []string
	if n.Condition == fleet.WentBackwards && n.Back != nil {
		parts = append(parts, fmt.Sprintf("ran %d before", n.Back.From))
	}
	if n.Report != nil && n.Report.Status.LastError != nil {
		parts = append(parts, n.Report.Status.LastError.Code)
	}
	return strings.Join(parts, ", ")
}
