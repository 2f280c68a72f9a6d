package ledgerdb

import (
	"context"
	"log/slog"
	"strings"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Options say how a ledger is opened, wherever it is. The zero value opens it to
// write, and makes it if there is none.
type Options struct {
	// ReadOnly is for auditors: nothing is changed, and another process may be
	// writing.
	ReadOnly bool
	// MustExist refuses to begin a new ledger.
	MustExist bool
	// Head is a file in which the latest checkpoint is kept outside of a database
	// server; "" is none. A directory has one of its own.
	Head string
	// Log gets what operators should know; nil is nothing.
	Log *slog.Logger
}

// Open opens the ledger that ref names: a URL as [OpenPostgres] takes it, or a
// directory.
func Open(ctx context.Context, ref string, o Options) (ledger.Store, error) {
	if IsPostgres(ref) {
		return opened(OpenPostgres(ctx, ref, PostgresOptions(o)))
	}
	return opened(OpenSQLite(ctx, ref, SQLiteOptions{ReadOnly: o.ReadOnly, MustExist: o.MustExist, Log: o.Log}))
}

// opened keeps a nil pointer from becoming a store.
func opened[S ledger.Store](s S, err error) (ledger.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// IsPostgres tells whether ref names a ledger in PostgreSQL.
func IsPostgres(ref string) bool {
	return strings.HasPrefix(ref, "postgres://") || strings.HasPrefix(ref, "postgresql://")
}
