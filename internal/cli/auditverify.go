package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerclient"
)

type verifyFlags struct {
	source      sourceFlags
	keys        keyFlags
	checkpoints []string
	resume      string
	format      choice
}

func (p *program) verifyCommand() *cobra.Command {
	flags := verifyFlags{format: choice{values: []string{formatPretty, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the whole ledger",
		Long: `Verifies every entry: that it is what was signed, that none is missing, added,
doubled or out of order, that columns and the index of queries say what the entries
say, that bodies are gone only where a sealed entry says so, and every checkpoint.

How much that is worth is the level, which is reported:
  self-consistent  the keys lay beside the ledger, or came from the same server: who
                   can write one can write both
  anchored         the key (--key) or a checkpoint (--checkpoint) was kept elsewhere
  witnessed        enough of the given witnesses (--witness) have cosigned

Entries after the last checkpoint that is known elsewhere can be cut off without a
trace in the ledger: witnesses, or a checkpoint that you keep, close that gap.

The exit code is 0 when all holds and 6 when anything does not, also when the
ledger cannot be read. With --resume FILE a later run begins where this one ended;
keep the file where only you can write.`,
		Example: `  charter-admin audit verify
  charter-admin audit verify --key ledger.pub --checkpoint last-month.checkpoint --resume verify.state
  charter-admin audit verify --server https://charter.example.org:8000 --key ledger.pub --witness policy.txt --format json`,
		Args: arguments(0, 0, "no arguments"),
	}
	flags.source.add(cmd)
	flags.keys.add(cmd)
	cmd.Flags().StringArrayVar(&flags.checkpoints, "checkpoint", nil, "checkpoint that was kept elsewhere: a `file`, or the URL of a server; may be repeated")
	cmd.Flags().StringVar(&flags.resume, "resume", "", "`file` that remembers how far a verification came")
	flags.format.flag(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error { return p.auditVerify(ctx, flags) })
	return cmd
}

// verification is what `audit verify --format json` prints.
type verification struct {
	OK     bool             `json:"ok"`
	Level  ledger.Assurance `json:"level,omitempty"` // only when all holds
	Ledger string           `json:"ledger"`
	Origin string           `json:"origin,omitempty"`
	// Verified entries are as they were signed when all holds; FirstBad is the
	// first one that is not, or cannot be told from one.
	Verified    uint64   `json:"verified"`
	FirstBad    *uint64  `json:"first_bad,omitempty"`
	Error       string   `json:"error,omitempty"`
	Resumed     uint64   `json:"resumed_from,omitempty"`
	Pruned      uint64   `json:"pruned"`
	Checkpoints uint64   `json:"checkpoints"`
	Witnessed   uint64   `json:"witnessed"` // size of the latest checkpoint with enough cosignatures
	Root        string   `json:"root,omitempty"`
	Checkpoint  string   `json:"checkpoint,omitempty"` // the head; keep it elsewhere
	Keys        []string `json:"keys,omitempty"`
	KeysFrom    string   `json:"keys_from,omitempty"`
	// CurrentKey is the public key that the latest change introduced, in the entry
	// RotatedAt; absent when the ledger has recorded none.
	CurrentKey string  `json:"current_key,omitempty"`
	RotatedAt  *uint64 `json:"rotated_at,omitempty"`
}

func (p *program) auditVerify(ctx context.Context, flags verifyFlags) error {
	var out verification
	err := p.verify(ctx, flags, &out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ee *exitError
	if errors.As(err, &ee) && ee.code == ExitUsage && !errors.Is(err, errNoLedger) {
		return err
	}
	out.OK = err == nil
	if err != nil {
		out.Level, out.Error = "", err.Error()
		var fault *ledger.Fault
		if errors.As(err, &fault) {
			out.FirstBad = &fault.Index
		}
	}
	if flags.format.is(formatJSON) {
		if printErr := p.printJSON(out); printErr != nil {
			return printErr
		}
	} else if out.Ledger != "" {
		p.printVerification(out)
	}
	if err != nil {
		return &exitError{ExitVerify, fmt.Errorf("%w%s", err, remedy(err))}
	}
	return nil
}

func (p *program) verify(ctx context.Context, flags verifyFlags, out *verification) (err error) {
	s, err := p.openSource(ctx, flags.source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	out.Ledger = s.where
	t, err := flags.keys.load(ctx, s)
	if err != nil {
		return err
	}
	out.KeysFrom, out.Origin = t.from, t.Origin
	for _, k := range t.Log {
		out.Keys = append(out.Keys, keyName(k))
	}
	if err := t.checkOrigin(ctx, s); err != nil {
		return err
	}
	t.IgnoreUnknown = len(t.Witnesses) == 0 // else a cosignature could be spoiled unseen
	o := ledger.VerifyOptions{Keys: t.Keys, Pinned: t.pinned}
	if o.Heads, err = heads(flags.checkpoints); err != nil {
		return err
	}
	if o.Resume, err = readState(flags.resume, t.Origin); err != nil {
		return err
	}
	if o.Resume != nil {
		out.Resumed = o.Resume.Size
	}
	bar := p.newBar("verify")
	o.Progress = bar.show
	report, err := ledger.Verify(ctx, s.Store, o)
	bar.clear()
	out.fill(report)
	if flags.resume != "" && (err == nil || ctx.Err() != nil) && report.State.Size > 0 {
		err = errors.Join(err, writeState(flags.resume, t.Origin, report.State))
	}
	return err
}

func (v *verification) fill(r ledger.Report) {
	v.Level, v.Verified, v.Pruned, v.Checkpoints, v.Witnessed = r.Level, r.Size, r.Pruned, r.Checkpoints, r.Witnessed
	v.Checkpoint = string(r.Head)
	if r.State.Key != "" {
		v.CurrentKey, v.RotatedAt = r.State.Key, &r.State.RotatedAt
	}
	if _, _, root, err := ledger.ParseCheckpoint(r.Head); err == nil {
		v.Root = root.String()
	}
}

// headFile is a checkpoint that was kept in a file.
type headFile string

func (f headFile) Head(context.Context) ([]byte, error) { return os.ReadFile(string(f)) }

// headServer is the checkpoint that a server shows.
type headServer struct{ *ledgerclient.Client }

func (s headServer) Head(ctx context.Context) ([]byte, error) {
	_, signed, err := s.Client.Head(ctx)
	return signed, err
}

func heads(refs []string) ([]ledger.HeadSource, error) {
	var list []ledger.HeadSource
	for _, ref := range refs {
		if strings.HasPrefix(ref, "http://") || strings.HasPrefix(ref, "https://") {
			c, err := ledgerclient.New(ref, ledgerclient.Options{})
			if err != nil {
				return nil, usagef("--checkpoint: %w", err)
			}
			list = append(list, headServer{c})
			continue
		}
		if _, err := os.Stat(ref); err != nil {
			return nil, usagef("--checkpoint: %w", err)
		}
		list = append(list, headFile(ref))
	}
	return list, nil
}

// savedState is the content of a --resume file.
type savedState struct {
	Origin string             `json:"origin"`
	State  ledger.VerifyState `json:"state"`
}

func readState(path, origin string) (*ledger.VerifyState, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, usagef("--resume: %w", err)
	}
	var saved savedState
	if err := json.Unmarshal(data, &saved); err != nil || saved.State.Size == 0 {
		return nil, usagef("--resume: %s is not what a verification has saved; delete it to begin at the first entry", path)
	}
	if saved.Origin != origin {
		return nil, usagef("--resume: %s is about the ledger %q, not %q", path, saved.Origin, origin)
	}
	return &saved.State, nil
}

func writeState(path, origin string, state ledger.VerifyState) error {
	data, err := json.Marshal(savedState{origin, state})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'))
}

func (p *program) printVerification(v verification) {
	facts := present(fact{"ledger", v.Ledger}, fact{"origin", v.Origin})
	text := entries(v.Verified)
	if v.Resumed > 0 {
		text += fmt.Sprintf(", those from %d on now", v.Resumed)
	}
	if v.Pruned > 0 {
		text += fmt.Sprintf("; the bodies of %d were exported and pruned", v.Pruned)
	}
	facts = append(facts, fact{"verified", text})
	if v.Checkpoints > 0 {
		facts = append(facts, fact{"checkpoints", fmt.Sprintf("%d verified, signed by %s (%s)", v.Checkpoints, strings.Join(v.Keys, ", "), v.KeysFrom)})
	}
	if v.OK && v.RotatedAt != nil {
		facts = append(facts, fact{"key", fmt.Sprintf("changed in entry %d; since then %s", *v.RotatedAt, v.CurrentKey)})
	}
	if v.Witnessed > 0 {
		facts = append(facts, fact{"witnessed", fmt.Sprintf("the first %s", entries(v.Witnessed))})
	}
	if v.OK {
		facts = append(facts, present(fact{"root", v.Root})...)
		facts = append(facts, fact{"level", string(v.Level) + explainLevel(v)})
	}
	if v.FirstBad != nil {
		facts = append(facts, fact{"first bad", fmt.Sprintf("entry %d", *v.FirstBad)})
	}
	for _, f := range facts {
		fmt.Fprintf(p.stdout, "%-12s %s\n", f.name, printable(f.value))
	}
}

func explainLevel(v verification) string {
	switch v.Level {
	case ledger.AssuredSelf:
		return ": the keys were found with the ledger, which proves no more than that it agrees with itself; give --key or --checkpoint from elsewhere to know more"
	case ledger.AssuredWitnessed:
		if rest := v.Verified - v.Witnessed; rest > 0 {
			return fmt.Sprintf(": but the last %s", entries(rest))
		}
	}
	return ""
}

// remedy says what to do about a ledger that does not verify.
func remedy(err error) string {
	switch {
	case errors.Is(err, ledger.ErrBehind):
		return "\nAn old copy was put in place, its end was cut off, or there are two histories. Keep this copy, and ask the witnesses for theirs."
	case errors.Is(err, ledger.ErrDamaged):
		return "\nKeep this copy. Entries before the first bad one are as they were signed; restore the rest from a backup or an export, and verify that."
	case errors.Is(err, ledger.ErrSignature), errors.Is(err, ledger.ErrCheckpoint):
		return "\nEither the key is not the ledger's, or somebody else has signed. Get the public key once more from where you trust it."
	}
	return ""
}
