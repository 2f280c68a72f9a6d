package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/durable"
	ledgerapi "github.com/westworld-charter/charter/internal/httpapi/ledger"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
	"github.com/westworld-charter/charter/internal/witness"
)

// Names below Options.Data.
const (
	witnessDir     = "witness"          // what was cosigned
	witnessKeyFile = "keys/witness.key" // readable by its owner alone
	witnessPubFile = "witness.pub"
)

// openWitness starts the witness of this process, if it is to be one.
func (s *Server) openWitness() error {
	o := s.options
	if o.WitnessLogs == "" {
		return nil
	}
	fail := func(err error) error { return &LedgerError{Err: fmt.Errorf("witness: %w", err)} }
	policy, err := witness.ReadPolicy(o.WitnessLogs)
	if err != nil {
		return fail(err)
	}
	if len(policy.Logs) == 0 {
		return fail(fmt.Errorf("%s has no line that begins with log: there is nothing to witness", o.WitnessLogs))
	}
	signer, err := s.witnessKey()
	if err != nil {
		return fail(err)
	}
	var logs []note.Verifier
	for _, l := range policy.Logs {
		logs = append(logs, l.Verifier)
	}
	s.witness, err = witness.Open(witness.Options{Dir: filepath.Join(o.Data, witnessDir), Signer: signer, Logs: logs, Log: s.log})
	if err != nil {
		return fail(err)
	}
	if err := durable.WriteFile(filepath.Join(o.Data, witnessPubFile), []byte(signer.VerifierKey()+"\n")); err != nil {
		return errors.Join(fail(err), s.closeWitness())
	}
	s.log.Info("witness", "logs", len(s.witness.Logs), "key", signer.VerifierKey())
	return nil
}

// witnessKey reads the key of the witness, or makes one. A key whose directory is
// gone vouched for histories that nobody remembers.
func (s *Server) witnessKey() (*witness.Signer, error) {
	path := filepath.Join(s.options.Data, filepath.FromSlash(witnessKeyFile))
	text, err := os.ReadFile(path)
	if err == nil {
		dir := filepath.Join(s.options.Data, witnessDir)
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("%s is there and %s, which says what it has cosigned, is not: retire the key, and begin with another one: %w", path, dir, err)
		}
		return witness.ParseSigner(strings.TrimSpace(string(text)))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	secret, _, err := witness.GenerateKey(first(s.options.WitnessName, s.options.defaultOrigin(s.program.node)+"/witness"))
	if err != nil {
		return nil, err
	}
	// The directory first: a key without one was used.
	if err := durable.MkdirAll(filepath.Join(s.options.Data, witnessDir)); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, []byte(secret+"\n")); err != nil {
		return nil, err
	}
	s.log.Info("key of the witness made", "path", path)
	return witness.ParseSigner(secret)
}

func (s *Server) closeWitness() error {
	if s.witness == nil {
		return nil
	}
	err := s.witness.Close()
	s.witness = nil
	return err
}

// ledgerRoutes serve the ledger and the witness: hashes and signatures to
// everybody, what entries say to auditors; operators change keys.
func (s *Server) ledgerRoutes() ([]wire.Route, error) {
	o := ledgerapi.Options{Witness: s.witness, Log: s.log}
	if s.keeper != nil {
		o.Reader = ledger.NewReader(&s.keeper.relay, s.keeper.origin)
		o.Keys = s.ledgerKeys
	}
	if o.Reader == nil && o.Witness == nil {
		return nil, nil
	}
	return ledgerapi.Routes(o)
}
