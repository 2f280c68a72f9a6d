package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/witness"
)

// Names below Options.Data. The private key lies apart from what is copied to
// auditors.
const (
	ledgerDir     = "ledger"
	ledgerKeyFile = "keys/ledger.key" // PRIVATE+KEY+… of a signed note, readable by its owner alone
	ledgerPubFile = "ledger.pub"      // public keys, one on a line, the current one first
	// ledgerHeadFile keeps the head of a ledger in a database apart from it; a
	// directory has its own.
	ledgerHeadFile = "ledger.head"
)

// LedgerOptions say where decisions are recorded.
type LedgerOptions struct {
	Ref    string // a directory, or postgres://…; "" is ledger below Data
	Origin string // name of the log and its key; "" is that of the key, or charter.local/HOSTNAME for a new one
	// WitnessPolicy is a file that says who cosigns checkpoints (C2SP tlog-policy);
	// "" asks nobody.
	WitnessPolicy string
	// InsecureNone records nothing.
	InsecureNone bool
}

func (o LedgerOptions) validate(fault func(string, ...any)) {
	if o.InsecureNone && (o.Ref != "" || o.WitnessPolicy != "") {
		fault("--insecure-no-ledger records nothing, so --ledger and --witness-policy would mean nothing beside it")
	}
	if o.Origin != "" && !originOK(o.Origin) {
		fault("--ledger-origin %q must be a name such as example.org/ledger, without spaces and +", o.Origin)
	}
	if scheme, _, ok := strings.Cut(o.Ref, "://"); ok && !ledgerdb.IsPostgres(o.Ref) {
		fault("--ledger %s://…: only a directory and postgres://… can hold a ledger", scheme)
	}
}

func originOK(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || r == '+' || !unicode.IsPrint(r)
	})
}

// LedgerError is a ledger that cannot be used.
type LedgerError struct {
	Err  error
	Hint string // what to do; "" when the error says it
}

func (e *LedgerError) Error() string {
	text := "ledger: " + e.Err.Error()
	if e.Hint != "" {
		text += "\n" + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *LedgerError) Unwrap() error { return e.Err }

// ledgerOpener opens the ledger of the options, again and again.
type ledgerOpener struct {
	data     string
	options  LedgerOptions
	log      *slog.Logger
	metrics  *metrics.Metrics
	signer   ledger.Signer
	secret   string // of a key that is new and not written yet
	retired  []note.Verifier
	cosigner *witness.Client // nil without witnesses
}

func (p *ledgerOpener) path(name string) string {
	return filepath.Join(p.data, filepath.FromSlash(name))
}

// ref is where the ledger is.
func (p *ledgerOpener) ref() string {
	if p.options.Ref != "" {
		return p.options.Ref
	}
	return p.path(ledgerDir)
}

// name is the ledger in messages, without a password.
func (p *ledgerOpener) name() string { return redactedRef(p.ref()) }

// prepare reads or makes the key and the witnesses.
func (p *ledgerOpener) prepare() error {
	if err := durable.MkdirAll(p.data); err != nil {
		return &LedgerError{err, "--data must be a directory that can be written: decisions are recorded there. --insecure-no-ledger does without a record."}
	}
	if err := p.loadKey(); err != nil {
		return err
	}
	if p.options.WitnessPolicy == "" {
		return nil
	}
	policy, err := witness.ReadPolicy(p.options.WitnessPolicy)
	if err != nil {
		return &LedgerError{Err: err}
	}
	own, err := ledger.VerifierOf(p.signer)
	if err != nil {
		return &LedgerError{Err: err}
	}
	p.cosigner, err = witness.NewClient(witness.ClientOptions{
		Policy: policy, Origin: p.signer.Name(), Keys: append([]note.Verifier{own}, p.retired...), Log: p.log,
	})
	if err != nil {
		return &LedgerError{Err: fmt.Errorf("--witness-policy %s: %w", p.options.WitnessPolicy, err)}
	}
	return nil
}

// loadKey reads the key of the ledger, or makes one that is written when the
// ledger turns out to be new.
func (p *ledgerOpener) loadKey() error {
	path := p.path(ledgerKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		origin := first(p.options.Origin, defaultOrigin())
		p.signer, p.secret, err = ledger.GenerateSigner(rand.Reader, origin)
		if err != nil {
			return &LedgerError{Err: err}
		}
		return nil
	}
	if err == nil {
		p.signer, err = ledger.NewSigner(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return &LedgerError{Err: fmt.Errorf("read the key %s: %w", path, err)}
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		p.log.Warn("the key of the ledger can be read by others than its owner", "path", path, "hint", "chmod 600")
	}
	if p.options.Origin != "" && p.options.Origin != p.signer.Name() {
		return &LedgerError{
			fmt.Errorf("--ledger-origin is %s, and the key %s is of the log %s", p.options.Origin, path, p.signer.Name()),
			"A log keeps its name. Leave --ledger-origin out, or begin another log with another --data.",
		}
	}
	return p.loadRetired()
}

// loadRetired reads the public keys that have signed before.
func (p *ledgerOpener) loadRetired() error {
	path := p.path(ledgerPubFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &LedgerError{Err: err}
	}
	for line := range strings.Lines(string(text)) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), " ") // a range of sizes may follow
		if key == "" || key == p.signer.VerifierKey() {
			continue
		}
		v, err := note.NewVerifier(key)
		if err != nil {
			return &LedgerError{Err: fmt.Errorf("read %s: %q is not a public key of a ledger", path, key)}
		}
		p.retired = append(p.retired, v)
	}
	return nil
}

