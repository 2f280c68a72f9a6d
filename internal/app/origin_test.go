package app

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/releases"
)

// A server and nodes on one machine have ledgers of different names, since a witness of
// two of one name would take one for a fork of the other. What a ledger is called it
// stays.
func TestOriginsDiffer(t *testing.T) {
	origin := func(p Program, o Options) string {
		t.Helper()
		s, err := New(t.Context(), p, o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		return s.keeper.origin
	}
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	server1 := selfAsserted(example1)
	server1.Data, server1.Ledger.InsecureNone = t.TempDir(), false
	r := releases.NewRegistry(t)
	node := func(name string) Options {
		o := nodeOptions(t, r, releases.TrustedKey(t))
		o.Data, o.Node.Name = filepath.Join(t.TempDir(), "data"), name
		return o
	}
	unnamed, edge := node(""), node("edge-1")
	for _, c := range []struct {
		p    Program
		o    Options
		want string
	}{
		{server(), server1, "charter.local/" + host},
		{CharterNode(), unnamed, "charter.local/" + host + "/node"},
		{CharterNode(), edge, "charter.local/edge-1/node"},
		{CharterNode(), node("rack 7+8"), "charter.local/" + host + "/node"}, // no name of a key
		{CharterNode(), node(strings.Repeat("n", 300)), "charter.local/" + host + "/node"},
	} {
		if got := origin(c.p, c.o); got != c.want {
			t.Errorf("the ledger of %s %.20q is %s, want %s", c.p.name, c.o.Node.Name, got, c.want)
		}
	}
	edge.Node.Name = "edge-2"
	if got := origin(CharterNode(), edge); got != "charter.local/edge-1/node" {
		t.Errorf("a node that is called otherwise opens its ledger as %s", got)
	}
	// That of a ledger from before nodes had names of their own.
	old := node("edge-3")
	old.Ledger.Origin = "charter.local/" + host
	origin(CharterNode(), old)
	old.Ledger.Origin = ""
	if got := origin(CharterNode(), old); got != "charter.local/"+host {
		t.Errorf("a ledger that was called charter.local/%s is opened as %s", host, got)
	}
	old.Ledger.Origin = "example.org/edge-3"
	_, err = New(t.Context(), CharterNode(), old, slog.New(slog.DiscardHandler))
	if wrong, ok := errors.AsType[*LedgerError](err); !ok || !strings.Contains(wrong.Hint, "Leave --ledger-origin out") {
		t.Errorf("another name for a ledger: %v", err)
	}
}
