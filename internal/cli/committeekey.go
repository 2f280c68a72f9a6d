package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/westworld-charter/charter/internal/committee"
)

// passwordVariable is where passwords of key files come from when nobody can be asked.
const passwordVariable = "CHARTER_KEY_PASSWORD"

func (p *program) committeeKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make the key of a member",
		Args:  cobra.ArbitraryArgs,
	}
	cmd.RunE = p.unknownCommand
	cmd.AddCommand(p.generateCommand())
	return cmd
}

func (p *program) generateCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "generate -o NAME",
		Short: "Make a key and print its address",
		Long: `Makes a secp256k1 key, writes it to NAME.key, readable for its owner alone, and
prints its address for the charter (committee.members).

The file is an Ethereum keystore (version 3, scrypt) that wallets import. Its
password comes from ` + passwordVariable + ` or is asked for on a terminal. Without
one the key is written as it is: then whoever reads the file can sign.

A member who has a wallet needs no key of this kind.`,
		Example: `  charter-admin committee key generate -o ana`,
		Args:    arguments(0, 0, "no arguments"),
	}
	cmd.Flags().StringVarP(&name, "output", "o", "", "`name` of the file, without .key")
	cmd.RunE = run(func(_ context.Context, _ []string) error {
		if name == "" {
			return usagef("generate needs -o NAME; see charter-admin committee key generate --help")
		}
		return p.generateKey(name + ".key")
	})
	return cmd
}

func (p *program) generateKey(path string) error {
	if exists(path) {
		return usagef("generate: %s exists; keys are never replaced", path)
	}
	key, err := committee.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	password, err := p.newPassword("Password for the key (none leaves it unencrypted): ")
	if err != nil {
		return err
	}
	data := key.Plain()
	if password != "" {
		if data, err = key.Encrypted(rand.Reader, password); err != nil {
			return err
		}
	}
	if err := writeSecret(path, data); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.stdout, key.Address()); err != nil {
		return err
	}
	if password == "" {
		fmt.Fprintf(p.stderr, "%s is NOT encrypted: whoever reads it can sign. Set %s to encrypt it.\n", path, passwordVariable)
	}
	return nil
}

// writeSecret writes a new file for its owner alone; what is there is never replaced.
func writeSecret(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("generate: %s exists; keys are never replaced", path)
	}
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	return errors.Join(f.Sync(), f.Close())
}

// newPassword is what a new key is encrypted with, "" for none.
func (p *program) newPassword(prompt string) (string, error) {
	if password := p.getenv(passwordVariable); password != "" {
		return password, nil
	}
	if _, ok := p.keyboard(); !ok {
		return "", nil
	}
	first, err := p.askSecret(prompt)
	if err != nil || first == "" {
		return "", err
	}
	second, err := p.askSecret("Again: ")
	if err == nil && first != second {
		err = usagef("generate: the two passwords differ")
	}
	return first, err
}

// password opens a key that is encrypted.
func (p *program) password() (string, error) {
	if password := p.getenv(passwordVariable); password != "" {
		return password, nil
	}
	if _, ok := p.keyboard(); !ok {
		return "", errors.New("the key is encrypted: set " + passwordVariable)
	}
	return p.askSecret("Password of the key: ")
}

// keyboard is the terminal somebody sits at, if there is one.
func (p *program) keyboard() (*os.File, bool) {
	f, ok := p.stdin.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// askSecret reads a line that is not shown.
func (p *program) askSecret(prompt string) (string, error) {
	f, _ := p.keyboard()
	fmt.Fprint(p.stderr, prompt)
	line, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(p.stderr)
	if errors.Is(err, io.EOF) {
		return "", usagef("no password given")
	}
	return string(line), err
}

// readKey reads the key of a member.
func (p *program) readKey(path string) (*committee.Key, error) {
	data, err := p.readInput(path)
	if err != nil {
		return nil, err
	}
	key, err := committee.ParseKey(data, p.password)
	if err != nil {
		return nil, &exitError{ExitUsage, &fileError{path, err}}
	}
	return key, nil
}

func (p *program) committeeAddressCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "address KEYFILE",
		Short:   "Print the address of a key",
		Example: `  charter-admin committee address ana.key`,
		Args:    arguments(1, 1, "one KEYFILE"),
	}
	cmd.RunE = run(func(_ context.Context, args []string) error {
		key, err := p.readKey(args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.stdout, key.Address())
		return err
	})
	return cmd
}
