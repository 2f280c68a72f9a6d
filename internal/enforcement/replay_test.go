package enforcement_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// BenchmarkRecover is a start with a ledger of a third each: denials that count, those
// that do not, and what has nothing to do with it. It prints entries per second.
func BenchmarkRecover(b *testing.B) {
	const entries = 60_000
	ctx := b.Context()
	store, err := ledgerdb.Open(ctx, b.TempDir(), ledgerdb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	key, _, err := ledger.GenerateSigner(rand.Reader, "example.org/ledger")
	if err != nil {
		b.Fatal(err)
	}
	log, err := ledger.Open(ctx, store, ledger.Options{Origin: "example.org/ledger", Signers: []ledger.Signer{key}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = errors.Join(log.Close(), store.Close()) }()
	var batch []ledger.Entry
	for i := range entries {
		node := fmt.Sprintf("node-%d", i%300)
		e := ledger.Entry{
			Kind: ledger.Denial, Metric: "gps_location", Node: node, Role: "node_operator", Operation: "collect", Outcome: "forbidden",
			Clause: "privacy.location", Severity: "critical", Mode: "enforce", Principal: "cert:" + node, Revision: "production-1.2.0+ab12cd34ef56",
			Reasons: []ledger.Reason{{Code: "forbidden_metric", Clause: "privacy.location", Severity: "critical"}},
		}
		switch i % 3 {
		case 1:
			e.Principal = "token:proxy"
		case 2:
			e.Kind, e.Outcome, e.Metric = ledger.Allowance, "allowed", "latency"
		}
		if batch = append(batch, e); len(batch) == 512 || i == entries-1 {
			if _, err := log.AppendAll(ctx, batch, ledger.Durable); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	c, findings := charter.Parse("charter.yaml", []byte("apiVersion: charter/v1\nkind: Charter\nmetadata: {name: example, version: 1.0.0}\naccess_levels: [public]\n"))
	if c == nil {
		b.Fatal(findings)
	}
	start := func() {
		e, err := enforcement.New(enforcement.Options{
			Log: log, History: store, Charter: func() *charter.Charter { return c }, Publish: func(context.Context, map[string]any) error { return nil },
		})
		if err == nil {
			err = e.Recover(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	start() // which records the incidents
	began := time.Now()
	for b.Loop() {
		start()
	}
	b.ReportMetric(entries*float64(b.N)/time.Since(began).Seconds(), "entries/s")
}
