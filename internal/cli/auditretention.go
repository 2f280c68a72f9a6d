package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/audit"
	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/ledger"
)

// Codes of what seal and prune refuse.
const (
	codeRetentionNotOver = "retention_not_over" // the charter wants these entries kept
	codeRetentionUnknown = "retention_unknown"  // nobody says how long
	codeCharterMismatch  = "charter_mismatch"   // another charter is in force
)

// refusal is a no with a code that programs can match.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(code, format string, args ...any) error {
	return &exitError{ExitFinding, &refusal{code, fmt.Sprintf(format, args...)}}
}

// retentionFlags say how long entries are kept.
type retentionFlags struct {
	charter string
	unsafe  bool
	dryRun  bool
	format  choice
}

func (f *retentionFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.charter, "charter", "", "`file` of the charter in force, where the ledger does not say how long entries are kept")
	cmd.Flags().BoolVar(&f.unsafe, "unsafe-ignore-retention", false, "also take entries that the charter wants kept (audit.retention)")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing; the server may run")
	f.format.flag(cmd)
}

// keeping is how long entries are kept.
type keeping struct {
	period string    // in the language of charters, "" when nobody asks
	before time.Time // entries from then on are kept; zero keeps none
}

// keeping finds out how long the charter in force has entries kept.
func (p *program) keeping(ctx context.Context, s *source, f retentionFlags) (keeping, error) {
	if f.unsafe {
		return keeping{}, nil
	}
	index, active, err := activeCharter(ctx, s)
	if err != nil {
		return keeping{}, err
	}
	period := active.Retention
	if f.charter != "" {
		c, err := p.loadCharter(f.charter)
		if err != nil {
			return keeping{}, err
		}
		if active.Digest != "" && active.Digest != c.Digest() {
			return keeping{}, refuse(codeCharterMismatch, "since entry %d the charter with the digest %s is in force, and %s has %s: give the one in force",
				index, active.Digest, f.charter, c.Digest())
		}
		period = c.Audit.Retention
	}
	if period == "" {
		return keeping{}, refuse(codeRetentionUnknown,
			"the ledger does not say how long the charter in force has entries kept (audit.retention): give it with --charter FILE, or start the server once with it")
	}
	d, err := charter.ParseDuration(period)
	if err != nil {
		return keeping{}, fmt.Errorf("audit.retention: %w", err)
	}
	return keeping{period, p.now().Add(-d)}, nil
}

// activeCharter is what the latest activation says about the charter that decides
// for all nodes; nothing without one.
func activeCharter(ctx context.Context, s *source) (uint64, audit.Activation, error) {
	for row, err := range s.Find(ctx, ledger.Filter{Kinds: []ledger.Kind{ledger.Activation}, Newest: true}) {
		if err != nil {
			return 0, audit.Activation{}, err
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			return 0, audit.Activation{}, fmt.Errorf("entry %d: %w", row.Index, err)
		}
		var a audit.Activation
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return 0, a, fmt.Errorf("entry %d: %w", row.Index, err)
		}
		if a.Percent == nil { // not a canary
			return row.Index, a, nil
		}
	}
	return 0, audit.Activation{}, nil
}

// check refuses a range whose latest entry is kept.
func (k keeping) check(ctx context.Context, s *source, from, to uint64) error {
	if k.before.IsZero() || from == to {
		return nil
	}
	row, err := s.reader.Entry(ctx, to-1)
	if err != nil || row.Time < k.before.UnixNano() {
		return err
	}
	part := portion{from: from, to: to}
	if err := part.narrow(ctx, s, time.Time{}, k.before); err != nil {
		return err
	}
	most := "none of them is older"
	if part.to > from {
		most = fmt.Sprintf("entries %d to %d are older (--before %d)", from, part.to-1, part.to)
	}
	return refuse(codeRetentionNotOver, "entry %d is of %s, and the charter has entries kept for %s (audit.retention); %s",
		to-1, instant(time.Unix(0, row.Time)), k.period, most)
}

// sealing is what seal and prune print with --format json.
type sealing struct {
	OK        bool    `json:"ok"`
	Code      string  `json:"code,omitempty"` // why not
	Message   string  `json:"message,omitempty"`
	DryRun    bool    `json:"dry_run"`
	From      uint64  `json:"from"`
	To        uint64  `json:"to"` // exclusive
	Entries   uint64  `json:"entries"`
	Oldest    string  `json:"oldest,omitempty"` // times of the first and the last entry
	Newest    string  `json:"newest,omitempty"`
	Retention string  `json:"retention,omitempty"`
	Before    string  `json:"before,omitempty"` // entries from then on are kept
	File      string  `json:"file,omitempty"`
	Manifest  string  `json:"manifest,omitempty"` // its content address
	Entry     *uint64 `json:"entry,omitempty"`    // the sealed entry
}

// sealing describes a range.
func (k keeping) sealing(ctx context.Context, s *source, f retentionFlags, from, to uint64) (sealing, error) {
	out := sealing{OK: true, DryRun: f.dryRun, From: from, To: to, Entries: to - from, Retention: k.period, Before: instant(k.before)}
	if from == to {
		return out, nil
	}
	for index, text := range map[uint64]*string{from: &out.Oldest, to - 1: &out.Newest} {
		row, err := s.reader.Entry(ctx, index)
		if err != nil {
			return out, err
		}
		if row.Body != nil {
			*text = instant(time.Unix(0, row.Time))
		}
	}
	if out.Oldest == "" || to-from == 1 {
		out.Oldest = out.Newest
	}
	return out, nil
}

// answer prints what was done, in JSON where that is asked for, or why not.
func (p *program) answer(f retentionFlags, done sealing, text string, err error) error {
	if !f.format.is(formatJSON) {
		if err == nil {
			_, err = fmt.Fprintln(p.stdout, text)
		}
		return err
	}
	if err != nil {
		no, ok := errors.AsType[*refusal](err)
		if !ok {
			return err
		}
		done = sealing{Code: no.code, Message: no.message, DryRun: f.dryRun}
	}
	if printErr := p.printJSON(done); printErr != nil {
		return printErr
	}
	return err
}
