package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/witness"
)

// keyFlags say whom to believe.
type keyFlags struct {
	keys, witnesses []string
	quorum          int
}

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "public `key` of the ledger, or a file with some; from a place that its operator cannot write")
	cmd.Flags().StringArrayVar(&f.witnesses, "witness", nil, "public `key` of a witness, or a C2SP policy file; may be repeated")
	cmd.Flags().IntVar(&f.quorum, "quorum", 0, "how many --witness keys must have signed (default all)")
}

// trust is whom a command believes, and why.
type trust struct {
	ledger.Keys
	pinned bool   // the keys were given, not found beside the ledger
	from   string // where they come from, for people
}

// load reads the keys. Without --key it takes those in the file beside the ledger;
// "" is none.
func (f *keyFlags) load(beside string) (trust, error) {
	t := trust{pinned: len(f.keys) > 0, from: "--key"}
	for _, ref := range f.keys {
		keys, err := logKeys(ref)
		if err != nil {
			return t, usagef("--key: %w", err)
		}
		t.Log = append(t.Log, keys...)
	}
	if err := f.loadWitnesses(&t); err != nil {
		return t, err
	}
	if len(t.Log) == 0 && beside != "" {
		keys, err := logKeys(beside)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t, &exitError{ExitVerify, fmt.Errorf("keys beside the ledger: %w", err)}
		}
		t.Log, t.from = keys, beside
	}
	if len(t.Log) == 0 {
		return t, usagef("no public key of the ledger: give --key KEY|FILE; charter-server writes it to %s in its data directory", publicKeyFile)
	}
	t.Origin = t.Log[0].Name()
	for _, k := range t.Log {
		if k.Name() != t.Origin {
			return t, usagef("--key: the keys are of two ledgers, %s and %s", t.Origin, k.Name())
		}
	}
	return t, nil
}

func (f *keyFlags) loadWitnesses(t *trust) error {
	for _, ref := range f.witnesses {
		if v, err := witness.ParseVerifier(ref); err == nil {
			t.Witnesses = append(t.Witnesses, v)
			continue
		}
		if strings.Contains(ref, "+") && !exists(ref) {
			return usagef("--witness: %q is not a key of a witness (NAME+HASH+BASE64 of type 04)", shorten(ref))
		}
		policy, err := witness.ReadPolicy(ref)
		if err != nil {
			return usagef("--witness: %w", err)
		}
		if len(f.witnesses) > 1 || f.quorum > 0 {
			return usagef("--witness: a policy says itself how many are needed; give it alone, without --quorum")
		}
		t.adopt(policy)
		return nil
	}
	if f.quorum < 0 || f.quorum > len(t.Witnesses) {
		return usagef("--quorum %d: there are %d --witness keys", f.quorum, len(t.Witnesses))
	}
	if t.Quorum = f.quorum; t.Quorum == 0 {
		t.Quorum = len(t.Witnesses)
	}
	return nil
}

// adopt takes witnesses, their quorum, and the keys of the log, unless there are
// any, from a policy.
func (t *trust) adopt(policy *witness.Policy) {
	keyName := map[string]string{}
	for _, w := range policy.Witnesses {
		t.Witnesses = append(t.Witnesses, w.Verifier)
		keyName[w.Name] = w.Verifier.Name()
	}
	t.Enough = func(signed []string) bool {
		return policy.Met(func(name string) bool { return slices.Contains(signed, keyName[name]) })
	}
	if len(t.Log) > 0 {
		return
	}
	for _, l := range policy.Logs {
		t.Log = append(t.Log, l.Verifier)
	}
	if len(t.Log) > 0 {
		t.pinned, t.from = true, "the policy"
	}
}

// shorten keeps what may be a secret out of messages.
func shorten(s string) string {
	if len(s) > 24 {
		return s[:24] + "..."
	}
	return s
}

// logKeys reads a verifier key, or a file with one per line, the current one first.
// After a key may stand the sizes of the log for which it counts: FROM-TO, where TO
// is exclusive and may be absent.
func logKeys(ref string) ([]note.Verifier, error) {
	if v, err := note.NewVerifier(ref); err == nil {
		return []note.Verifier{v}, nil
	}
	data, err := os.ReadFile(ref)
	if err != nil {
		if strings.Count(ref, "+") >= 2 {
			return nil, fmt.Errorf("%q is neither a key (NAME+HASH+BASE64) nor a file", shorten(ref))
		}
		return nil, err
	}
	var keys []note.Verifier
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if strings.HasPrefix(fields[0], "PRIVATE+KEY+") {
			return nil, fmt.Errorf("%s:%d: this is a private key; the public one is needed, and nobody else should read this file", ref, number)
		}
		v, err := note.NewVerifier(fields[0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not a public key of a ledger (NAME+HASH+BASE64)", ref, number)
		}
		if len(fields) > 1 {
			if v, err = ranged(v, fields[1:]); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", ref, number, err)
			}
		}
		keys = append(keys, v)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no key", ref)
	}
	return keys, nil
}

func ranged(v note.Verifier, fields []string) (note.Verifier, error) {
	first, last, ok := strings.Cut(fields[0], "-")
	from, err := strconv.ParseUint(first, 10, 63)
	to := uint64(0)
	if err == nil && last != "" {
		to, err = strconv.ParseUint(last, 10, 63)
	}
	if !ok || err != nil || len(fields) > 1 || to != 0 && to <= from {
		return nil, fmt.Errorf("%q are not sizes FROM-TO of a ledger", strings.Join(fields, " "))
	}
	return ledger.KeyRange(v, from, to), nil
}

// checkOrigin says clearly that the keys are of another ledger.
func (t *trust) checkOrigin(ctx context.Context, s *source) error {
	_, head, err := s.Head(ctx)
	if err != nil || head == nil {
		return err
	}
	origin, _, _, err := ledger.ParseCheckpoint(head)
	if err == nil && origin != t.Origin {
		err = fmt.Errorf("%w: %s is the ledger %q, and the key is of %q", ledger.ErrCheckpoint, s.where, origin, t.Origin)
	}
	return err
}

// name is how a key is shown: short, and enough to tell it from others.
func keyName(v note.Verifier) string { return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()) }
