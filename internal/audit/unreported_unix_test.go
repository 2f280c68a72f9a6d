//go:build unix

package audit

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A disk that hangs costs the first denials their time, and not all that follow.
func TestKeepingOnADiskThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unreported.json")
	pipe := path + ".next" // whoever opens it to write waits for a reader
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	const patience = 50 * time.Millisecond
	a, log := auditing(Rules{}, func(o *Options) { o.Unreported, o.Deadline = path, patience })
	log.fail(errDown)
	begin := time.Now()
	deny(t, a, 20)
	for range 100 {
		deny(t, a, 1)
	}
	if took := time.Since(begin); took < patience || took > 50*patience {
		t.Errorf("120 denials took %s", took)
	}
	if a.Stats().Unkept == nil {
		t.Error("not told")
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.unreported.mu.Lock()
	flight := a.unreported.flight
	a.unreported.mu.Unlock()
	if flight != nil {
		<-flight // a pipe cannot be synced, so this attempt fails
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}
