package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/keyring"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
	"github.com/westworld-charter/charter/internal/metrics"
	"github.com/westworld-charter/charter/internal/witness"
)

// Names below Options.Data; those of keys are in package keyring.
const (
	ledgerDir = "ledger"
	// ledgerHeadFile keeps the head of a ledger in a database apart from it; a
	// directory has its own.
	ledgerHeadFile = "ledger.head"
)

// LedgerOptions say where decisions are recorded.
type LedgerOptions struct {
	Ref string // a directory, or postgres://…; "" is ledger below Data
	// Origin is the name of the log and its key; "" is that of the key, for a new one
	// charter.local/HOSTNAME, and charter.local/NAME/node for the node of that name.
	Origin string
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
	origin   string // of a new log, unless the options name it
	log      *slog.Logger
	metrics  *metrics.Metrics
	keys     *keyring.Ring
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
	if err := p.loadKeys(); err != nil {
		return err
	}
	if p.options.WitnessPolicy == "" {
		return nil
	}
	policy, err := witness.ReadPolicy(p.options.WitnessPolicy)
	if err != nil {
		return &LedgerError{Err: err}
	}
	keys, err := p.keys.Others()
	if err != nil {
		return &LedgerError{Err: err}
	}
	own, err := note.NewVerifier(p.keys.Key())
	if err != nil {
		return &LedgerError{Err: err}
	}
	p.cosigner, err = witness.NewClient(witness.ClientOptions{
		Policy: policy, Origin: p.keys.Origin(), Keys: append(keys, own), Log: p.log,
	})
	if err != nil {
		return &LedgerError{Err: fmt.Errorf("--witness-policy %s: %w", p.options.WitnessPolicy, err)}
	}
	return nil
}

// loadKeys reads the keys of the ledger, or makes one that is written when the
// ledger turns out to be new.
func (p *ledgerOpener) loadKeys() (err error) {
	p.keys, err = keyring.Load(p.data)
	if errors.Is(err, keyring.ErrNone) {
		if p.keys, err = keyring.New(p.data, first(p.options.Origin, p.origin)); err == nil {
			return nil
		}
	}
	if err != nil {
		return &LedgerError{Err: err}
	}
	for _, path := range p.keys.Exposed() {
		p.log.Warn("a key of the ledger can be read by others than its owner", "path", path, "hint", "chmod 600")
	}
	if p.options.Origin != "" && p.options.Origin != p.keys.Origin() {
		return &LedgerError{
			fmt.Errorf("--ledger-origin is %s, and the key %s is of the log %s", p.options.Origin, p.keys.Path(), p.keys.Origin()),
			"A log keeps its name. Leave --ledger-origin out, or begin another log with another --data.",
		}
	}
	return nil
}

// defaultOrigin names a new log. The name is that of its key from then on, also
// when the machine or the node gets another one. Logs of a server and of nodes that
// share a machine have different names, or a witness of both would take one for a fork
// of the other.
func (o Options) defaultOrigin(node bool) string {
	const domain = "charter.local/"
	host, err := os.Hostname()
	if err != nil || !originOK(domain+host) {
		host = "localhost"
	}
	if !node {
		return domain + host
	}
	if own := domain + o.nodeName() + "/node"; originOK(own) {
		return own
	}
	return domain + host + "/node"
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
	signers, err := p.keys.Signers(ctx, store)
	if err != nil {
		return nil, err
	}
	others, err := p.keys.Others(signers...)
	if err != nil {
		return nil, err
	}
	o := ledger.Options{Origin: p.keys.Origin(), Signers: signers, Retired: others, Heads: heads, Log: p.log}
	if p.cosigner != nil {
		for _, s := range signers {
			if v, err := ledger.VerifierOf(s); err == nil {
				p.cosigner.Trust(v)
			}
		}
		o.Cosign = p.cosigner
		o.Heads = append(o.Heads, p.cosigner.Heads(ctx)...)
	}
	l, err := ledger.Open(ctx, timed{store, p.metrics.LedgerCommitted}, o)
	if err != nil {
		return nil, err
	}
	if err := p.finishKeys(ctx, l); err != nil {
		return nil, errors.Join(err, l.Close())
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
	key, public := p.keys.Path(), p.path(keyring.PublicFile)
	_, err = os.Stat(public)
	switch {
	case size > 0 && p.keys.Unsaved():
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
	if !p.keys.Unsaved() {
		return nil
	}
	if err := p.keys.Save(); err != nil {
		return err
	}
	p.log.Info("key of the ledger made", "path", key, "public", p.keys.Key())
	return nil
}
