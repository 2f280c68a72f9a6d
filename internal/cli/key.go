package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/signing"
)

func (p *program) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make and change the keys that sign releases",
		Long: `Releases are signed with ECDSA keys on P-256, in files that cosign reads and writes
too. Who holds such a key decides what nodes run, together with the trust.yaml of the
nodes: keep it off every server.`,
		Example: `  charter-admin key generate -o release
  charter-admin key public release.key
  charter-admin key rotate release.pub -o release-2027`,
		Args: cobra.ArbitraryArgs,
		RunE: p.unknownCommand,
	}
	cmd.AddCommand(p.keyGenerateCommand(), p.keyPublicCommand(), p.keyRotateCommand())
	return cmd
}

// keyPair is what `key generate --format json` prints.
type keyPair struct {
	Private string `json:"private"` // file
	Public  string `json:"public"`  // file
	Hint    string `json:"key_hint"`
}

func (p *program) keyGenerateCommand() *cobra.Command {
	var name string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "generate -o NAME",
		Short: "Make a key that signs releases",
		Long: `Makes an ECDSA key on P-256. NAME.key is the private key, encrypted and readable for
its owner alone; NAME.pub is the public one, for the trust.yaml of nodes. Nothing is
ever overwritten.

The password comes from ` + passwordVariable + `, or is asked for on a terminal. There is
no key without one.`,
		Example: `  charter-admin key generate -o release
  ` + passwordVariable + `=... charter-admin key generate -o release --format json`,
		Args: arguments(0, 0, "no arguments"),
	}
	cmd.Flags().StringVarP(&name, "output", "o", "", "`name` of the files, without .key and .pub")
	format.flag(cmd)
	cmd.RunE = run(func(context.Context, []string) error {
		if name == "" {
			return usagef("generate needs -o NAME; see charter-admin key generate --help")
		}
		pair, err := p.newKeyPair(name)
		if err != nil {
			return err
		}
		if format.is(formatJSON) {
			return p.printJSON(pair)
		}
		_, err = fmt.Fprintf(p.stdout, "private key  %s\npublic key   %s\nkey hint     %s\n", pair.Private, pair.Public, pair.Hint)
		return err
	})
	return cmd
}

// newKeyPair makes NAME.key and NAME.pub, or neither.
func (p *program) newKeyPair(name string) (keyPair, error) {
	pair := keyPair{Private: name + ".key", Public: name + ".pub"}
	for _, path := range []string{pair.Private, pair.Public} {
		if exists(path) {
			return pair, usagef("generate: %s exists; keys are never replaced", path)
		}
	}
	password, err := p.newPassword("Password for the key: ")
	if err != nil {
		return pair, err
	}
	if password == "" {
		return pair, usagef("generate: no password; set %s, or run it on a terminal", passwordVariable)
	}
	private, public, err := signing.GenerateKey([]byte(password))
	if err != nil {
		return pair, err
	}
	if pair.Hint, err = keyHint(public); err != nil {
		return pair, err
	}
	if err := writeSecret(pair.Private, private); err != nil {
		return pair, err
	}
	if err := create(pair.Public, public); err != nil {
		return pair, errors.Join(usagef("generate: %w", err), os.Remove(pair.Private))
	}
	return pair, nil
}

