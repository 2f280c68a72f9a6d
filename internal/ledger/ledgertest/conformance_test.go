package ledgertest_test

import (
	"testing"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
)

func memory(*testing.T) ledgertest.Backend {
	m := ledgertest.NewMemory()
	return ledgertest.Backend{Open: func(testing.TB, bool) ledger.Store { return m }}
}

func TestMemoryConforms(t *testing.T) { ledgertest.Conformance(t, memory) }

func TestLogInMemory(t *testing.T) { ledgertest.LogSuite(t, memory) }
