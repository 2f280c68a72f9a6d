package ledgertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Origin is the name of the logs that this package makes.
const Origin = "ledger.example/test"

// NewSigner returns a new key for a log named Origin.
func NewSigner(t testing.TB) ledger.Signer {
	t.Helper()
	s, _, err := ledger.GenerateSigner(rand.Reader, Origin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Keys returns what verifies the log of these signers.
func Keys(t testing.TB, signers ...ledger.Signer) ledger.Keys {
	t.Helper()
	keys := ledger.Keys{Origin: Origin}
	for _, s := range signers {
		v, err := note.NewVerifier(s.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		keys.Log = append(keys.Log, v)
	}
	return keys
}

// NewLog opens a log over a store; nil is a new one in memory. The test closes
// the log. Change adjusts the options; nil leaves them.
func NewLog(t testing.TB, s ledger.Store, signer ledger.Signer, change func(*ledger.Options)) *ledger.Log {
	t.Helper()
	if s == nil {
		s = NewMemory()
	}
	o := ledger.Options{Origin: Origin, Signers: []ledger.Signer{signer}}
	if change != nil {
		change(&o)
	}
	l, err := ledger.Open(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Denial returns a denial like those of a running server; n tells it from others.
func Denial(n int) ledger.Entry {
	return ledger.Entry{
		Kind: ledger.Denial, Metric: fmt.Sprintf("node_gps_fix_%d", n%50), Node: fmt.Sprintf("edge-%d", n%100),
		Role: "node_operator", Operation: "collect", Labels: []string{"device", "instance"}, Outcome: "forbidden",
		Clause: "privacy.location", Severity: "critical", Revision: "production-1.2.0+ab12cd34ef56",
		DecisionID: fmt.Sprintf("019a%08d", n), Principal: fmt.Sprintf("edge-%d", n%100),
	}
}

// Append appends denials and fails the test if one is not durable.
func Append(t testing.TB, l *ledger.Log, count int) (last ledger.Position) {
	t.Helper()
	for n := range count {
		p, err := l.Append(context.Background(), Denial(n), ledger.Durable)
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	return last
}
