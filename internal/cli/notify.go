package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/diag"
	"github.com/westworld-charter/charter/internal/notify"
)

func (p *program) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try the receivers of a charter, and list what could not be delivered",
		Args:  cobra.ArbitraryArgs,
		RunE:  p.unknownCommand,
	}
	cmd.AddCommand(p.notifyTestCommand(), p.notifyDeadCommand())
	return cmd
}

// notifyTest is what notify test is asked for.
type notifyTest struct {
	charter, receiver string
	smtp              notify.SMTP
	publicOnly        bool
	format            choice
}

func (p *program) notifyTestCommand() *cobra.Command {
	t := notifyTest{format: choice{values: []string{formatTable, formatJSON}}}
	cmd := &cobra.Command{
		Use:   "test --charter FILE",
		Short: "Send a test message to the receivers of a charter",
		Long: `Sends one message to each receiver of a charter, or to one of them, and says what
happened. There is one attempt and nothing is queued. Secrets are read as the server
reads them: from the files and environment variables that the charter names. The
flags about mail are those of charter-server, and so are their environment variables.

Exit codes: 0 all were delivered, 1 one was not, 2 usage, 3 invalid charter.`,
		Example: `  charter-admin notify test --charter charter.yaml
  charter-admin notify test --charter charter.yaml --receiver legal --smtp mail.example.org:587 --smtp-from charter@example.org`,
		Args: arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error { return p.notifyTest(ctx, t) }),
	}
	f := cmd.Flags()
	f.StringVar(&t.charter, "charter", p.getenv("CHARTER_CHARTER"), "`file` of the charter")
	f.StringVar(&t.receiver, "receiver", "", "`name` of one receiver; else all")
	f.StringVar(&t.smtp.Server, "smtp", p.getenv("CHARTER_SMTP"), "mail server, `HOST:PORT`")
	f.StringVar(&t.smtp.From, "smtp-from", p.getenv("CHARTER_SMTP_FROM"), "`mailbox` that messages are from")
	f.StringVar(&t.smtp.User, "smtp-user", p.getenv("CHARTER_SMTP_USER"), "`name` to log in with")
	f.StringVar(&t.smtp.PasswordFile, "smtp-password-file", p.getenv("CHARTER_SMTP_PASSWORD_FILE"), "`file` with the password")
	f.StringVar(&t.smtp.PasswordEnv, "smtp-password-env", p.getenv("CHARTER_SMTP_PASSWORD_ENV"), "environment `variable` with the password instead")
	f.StringVar((*string)(&t.smtp.TLS), "smtp-tls", or(p.getenv("CHARTER_SMTP_TLS"), string(notify.StartTLS)), "`mode`: starttls, implicit or insecure-plain")
	f.BoolVar(&t.publicOnly, "notify-public-only", p.getenv("CHARTER_NOTIFY_PUBLIC_ONLY") == "true", "send to no private address and not to this machine")
	t.format.flag(cmd)
	return cmd
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (p *program) notifyTest(ctx context.Context, t notifyTest) error {
	if t.charter == "" {
		return usagef("notify test needs --charter FILE")
	}
	if err := t.smtp.Validate(); err != nil {
		return usagef("%w", err)
	}
	c, err := p.loadCharter(charterPath(t.charter))
	if err != nil {
		return err
	}
	receivers, err := pick(c, t.receiver)
	if err != nil {
		return err
	}
	now := p.now()
	message := notify.Message{
		ID: "test/" + now.UTC().Format(time.RFC3339Nano), Kind: "test", Title: "A test of the notifications of " + c.Metadata.Name,
		Text: "Nothing happened. Somebody tries whether this receiver can be reached.", Time: now,
	}
	options := notify.Options{SMTP: t.smtp, PublicOnly: t.publicOnly, Getenv: p.getenv}
	var results []notify.Result
	undelivered := 0
	for i := range receivers {
		r, err := notify.Try(ctx, options, &receivers[i], message)
		if err != nil {
			return err
		}
		if r.Code != "" {
			undelivered++
		}
		results = append(results, r)
	}
	if err := p.printTried(results, t.format); err != nil {
		return err
	}
	if undelivered > 0 {
		return &exitError{ExitInternal, fmt.Errorf("%d of %s could not be reached; see docs/notifications.md for the codes", undelivered, plural(len(results), "receiver"))}
	}
	return nil
}

// pick returns the receivers of a charter, or the one with a name.
func pick(c *charter.Charter, name string) ([]charter.Receiver, error) {
	if len(c.Notify) == 0 {
		return nil, usagef("%s has no receivers: add notify", c.Metadata.Name)
	}
	if name == "" {
		return c.Notify, nil
	}
	var names []string
	for i := range c.Notify {
		if c.Notify[i].Name == name {
			return c.Notify[i : i+1], nil
		}
		names = append(names, c.Notify[i].Name)
	}
	if near := diag.DidYouMean(name, names); near != "" {
		return nil, usagef("the charter has no receiver %q; did you mean %s?", name, near)
	}
	return nil, usagef("the charter has no receiver %q; it has %s", name, strings.Join(names, ", "))
}

func (p *program) printTried(results []notify.Result, format choice) error {
	if format.is(formatJSON) {
		return p.printJSON(results)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RECEIVER\tCHANNEL\tRESULT\tDETAIL")
	for _, r := range results {
		detail := r.Detail
		if r.Code == "" {
			detail = fmt.Sprintf("in %d ms", r.Took.Milliseconds())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(r.Receiver), r.Channel, or(r.Code, "delivered"), printable(detail))
	}
	return table.Flush()
}

func (p *program) notifyDeadCommand() *cobra.Command {
	var data string
	format := choice{values: []string{formatTable, formatJSON}}
	cmd := &cobra.Command{
		Use:   "dead --data DIR",
		Short: "List the notifications that were given up",
		Long: `Lists the notifications that a server gave up, oldest first. The server may run.
With --format json they are shown with what would have been sent. The files are in
notify/dead below --data; the latest 1,000 are kept, and they can be deleted.

Exit codes: 0, and 1 when a file cannot be read.`,
		Example: `  charter-admin notify dead --data /var/lib/charter`,
		Args:    arguments(0, 0, "no arguments"),
		RunE:    run(func(context.Context, []string) error { return p.notifyDead(data, format) }),
	}
	cmd.Flags().StringVar(&data, "data", or(p.getenv("CHARTER_DATA"), "./charter-data"), "`directory` of the server's data")
	format.flag(cmd)
	return cmd
}

func (p *program) notifyDead(data string, format choice) error {
	dead, faults := notify.Dead(filepath.Join(data, "notify"))
	var err error
	if format.is(formatJSON) {
		if dead == nil {
			dead = []notify.DeadLetter{}
		}
		err = p.printJSON(dead)
	} else {
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "GIVEN UP\tRECEIVER\tCHANNEL\tCODE\tATTEMPTS\tMESSAGES\tTITLE")
		for _, d := range dead {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", d.Dead.UTC().Format(time.RFC3339), printable(d.Receiver), printable(or(d.Channel, "-")), printable(d.Code),
				d.Attempts, d.Payload.Data.Count, printable(d.Payload.Data.Title))
		}
		err = table.Flush()
	}
	return errors.Join(err, faults)
}
