package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
)

func (p *program) committeeSignCommand() *cobra.Command {
	var keyFile, signature, output string
	cmd := &cobra.Command{
		Use:   "sign --key KEYFILE REQUEST",
		Short: "Add a signature to a request",
		Long: `Shows a request, signs it and adds the signature to its file. Signing again with the
same key changes nothing. Read what is shown before you hand it on: the signature is
over exactly that.

--signature adds the signature that a wallet made of committee typed-data.`,
		Example: `  charter-admin committee sign --key ana.key request.json
  charter-admin committee sign --signature 0x... request.json`,
		Args: arguments(1, 1, "one REQUEST"),
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "key `file` of the member")
	cmd.Flags().StringVar(&signature, "signature", "", "`0x...` that a wallet made, 65 bytes")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default the request itself)")
	cmd.RunE = run(func(_ context.Context, args []string) error {
		if (keyFile == "") == (signature == "") {
			return usagef("sign needs --key KEYFILE or --signature 0x...; see charter-admin committee sign --help")
		}
		s, err := p.readRequest(args[0])
		if err != nil {
			return err
		}
		if output == "" {
			output = args[0]
		}
		return p.sign(s, keyFile, signature, output)
	})
	return cmd
}

func (p *program) sign(s committee.Signed, keyFile, signature, output string) error {
	describeRequest(p.stderr, s.Request)
	sig, err := p.signature(s.Request, keyFile, signature)
	if err != nil {
		return err
	}
	added, err := s.Add(sig)
	if err != nil {
		return &exitError{ExitVerify, err}
	}
	if err := p.writeRequest(output, s); err != nil {
		return err
	}
	verb := "signed by"
	if !added {
		verb = "had been signed by"
	}
	fmt.Fprintf(p.stderr, "%s %s; %s\n", verb, sig.Address, plural(len(s.Signatures), "signature"))
	return nil
}

// signature makes one, or takes that of a wallet.
func (p *program) signature(r committee.Request, keyFile, signature string) (committee.Signature, error) {
	if keyFile != "" {
		key, err := p.readKey(keyFile)
		if err != nil {
			return committee.Signature{}, err
		}
		return key.Sign(r)
	}
	digest, err := r.Digest()
	if err != nil {
		return committee.Signature{}, err
	}
	maker, err := committee.Recover(digest, signature)
	if err != nil {
		return committee.Signature{}, &exitError{ExitVerify, fmt.Errorf("--signature: %w", err)}
	}
	return committee.Signature{Address: maker.String(), Signature: signature}, nil
}

// describeRequest shows what is signed.
func describeRequest(w io.Writer, r committee.Request) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-10s %s\n", name, printable(text))
		}
	}
	line("kind", r.Kind)
	line("charter", r.Charter)
	line("override", r.Override)
	line("node", r.Node)
	line("clauses", strings.Join(r.Clauses, ", "))
	nodes := strings.Join(r.Nodes, ", ")
	if r.Kind == committee.Override && nodes == "" {
		nodes = "ALL nodes"
	}
	line("nodes", nodes)
	line("retention", r.Retention)
	line("purposes", strings.Join(r.Purposes, ", "))
	line("reason", r.Reason)
	for _, t := range []struct {
		name string
		time time.Time
	}{{"from", r.From}, {"until", r.Until}, {"expires", r.Expires}} {
		if !t.time.IsZero() {
			line(t.name, t.time.UTC().Format(time.RFC3339))
		}
	}
	if text := r.Node + nodes; strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII }) {
		fmt.Fprintf(w, "%-10s a node has letters beyond ASCII, which can look like others: %+q\n", "CAUTION", text)
	}
}

// verdict is what committee verify says as JSON.
type verdict struct {
	OK      bool            `json:"ok"`
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Tally   committee.Tally `json:"tally"`
}

func (p *program) committeeVerifyCommand() *cobra.Command {
	var path, at string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "verify --charter FILE REQUEST",
		Short: "Say whether a request may have effect, who signed and who is missing",
		Long: `Checks a request against a charter as a server does: what it asks for, when it
expires, each signature, and whether the members who signed are enough. Whether it had
effect already is in the ledger and not asked here.

Exit code 6 says that it may not have effect.`,
		Example: `  charter-admin committee verify --charter charter.yaml request.json
  charter-admin committee verify --charter charter.yaml --format json request.json`,
		Args: arguments(1, 1, "one REQUEST"),
	}
	cmd.Flags().StringVar(&path, "charter", "", "the `file` of the charter that is in force")
	cmd.Flags().StringVar(&at, "at", "", "verify as of that `time` (default now)")
	format.flag(cmd)
	cmd.RunE = run(func(_ context.Context, args []string) error {
		if path == "" {
			return usagef("verify needs --charter FILE: its committee is whose signatures count")
		}
		when := p.now()
		if at != "" {
			var err error
			if when, err = point("--at", at, when); err != nil {
				return err
			}
		}
		s, err := p.readRequest(args[0])
		if err != nil {
			return err
		}
		c, err := p.loadCharter(charterPath(path))
		if err != nil {
			return err
		}
		return p.verifyRequest(c, s, when, format)
	})
	return cmd
}

func (p *program) verifyRequest(c *charter.Charter, s committee.Signed, when time.Time, format choice) error {
	v := verdict{OK: true, Kind: s.Request.Kind}
	var err error
	if v.ID, err = s.Request.ID(); err != nil {
		return err
	}
	// Who signed is worth knowing of a request that has no effect, too.
	tally, refusal := committee.Verify(c.Committee, s, committee.Share(c, s.Request.Kind))
	if err := s.Request.Check(c, when); err != nil {
		refusal = err
	}
	v.Tally = tally
	var e *committee.Error
	if errors.As(refusal, &e) {
		v.OK, v.Code, v.Message = false, e.Code, e.Message
	}
	if format.is(formatJSON) {
		err = p.printJSON(v)
	} else {
		err = p.printVerdict(v, s.Request)
	}
	if err == nil && refusal != nil {
		err = silent(ExitVerify)
	}
	return err
}

func (p *program) printVerdict(v verdict, r committee.Request) error {
	describeRequest(p.stdout, r)
	t := v.Tally
	for _, vote := range t.Signers {
		fmt.Fprintf(p.stdout, "%-10s %s %s\n", "signed", vote.Address, printable(vote.Member))
	}
	for _, address := range t.Strangers {
		fmt.Fprintf(p.stdout, "%-10s %s, who is not in the committee\n", "ignored", address)
	}
	for _, vote := range t.Missing {
		fmt.Fprintf(p.stdout, "%-10s %s %s\n", "missing", vote.Address, printable(vote.Member))
	}
	fmt.Fprintf(p.stdout, "%-10s %d of %d members, %s of %s of the power\n", "quorum", t.Heads, t.NeededHeads, percent(t.Share), percent(t.Needed))
	if v.OK {
		_, err := fmt.Fprintln(p.stdout, "verified: it may have effect")
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "NOT verified: %s [%s]\n", printable(v.Message), v.Code)
	return err
}
