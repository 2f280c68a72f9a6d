package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/committee"
)

func (p *program) committeeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "committee",
		Short: "Make, sign and verify requests of a charter's committee",
		Long: `The committee of a charter decides between votes: it loosens unprotected clauses for
a short time (override), gives nodes their good standing back (restore), and ends
their data access (revoke). It does so by requests that enough of its members sign.

One member makes a request, each signs it, with a key of this program or with an
Ethereum wallet, and the file with the signatures goes to the server.`,
		Example: `  charter-admin committee key generate -o ana
  charter-admin committee request restore --charter charter.yaml --node edge-7 --reason inspected -o request.json
  charter-admin committee sign --key ana.key request.json
  charter-admin committee verify --charter charter.yaml request.json`,
		Args: cobra.ArbitraryArgs,
	}
	cmd.RunE = p.unknownCommand
	cmd.AddCommand(p.committeeKeyCommand(), p.committeeAddressCommand(), p.committeeRequestCommand(), p.committeeSignCommand(), p.committeeVerifyCommand(), p.typedDataCommand())
	return cmd
}

// readRequest reads a request with signatures, or from standard input for "-".
func (p *program) readRequest(file string) (committee.Signed, error) {
	data, err := p.readInput(file)
	if err != nil {
		return committee.Signed{}, err
	}
	s, err := committee.Decode(data)
	if err != nil {
		return s, &exitError{ExitVerify, &fileError{file, err}}
	}
	return s, nil
}

// fileError says in which file something is wrong.
type fileError struct {
	file string
	err  error
}

func (e *fileError) Error() string { return e.file + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// writeRequest writes a request to a file, or to standard output for "" and "-".
func (p *program) writeRequest(file string, s committee.Signed) error {
	data, err := s.Indented()
	if err != nil {
		return err
	}
	if file == "" || file == "-" {
		_, err := p.stdout.Write(data)
		return err
	}
	return writeWhole(file, data)
}

func (p *program) typedDataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "typed-data REQUEST",
		Short: "Write a request as a wallet signs it (eth_signTypedData_v4)",
		Long: `Writes the EIP-712 typed data of a request, the parameter of eth_signTypedData_v4.
The signature that a wallet makes of it is added by committee sign --signature.`,
		Example: `  charter-admin committee typed-data request.json
  charter-admin committee sign --signature 0x... request.json`,
		Args: arguments(1, 1, "one REQUEST"),
	}
	cmd.RunE = run(func(_ context.Context, args []string) error {
		s, err := p.readRequest(args[0])
		if err != nil {
			return err
		}
		data, err := s.Request.TypedData()
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(append(data, '\n'))
		return err
	})
	return cmd
}
