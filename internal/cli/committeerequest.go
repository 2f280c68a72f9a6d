package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/ledger"
)

// requestFlags are those of all kinds of requests.
type requestFlags struct {
	charter, output, expires string
	from, until, last        string
	request                  committee.Request
}

func (p *program) committeeRequestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request KIND",
		Short: "Make a request for the committee to sign",
		Long: `Makes a request and writes it as JSON, without signatures. It is checked against
the charter at once, and again by whoever lets it have effect.

--reason is a code or a ticket without spaces, since requests are kept in the ledger
for good. Each request has effect once, before it expires.`,
		Args: cobra.ArbitraryArgs,
	}
	cmd.RunE = p.unknownCommand
	node := []string{"node"}
	for _, k := range []struct {
		kind, short, example string
		flags                []string
	}{
		{
			committee.Override, "Loosen clauses for a short time",
			"--charter charter.yaml --clause net.latency --retention 60d --for 2h --reason OPS-12 -o request.json",
			[]string{"clause", "nodes", "retention", "purpose", "from", "until", "for"},
		},
		{committee.Renew, "Let an override last longer", "--charter charter.yaml --override o-... --for 2h --reason OPS-12 -o request.json", []string{"override", "until", "for"}},
		{committee.EndOverride, "End an override before its time", "--charter charter.yaml --override o-... --reason solved -o request.json", []string{"override"}},
		{committee.Restore, "Give a node its good standing back", "--charter charter.yaml --node edge-7 --reason inspected -o request.json", node},
		{committee.Revoke, "End the data access of a node", "--charter charter.yaml --node edge-7 --reason decommissioned -o request.json", node},
		{committee.EndRevocation, "Give a node its data access back", "--charter charter.yaml --node edge-7 --reason returned -o request.json", node},
	} {
		cmd.AddCommand(p.requestCommand(k.kind, k.short, k.example, k.flags))
	}
	return cmd
}

func (p *program) requestCommand(kind, short, example string, flags []string) *cobra.Command {
	f := requestFlags{request: committee.Request{Kind: kind}}
	cmd := &cobra.Command{
		Use:     kind + " --charter FILE",
		Short:   short,
		Example: "  charter-admin committee request " + kind + " " + example,
		Args:    arguments(0, 0, "flags only"),
	}
	f.add(cmd, flags)
	cmd.RunE = run(func(_ context.Context, _ []string) error { return p.makeRequest(f) })
	return cmd
}

func (f *requestFlags) add(cmd *cobra.Command, names []string) {
	set, r := cmd.Flags(), &f.request
	set.StringVar(&f.charter, "charter", "", "the `file` of the charter that is in force")
	why := "a `code` or ticket, without spaces"
	if r.Kind == committee.Revoke {
		why = "a `code`: " + strings.Join(ledger.RevocationReasons(), ", ")
	}
	set.StringVar(&r.Reason, "reason", "", why)
	set.StringVar(&f.expires, "expires", "24h", "how long it can be signed and handed in, at most 7d, or until `when`")
	set.StringVarP(&f.output, "output", "o", "", "`file` to write (default standard output)")
	for _, name := range names {
		switch name {
		case "clause":
			set.StringArrayVar(&r.Clauses, "clause", nil, "`id` of a clause to be loosened; may be repeated")
		case "nodes":
			set.StringArrayVar(&r.Nodes, "node", nil, "exact `name` of a node; may be repeated (default all nodes)")
		case "node":
			set.StringVar(&r.Node, "node", "", "`name` of the node")
		case "override":
			set.StringVar(&r.Override, "override", "", "`id` of the override")
		case "retention":
			set.StringVar(&r.Retention, "retention", "", "longest `time` data may be kept meanwhile, such as 60d")
		case "purpose":
			set.StringArrayVar(&r.Purposes, "purpose", nil, "further `purpose` meanwhile; may be repeated")
		case "from":
			set.StringVar(&f.from, "from", "", "`when` it begins (default now)")
		case "until":
			set.StringVar(&f.until, "until", "", "`when` it ends")
		case "for":
			set.StringVar(&f.last, "for", "", "how `long` it lasts, instead of --until, such as 2h")
		}
	}
}

func (p *program) makeRequest(f requestFlags) error {
	if f.charter == "" {
		return usagef("request needs --charter FILE: what is asked for must be the charter's to give")
	}
	c, err := p.loadCharter(charterPath(f.charter))
	if err != nil {
		return err
	}
	now := p.now().UTC().Truncate(time.Second)
	r := f.request
	if err := f.times(&r, now); err != nil {
		return err
	}
	r.Charter = c.Metadata.Name
	if r.Nonce, err = committee.NewNonce(rand.Reader); err != nil {
		return err
	}
	if err := r.Check(c, now); err != nil {
		return refused(err)
	}
	if err := p.writeRequest(f.output, committee.Signed{Request: r}); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "it takes the signatures of %s with %s of the power, before %s\n",
		plural(c.Committee.Quorum.Heads, "member"), percent(committee.Share(c, r.Kind)), r.Expires.Format(time.RFC3339))
	return nil
}

// refused is a request that the charter does not permit, or one that is none.
func refused(err error) error {
	var e *committee.Error
	if errors.As(err, &e) && e.Code != committee.CodeInvalidRequest {
		return &exitError{ExitFinding, fmt.Errorf("request: %w [%s]", err, e.Code)}
	}
	return usagef("request: %w", err)
}

// times fills in those of the request.
func (f *requestFlags) times(r *committee.Request, now time.Time) (err error) {
	if f.until != "" && f.last != "" {
		return usagef("request: give --until or --for, not both")
	}
	if r.Kind == committee.Override {
		r.From = now
	}
	if f.from != "" {
		if r.From, err = point("--from", f.from, now); err != nil {
			return err
		}
	}
	begin := now
	if !r.From.IsZero() {
		begin = r.From
	}
	if f.last != "" {
		d, err := charter.ParseDuration(f.last)
		if err != nil {
			return usagef("--for: %w", err)
		}
		r.Until = begin.Add(d)
	}
	if f.until != "" {
		if r.Until, err = point("--until", f.until, now); err != nil {
			return err
		}
	}
	r.Expires, err = point("--expires", f.expires, now)
	return err
}

// point is an instant, or how far ahead of now it lies.
func point(flag, text string, now time.Time) (time.Time, error) {
	if d, err := charter.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	t, err := charter.ParseTime(text)
	if err != nil {
		return t, usagef("%s %q: it is neither RFC 3339, nor a date, nor a duration such as 2h", flag, text)
	}
	return t.UTC(), nil
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }
