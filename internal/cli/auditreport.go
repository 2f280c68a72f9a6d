package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/report"
)

type reportFlags struct {
	source      sourceFlags
	keys        keyFlags
	checkpoints []string
	quarter     string
	from, to    string
	node        string
	charters    []string
	unverified  bool
	file        string
	format      choice
}

func (p *program) auditReportCommand() *cobra.Command {
	flags := reportFlags{format: choice{values: []string{string(report.Markdown), string(report.JSON), string(report.HTML)}}}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Report on a quarter, or on what was collected at a node",
		Long: `Makes a report of a period from the entries of the ledger: the audit report of
everything, or with --node the data-collection report of one node. Every figure
cites the entries that it was counted from, and the report says what is missing.

The whole ledger is verified as it is read, as audit verify does with the same
--key, --witness and --checkpoint; the report says what that is worth. If anything
does not hold, there is no report, and the exit code is 6.

How long data may be kept is in the charters, not in the ledger: give those that
were in force with --charter. They are recognised by their digests.`,
		Example: `  charter-admin audit report --quarter 2026Q4 --key ledger.pub --format html -o 2026Q4.html
  charter-admin audit report --node edge-7 --from 2026-11-01 --to 2026-12-01 --charter charter.yaml
  charter-admin audit report --from 30d --server https://charter.example.org:8000 --key ledger.pub --format json`,
		Args: arguments(0, 0, "no arguments"),
	}
	flags.source.add(cmd)
	flags.keys.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&flags.checkpoints, "checkpoint", nil, "checkpoint that was kept elsewhere: a `file`, or the URL of a server; may be repeated")
	f.StringVar(&flags.quarter, "quarter", "", "`quarter` to report on, such as 2026Q4 (UTC)")
	f.StringVar(&flags.from, "from", "", "beginning of the period, a `time`: 2026-10-01, RFC 3339, or 30d (ago)")
	f.StringVar(&flags.to, "to", "", "end of the period, a `time`; it does not belong to the period (default now)")
	f.StringVar(&flags.node, "node", "", "report what was collected at this node `id`")
	f.StringArrayVar(&flags.charters, "charter", nil, "charter or bundle that was in force, a `file`; may be repeated")
	f.BoolVar(&flags.unverified, "insecure-unverified", false, "believe the ledger, its index and its server without verifying anything; the report says so")
	f.StringVarP(&flags.file, "output", "o", "", "`file` to write (default standard output)")
	flags.format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error { return p.auditReport(ctx, flags) })
	return cmd
}

func (p *program) auditReport(ctx context.Context, flags reportFlags) error {
	period, err := flags.period(p.now())
	if err != nil {
		return err
	}
	o := report.Options{Period: period}
	for _, path := range flags.charters {
		c, err := p.charterInForce(path)
		if err != nil {
			return err
		}
		o.Charters = append(o.Charters, c)
	}
	builder := report.NewAudit(o)
	if flags.node != "" {
		builder = report.NewCollection(flags.node, o)
	}
	return p.withSource(ctx, flags.source, func(s *source) error {
		document, err := p.report(ctx, s, flags, builder)
		if err != nil {
			return err
		}
		return p.writeReport(flags, document)
	})
}

// period is what the flags select.
func (f *reportFlags) period(now time.Time) (report.Period, error) {
	switch {
	case f.quarter != "" && (f.from != "" || f.to != ""):
		return report.Period{}, usagef("take --quarter, or --from and --to")
	case f.quarter != "":
		period, err := report.ParseQuarter(f.quarter)
		if err != nil {
			return period, usagef("--quarter: %w", err)
		}
		return period, nil
	case f.from == "":
		return report.Period{}, usagef("no period; give --quarter 2026Q4, or --from and --to")
	}
	from, err := moment(f.from, now)
	if err != nil {
		return report.Period{}, usagef("--from: %w", err)
	}
	to, err := moment(f.to, now)
	if err != nil {
		return report.Period{}, usagef("--to: %w", err)
	}
	if to.IsZero() {
		to = now
	}
	period, err := report.NewPeriod(from, to)
	if err != nil {
		return period, usagef("--from, --to: %w", err)
	}
	return period, nil
}

// charterInForce loads a charter, or the one in a bundle. What is wrong with it by
// the rules of today does not matter: it was in force.
func (p *program) charterInForce(path string) (*charter.Charter, error) {
	var c *charter.Charter
	var found diag.List
	if isBundle(path) {
		b, err := bundle.Open(path)
		if err != nil {
			return nil, invalid(fmt.Errorf("--charter: open %s: %w", path, err))
		}
		text, ok := b.File(bundle.CharterFile)
		if !ok {
			return nil, invalid(fmt.Errorf("--charter: %s holds no charter", path))
		}
		c, found = charter.Parse(bundle.CharterFile, text)
	} else {
		c, found = charter.Load(charterPath(path))
	}
	if c == nil || found.HasErrors() {
		return nil, errors.Join(p.printFindings(found), invalid(fmt.Errorf("--charter: %s is not a valid charter: %s", path, tally(found))))
	}
	return c, nil
}

// report makes the report of a ledger that verifies.
func (p *program) report(ctx context.Context, s *source, flags reportFlags, b report.Builder) (report.Document, error) {
	if flags.unverified {
		if len(flags.keys.keys)+len(flags.keys.witnesses)+len(flags.checkpoints) > 0 {
			return nil, usagef("--insecure-unverified verifies nothing; it does not go with --key, --witness and --checkpoint")
		}
		return report.Make(ctx, s.reader, b, report.Assurance{Level: report.Unverified})
	}
	t, err := flags.keys.load(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := t.checkOrigin(ctx, s); err != nil {
		return nil, err
	}
	t.IgnoreUnknown = len(t.Witnesses) == 0 // else a cosignature could be spoiled unseen
	bar := p.newBar("report")
	o := ledger.VerifyOptions{Keys: t.Keys, Pinned: t.pinned, Visit: b.Add, Progress: bar.show}
	if o.Heads, err = heads(flags.checkpoints); err != nil {
		return nil, err
	}
	found, err := ledger.Verify(ctx, s.Store, o)
	bar.clear()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &exitError{ExitVerify, fmt.Errorf("there is no report: %w%s", err, remedy(err))}
	}
	a := report.Assurance{Level: string(found.Level), Signed: found.Size > 0, KeysFrom: t.from, Witnessed: found.Witnessed}
	for _, k := range t.Log {
		a.Keys = append(a.Keys, keyName(k))
	}
	return b.Document(found.Head, a)
}

func (p *program) writeReport(flags reportFlags, d report.Document) error {
	format := report.Format(flags.format.String())
	if flags.file == "" {
		return report.Write(p.stdout, format, d)
	}
	var text bytes.Buffer
	if err := report.Write(&text, format, d); err != nil {
		return err
	}
	if err := writeWhole(flags.file, text.Bytes()); err != nil {
		return usagef("-o: %w", err)
	}
	return nil
}
