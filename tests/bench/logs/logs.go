// Package logs holds what is compared as a place to record decisions: the ledger,
// a Tessera log in files, and a file of hash-chained lines that is synced for each
// entry.
//
// A [Kind] opens one. All of them are given the same [ledger.Entry] and store the
// same bytes, its canonical JSON. [Closed] and [Open] load a log; what it has
// acknowledged is then read back with [Kind.Read], which trusts nothing but the
// files, and compared by [Check]: a log that forgets does not win.
package logs

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/westworld-charter/charter/internal/ledger"
)

// Log takes entries. Append is safe for concurrent use and returns the index of
// the entry when it keeps the promise of its kind.
type Log interface {
	Append(ctx context.Context, e ledger.Entry) (index uint64, err error)
	Close() error
}

// Kind is one way to keep a log.
type Kind struct {
	Name string
	// Promise is what an acknowledged entry is: it goes into the results.
	Promise string
	// Open opens the log in a directory, or begins one.
	Open func(ctx context.Context, dir string) (Log, error)
	// Read returns the bodies of all entries of a closed log, in order, after
	// checking the signature or hashes that cover them.
	Read func(ctx context.Context, dir string) ([][]byte, error)
}

// origin is the name of the logs and of their keys.
const origin = "bench.example/log"

// BodySize is the length in bytes of the body of every [Entry].
const BodySize = 428

// Entry returns a denial like those of a running server, without its time. n
// tells it from others, of which there are fewer than 100,000,000.
func Entry(n int) ledger.Entry {
	node := fmt.Sprintf("edge-%02d", n%Nodes)
	return ledger.Entry{
		Schema: ledger.Schema, Kind: ledger.Denial,
		Metric: fmt.Sprintf("node_gps_fix_%02d", n%50), Node: node, Role: "node_operator", Operation: "collect",
		Labels: []string{"device", "instance"}, Outcome: "forbidden", Clause: "privacy.location", Severity: "critical",
		Reasons:  []ledger.Reason{{Code: "forbidden_metric", Clause: "privacy.location"}},
		Revision: "production-1.2.0+ab12cd34ef56", DecisionID: decisionID(n), Principal: "cert:" + node,
	}
}

// Nodes is how many nodes the entries are about, in turn.
const Nodes = 100

func decisionID(n int) string { return fmt.Sprintf("019a-%08d", n) }

// encode gives an entry the time of now and returns its body, as the ledger does
// with the entries that it is given.
func encode(e ledger.Entry) ([]byte, error) {
	e.Time = time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	return e.Body()
}

// Ack says that a log acknowledged Entry(N) at an index.
type Ack struct {
	Index uint64
	N     int
}

// Check compares what a log holds with what it has acknowledged since it held
// before entries: all of them at their index, and no more.
func Check(acks []Ack, before int, bodies [][]byte) error {
	if len(bodies) != before+len(acks) {
		return fmt.Errorf("the log holds %d entries; %d were there and %d acknowledged", len(bodies), before, len(acks))
	}
	seen := make([]bool, len(bodies))
	for _, a := range acks {
		if a.Index < uint64(before) || a.Index >= uint64(len(bodies)) || seen[a.Index] {
			return fmt.Errorf("entry %d was acknowledged at index %d, which is not its own; there are %d", a.N, a.Index, len(bodies))
		}
		seen[a.Index] = true
		body := bodies[a.Index]
		if len(body) != BodySize || !bytes.Contains(body, []byte(strconv.Quote(decisionID(a.N)))) {
			return fmt.Errorf("index %d holds %q and not the entry %d that was acknowledged there", a.Index, body, a.N)
		}
	}
	return nil
}
