//go:build linux

package postgrestest

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A server that answers in the place of another is not taken for it: ledgers of
// the same name would be there, signed by other keys.
func TestAnotherServerIsNotTaken(t *testing.T) {
	s := Start(t)
	if err := s.ping(); err != nil {
		t.Fatal(err)
	}
	other := &Server{dir: t.TempDir(), host: s.host, port: s.port}
	if err := other.ping(); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("another server was taken: %v", err)
	}
	s.Kill(t)
	s.Run(t)
	if c, err := pgx.Connect(context.Background(), s.plain()); err != nil {
		t.Error(err)
	} else if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
