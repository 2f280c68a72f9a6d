package ledgerdb

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/westworld-charter/charter/internal/durable"
	"github.com/westworld-charter/charter/internal/ledger"
)

// identity is a file that a connection has open, by the name it should have.
type identity struct {
	path string
	info os.FileInfo
}

func identities(paths ...string) ([]identity, error) {
	var list []identity
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		list = append(list, identity{path, info})
	}
	return list, nil
}

// samePlace tells whether the files are still where they were opened.
func samePlace(files []identity) error {
	for _, f := range files {
		now, err := os.Stat(f.path)
		if err != nil {
			return fmt.Errorf("%w: a file was deleted while it is written: %w", ledger.ErrDamaged, err)
		}
		if !os.SameFile(f.info, now) {
			return fmt.Errorf("%w: %s was replaced while it is written", ledger.ErrDamaged, f.path)
		}
	}
	return nil
}

// Probe finds out whether a commit would succeed: the files are those that were
// opened, and the directory takes a few more durable bytes.
func (s *SQLite) Probe(ctx context.Context) error {
	if s.writer == nil {
		return errReadOnly
	}
	if err := samePlace(s.files); err != nil {
		return fmt.Errorf("probe ledger: %w", err)
	}
	// As large as what a commit adds to the write-ahead log.
	if err := durable.WriteFile(s.path("probe"), make([]byte, 16<<10)); err != nil {
		return fmt.Errorf("probe ledger: %w", err)
	}
	var one int
	if err := s.reader.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("probe ledger: %w", err)
	}
	return nil
}

// Anchor returns the checkpoint that is kept in a file of its own: damage to the
// database, and dropping its end, do not reach it.
func (s *SQLite) Anchor() ledger.HeadSource { return anchor(s.path(headFile)) }

type anchor string

// Head returns the checkpoint in the file.
func (a anchor) Head(context.Context) ([]byte, error) {
	signed, err := os.ReadFile(string(a))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", string(a), ledger.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if _, _, _, err := ledger.ParseCheckpoint(signed); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", string(a), ledger.ErrDamaged, err)
	}
	return signed, nil
}

// writeAnchor keeps the latest checkpoint, which is durable in the database.
func (s *SQLite) writeAnchor(ctx context.Context) error {
	_, signed, err := s.Head(ctx)
	if err != nil || signed == nil {
		return err
	}
	return durable.WriteFile(s.path(headFile), signed)
}