// keyHint names a public key as Sigstore bundles do: the base64 of the SHA-256 of its
// PKIX DER.
func keyHint(public []byte) (string, error) {
	block, _ := pem.Decode(public)
	if block == nil || block.Type != "PUBLIC KEY" {
		return "", errors.New("not a public key in PEM")
	}
	sum := sha256.Sum256(block.Bytes)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// openKey opens a key file, or a key that a KMS or a token holds.
func (p *program) openKey(ctx context.Context, ref string) (signing.Key, error) {
	var none signing.Key
	if strings.Contains(ref, "://") {
		key, err := signing.OpenKMS(ctx, ref)
		if err != nil {
			return none, &exitError{ExitUsage, fmt.Errorf("--key %s: %w", ref, err)}
		}
		return key, nil
	}
	data, err := p.readInput(ref)
	if err != nil {
		return none, err
	}
	password, err := p.password()
	if err != nil {
		return none, usagef("%s: %w", ref, err)
	}
	key, err := signing.LoadKey(data, []byte(password))
	if err != nil {
		return none, &exitError{ExitUsage, &fileError{ref, err}}
	}
	return key, nil
}

func (p *program) keyPublicCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "public KEY",
		Short: "Print the public key of a private one",
		Long: `Prints the public key, PEM, of a key file or of a key that a KMS holds. What a KMS
or PKCS#11 token is called is said under sign --help.`,
		Example: `  charter-admin key public release.key
  charter-admin key public pkcs11://token/release -o release.pub`,
		Args: arguments(1, 1, "one KEY"),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write, never replaced (default standard output)")
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		key, err := p.openKey(ctx, args[0])
		if err != nil {
			return err
		}
		if file == "" {
			_, err = p.stdout.Write(key.Public())
			return err
		}
		if err := create(file, key.Public()); err != nil {
			return usagef("public: %w", err)
		}
		return nil
	})
	return cmd
}

// rotation is what `key rotate --format json` prints.
type rotation struct {
	keyPair
	Signer string   `json:"signer"`
	Add    string   `json:"add"`    // line of trust.yaml, now
	Remove string   `json:"remove"` // line of trust.yaml, at the end
	Steps  []string `json:"steps"`
}

func (p *program) keyRotateCommand() *cobra.Command {
	var name, signer string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "rotate OLD.pub -o NEW",
		Short: "Make the key that follows another one, and say what to change",
		Long: `Makes a key and prints what has to happen until it has replaced the one before,
without a moment in which a node trusts neither. Nothing but the two new files is
written.

Was the old key stolen, then skip the overlap: remove it from every trust.yaml first.`,
		Example: `  charter-admin key rotate release.pub -o release-2027
  charter-admin key rotate ci.pub -o ci-2 --signer ci --format json`,
		Args: arguments(1, 1, "the public key OLD.pub"),
	}
	cmd.Flags().StringVarP(&name, "output", "o", "", "`name` of the new files, without .key and .pub")
	cmd.Flags().StringVar(&signer, "signer", "", "`name` of the signer in trust.yaml (default that of the file OLD.pub)")
	format.flag(cmd)
	cmd.RunE = run(func(_ context.Context, args []string) error {
		if name == "" {
			return usagef("rotate needs -o NEW; see charter-admin key rotate --help")
		}
		old, err := p.readInput(args[0])
		if err != nil {
			return err
		}
		if _, err := keyHint(old); err != nil {
			return usagef("%s: %w; rotate takes the public key", args[0], err)
		}
		if signer == "" {
			signer = strings.TrimSuffix(filepath.Base(args[0]), ".pub")
		}
		pair, err := p.newKeyPair(name)
		if err != nil {
			return err
		}
		return p.printRotation(newRotation(pair, signer, args[0]), format)
	})
	return cmd
}

func newRotation(pair keyPair, signer, old string) rotation {
	entry := func(path string) string { return fmt.Sprintf("- {name: %s, key: %s}", signer, filepath.Base(path)) }
	r := rotation{keyPair: pair, Signer: signer, Add: entry(pair.Public), Remove: entry(old)}
	r.Steps = []string{
		fmt.Sprintf("In the trust.yaml of every node, under signers, add the line %q, with %s beside the file. Both keys are trusted then; as they have one name, they count as one signer.", r.Add, filepath.Base(pair.Public)),
		"When every node has it, sign what they run with the new key, too, and push it again: nodes verify what is on their disks at every start. From now on sign with the new key.",
		fmt.Sprintf("When every node runs a release that the new key signed, remove the line %q everywhere, and destroy the old private key.", r.Remove),
	}
	return r
}

func (p *program) printRotation(r rotation, format choice) error {
	if format.is(formatJSON) {
		return p.printJSON(r)
	}
	fmt.Fprintf(p.stdout, "private key  %s\npublic key   %s\nkey hint     %s\n", r.Private, r.Public, r.Hint)
	for i, step := range r.Steps {
		fmt.Fprintf(p.stdout, "\n%d. %s\n", i+1, printable(step))
	}
	return nil
}