// defaultOrigin names a new log. The name is that of its key from then on, also
// when the machine gets another one.
func defaultOrigin() string {
	host, err := os.Hostname()
	if err != nil || !originOK(host) {
		host = "localhost"
	}
	return "charter.local/" + host
}

// open implements keeper.open.
func (p *ledgerOpener) open(ctx context.Context, heads []ledger.HeadSource) (*opened, error) {
	store, err := p.openStore(ctx, len(heads) > 0)
	if err != nil {
		return nil, err
	}
	o, err := p.openLog(ctx, store, heads)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return o, nil
}

// openStore opens what holds the entries. Where a ledger was, opening must not
// begin an empty one, which would be in the way of putting it back.
func (p *ledgerOpener) openStore(ctx context.Context, existing bool) (ledger.Store, error) {
	ref := p.ref()
	if existing && !ledgerdb.IsPostgres(ref) {
		if _, err := os.Stat(ref); err != nil { // not even the directory may be made
			return nil, err
		}
	}
	return ledgerdb.Open(ctx, ref, ledgerdb.Options{MustExist: existing, Head: p.path(ledgerHeadFile), Log: p.log})
}

func (p *ledgerOpener) openLog(ctx context.Context, store ledger.Store, heads []ledger.HeadSource) (*opened, error) {
	if err := p.settleKey(ctx, store); err != nil {
		return nil, err
	}
	o := ledger.Options{Origin: p.signer.Name(), Signers: []ledger.Signer{p.signer}, Retired: p.retired, Heads: heads, Log: p.log}
	if p.cosigner != nil {
		o.Cosign = p.cosigner
		o.Heads = append(o.Heads, p.cosigner.Heads(ctx)...)
	}
	l, err := ledger.Open(ctx, timed{store, p.metrics.LedgerCommitted}, o)
	if err != nil {
		return nil, err
	}
	return &opened{l, store}, nil
}

// settleKey makes sure that key and ledger belong together. An empty ledger under
// a key that has signed is one that was lost: going on would sign another history.
func (p *ledgerOpener) settleKey(ctx context.Context, store ledger.Store) error {
	size, _, err := store.Head(ctx)
	if err != nil {
		return err
	}
	key, public := p.path(ledgerKeyFile), p.path(ledgerPubFile)
	_, err = os.Stat(public)
	switch {
	case size > 0 && p.secret != "":
		return &LedgerError{
			fmt.Errorf("%s holds %d entries, and the key that signed them, %s, is missing", p.name(), size, key),
			"Put the key back. Without it nothing can be appended; to begin another ledger, move this one away.",
		}
	case size == 0 && err == nil:
		return &LedgerError{
			fmt.Errorf("%s is empty, and %s says that a ledger was begun here", p.name(), public),
			"Put the ledger back. To begin another one, move ledger.pub and keys/ledger.key away: auditors will see that it is another log.",
		}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	if p.secret == "" {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(key)); err != nil {
		return err
	}
	if err := durable.WriteFile(key, []byte(p.secret+"\n")); err != nil {
		return err
	}
	p.secret = ""
	p.log.Info("key of the ledger made", "path", key, "public", p.signer.VerifierKey())
	return nil
}

// publish writes the public keys beside the ledger, once it has entries.
func (p *ledgerOpener) publish() error {
	path := p.path(ledgerPubFile)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	current := p.signer.VerifierKey()
	lines := []string{current}
	for line := range strings.Lines(string(before)) {
		line = strings.TrimSpace(line)
		if key, _, _ := strings.Cut(line, " "); key != "" && key != current {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "\n") + "\n"
	if text == string(before) {
		return nil
	}
	if err := durable.WriteFile(path, []byte(text)); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}
