package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerclient"
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

// load reads the keys. Without --key it takes those that are found with the ledger,
// which prove no more than that it agrees with itself; nil finds none.
func (f *keyFlags) load(ctx context.Context, s *source) (trust, error) {
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
	if len(t.Log) == 0 && s != nil {
		if err := t.find(ctx, s); err != nil {
			return t, err
		}
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

// find takes the keys that are found with the ledger, if there are any.
func (t *trust) find(ctx context.Context, s *source) error {
	var keys []note.Verifier
	var err error
	switch {
	case s.beside != "":
		t.from = s.beside
		keys, err = logKeys(s.beside)
	case s.client != nil:
		t.from = s.where + ledgerclient.KeysPath
		var text []byte
		if text, err = s.client.Keys(ctx); err == nil {
			keys, err = parseKeys(text)
		}
	default:
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	if err != nil {
		return &exitError{ExitVerify, fmt.Errorf("keys found with the ledger: %w", err)}
	}
	t.Log = keys
	return nil
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
	keys, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return keys, nil
}

func parseKeys(text []byte) ([]note.Verifier, error) {
	list, err := keyring.ParsePublic(text)
	if err != nil {
		return nil, err
	}
	keys := make([]note.Verifier, len(list))
	for i, k := range list {
		if keys[i], err = k.Verifier(); err != nil {
			return nil, err
		}
	}
	return keys, nil
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
