package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/ledger/ledgertest"
	"github.com/westworld-charter/charter/internal/ledgerdb"
)

// long tells whether the long form of the tests was asked for.
func long() bool { return os.Getenv("CHARTER_FAULT") == "long" }

const (
	writerDir = "CHARTER_TEST_WRITER_DIR" // makes the test binary a writer, to be killed
	writerKey = "CHARTER_TEST_WRITER_KEY"
	writerRun = "CHARTER_TEST_WRITER_RUN"
	// writerFault is what goes wrong once the ledger is open: see breakDisk.
	writerFault = "CHARTER_TEST_WRITER_FAULT"
	writers     = 16
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := write(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// write appends without end and says on standard output what was acknowledged:
// an index and a decision id a line.
func write(dir string) error {
	ctx := context.Background()
	signer, err := ledger.NewSigner(os.Getenv(writerKey))
	if err != nil {
		return err
	}
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{})
	if err != nil {
		return err
	}
	log, err := ledger.Open(ctx, store, ledger.Options{Origin: ledgertest.Origin, Signers: []ledger.Signer{signer}})
	if err != nil {
		return err
	}
	fmt.Println("open")
	if err := breakDisk(os.Getenv(writerFault)); err != nil {
		return err
	}
	var out sync.Mutex
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			for n := 0; ; n++ {
				e := ledgertest.Denial(n)
				e.DecisionID = fmt.Sprintf("%s-%d-%d", os.Getenv(writerRun), w, n)
				if n%8 == 0 { // some with a request, so that the index matters
					e.RequestID = e.DecisionID
				}
				p, err := log.Append(ctx, e, ledger.Durable)
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Printf("%d %s\n", p.Index, e.DecisionID)
				out.Unlock()
			}
		}()
	}
	cause := <-failed
	if err := log.Health(ctx); !errors.Is(err, ledger.ErrStopped) {
		return fmt.Errorf("after %w the ledger says of itself: %v", cause, err)
	}
	if _, err := log.Append(ctx, ledgertest.Denial(0), ledger.Durable); !errors.Is(err, ledger.ErrStopped) {
		return fmt.Errorf("after %w the ledger goes on: %v", cause, err)
	}
	return cause
}

// start starts a writer. Told is called when it has opened the ledger; the end of
// the process ends the list of what it acknowledged.
func start(t *testing.T, dir, key string, run int, fault string, told func(*os.Process)) (acknowledged map[uint64]string, complaint string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir, writerKey+"="+key, fmt.Sprintf("%s=%d", writerRun, run), writerFault+"="+fault)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged = make(map[uint64]string)
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil { // what a kill cut off was not said
			if err != io.EOF {
				t.Fatal(err)
			}
			break
		}
		if line == "open\n" {
			told(cmd.Process)
			continue
		}
		var index uint64
		var id string
		if _, err := fmt.Sscanf(line, "%d %s", &index, &id); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if other, ok := acknowledged[index]; ok {
			t.Fatalf("index %d was given to %s and to %s", index, other, id)
		}
		acknowledged[index] = id
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	return acknowledged, stderr.String()
}

// kill starts a writer, kills it after a while, and returns what it acknowledged.
func kill(t *testing.T, dir, key string, run int) map[uint64]string {
	t.Helper()
	var timer *time.Timer
	acknowledged, complaint := start(t, dir, key, run, "", func(p *os.Process) {
		timer = time.AfterFunc(time.Duration(1+mathrand.IntN(150))*time.Millisecond, func() { _ = p.Kill() })
	})
	if timer == nil || complaint != "" {
		t.Fatalf("run %d: the writer did not write: %s", run, complaint)
	}
	timer.Stop()
	return acknowledged
}

// Whatever was acknowledged must be there after a kill, at its place, once.
func TestKilledWriterLosesNothing(t *testing.T) {
	runs := 5
	if long() {
		runs = 200
	}
	dir := t.TempDir()
	signer, key, err := ledger.GenerateSigner(rand.Reader, ledgertest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[uint64]string)
	for run := range runs {
		for index, id := range kill(t, dir, key, run) {
			if other, ok := all[index]; ok {
				t.Fatalf("index %d was given to %s, and after a kill to %s", index, other, id)
			}
			all[index] = id
		}
		if run%20 == 19 || run == runs-1 {
			present(t, dir, signer, all)
		}
	}
	t.Logf("%d kills, %d entries acknowledged", runs, len(all))
}

// present checks the ledger as a whole, and for what was acknowledged.
func present(t *testing.T, dir string, signer ledger.Signer, acknowledged map[uint64]string) {
	t.Helper()
	ctx := context.Background()
	store, err := ledgerdb.OpenSQLite(ctx, dir, ledgerdb.SQLiteOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	report, err := ledger.Verify(ctx, store, ledger.VerifyOptions{Keys: keysOf(t, signer), Pinned: true})
	if err != nil {
		t.Fatal(err)
	}
	seen, found := make(map[string]uint64), 0
	for row, err := range store.Rows(ctx, 0, report.Size) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		if first, twice := seen[e.DecisionID]; twice {
			t.Errorf("%s is at %d and at %d", e.DecisionID, first, row.Index)
		}
		seen[e.DecisionID] = row.Index
		if id, ok := acknowledged[row.Index]; ok {
			if found++; id != e.DecisionID {
				t.Errorf("index %d was acknowledged to %s and holds %s", row.Index, id, e.DecisionID)
			}
		}
	}
	if found != len(acknowledged) {
		t.Errorf("of %d acknowledged entries %d are there", len(acknowledged), found)
	}
}

func keysOf(t *testing.T, signers ...ledger.Signer) ledger.Keys {
	t.Helper()
	keys := ledger.Keys{Origin: ledgertest.Origin}
	for _, s := range signers {
		v, err := note.NewVerifier(s.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		keys.Log = append(keys.Log, v)
	}
	return keys
}
