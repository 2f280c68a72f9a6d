package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/export"
	"github.com/westworld-charter/charter/internal/ledger"
)

// followEvery is how often a followed ledger is looked at.
const followEvery = 500 * time.Millisecond

type listFlags struct {
	source         sourceFlags
	filter         filterFlags
	limit          int
	newest, follow bool
	format         choice
}

func (p *program) listCommand() *cobra.Command {
	flags := listFlags{format: choice{values: []string{formatPretty, string(export.JSON), string(export.NDJSON), string(export.CSV)}}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List entries, with filters",
		Long: `Lists entries in the order of the ledger, or the newest first. An entry must fit
all filters; of --kind and --severity one of several. Times are half-open: --since
is inclusive, --until exclusive. With --follow it goes on with what is appended.

The json and ndjson forms have the members of the entry after its index and cid.`,
		Example: `  charter-admin audit list --node edge-7 --severity critical,high --since 7d
  charter-admin audit list --newest --limit 20
  charter-admin audit list --kind denial --follow --format ndjson`,
		Args: arguments(0, 0, "no arguments"),
	}
	flags.source.add(cmd)
	flags.filter.add(cmd)
	cmd.Flags().IntVar(&flags.limit, "limit", 0, "stop after this `number` of entries (default all)")
	cmd.Flags().BoolVar(&flags.newest, "newest", false, "newest entries first")
	cmd.Flags().BoolVar(&flags.follow, "follow", false, "wait for more entries")
	flags.format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error { return p.auditList(ctx, flags) })
	return cmd
}

func (p *program) auditList(ctx context.Context, flags listFlags) error {
	f, err := flags.filter.filter(p.now())
	switch {
	case err != nil:
		return err
	case flags.limit < 0:
		return usagef("--limit %d: it is a number of entries", flags.limit)
	case flags.follow && flags.newest:
		return usagef("--follow shows what is appended last; it does not go with --newest")
	case flags.follow && flags.format.is(string(export.JSON)):
		return usagef("--follow has no end, and a JSON array needs one; take --format ndjson")
	}
	f.Limit, f.Newest = flags.limit, flags.newest
	return p.withSource(ctx, flags.source, func(s *source) error {
		out, err := p.listing(flags.format)
		if err != nil {
			return err
		}
		if flags.follow {
			return p.follow(ctx, s, f, out)
		}
		for row, err := range s.Find(ctx, f) {
			if err != nil {
				return err
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
		return out.Close()
	})
}

// listing is where listed entries go.
func (p *program) listing(format choice) (export.Writer, error) {
	if format.is(formatPretty) {
		return &prettyRows{p: p}, nil
	}
	return export.NewWriter(export.Format(format.String()), p.stdout)
}

// flusher is a writer that can show what it has so far.
type flusher interface{ Flush() error }

// follow shows entries as they come, until it has shown enough.
func (p *program) follow(ctx context.Context, s *source, f ledger.Filter, out export.Writer) error {
	limit := f.Limit
	f.Limit = 0
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for shown := 0; ; {
		size, _, err := s.Head(ctx)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
		if size > f.From {
			f.Before = size
			for row, err := range s.Find(ctx, f) {
				if err != nil {
					return err
				}
				if err := out.Write(row); err != nil {
					return err
				}
				if shown++; shown == limit {
					return out.Close()
				}
			}
			f.From = size
		}
		if w, ok := out.(flusher); ok {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err := p.stdout.Flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
