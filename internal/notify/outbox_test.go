package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// childEnv turns the test binary into a process that can be killed: its value is the
// directory of the outbox.
const childEnv = "NOTIFY_TEST_OUTBOX"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

// child queues messages for a receiver that is down, says so, and waits to be killed.
func child(dir string) {
	n, err := New(Options{Dir: dir, Receivers: []charter.Receiver{hook("ops")}})
	if err != nil {
		panic(err)
	}
	go func() { panic(n.Run(context.Background())) }()
	for i := range 100 {
		n.Send([]string{"ops"}, violation(fmt.Sprint(i), []string{Critical, "low"}[i%2], "edge-1"))
	}
	if err := n.Sync(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("queued")
	select {}
}

func TestKilledProcessDeliversAfterwards(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if row, err := bufio.NewReader(out).ReadString('\n'); row != "queued\n" {
		t.Fatalf("%q, %v", row, err)
	}
	if _, err := New(Options{Dir: dir}); err == nil {
		t.Error("two processes use one outbox")
	}
	if err := cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	s, l := newHTTPSink(t, httptest.NewServer), &told{}
	up := charter.Receiver{Name: "ops", Webhook: &charter.Webhook{URL: s.URL}}
	n, _ := running(t, Options{Dir: dir, Receivers: []charter.Receiver{up}, Delivered: l.add})
	before := n.Stats().Queued
	// What was sealed goes at once; the rest is a digest that waits for its time.
	eventually(t, "deliveries of before", func() bool { return len(l.states()) >= 2 })
	count := n.Stats().Queued
	for _, q := range s.requests() {
		var p Payload
		if err := json.Unmarshal(q.body, &p); err != nil {
			t.Fatal(err)
		}
		count += p.Data.Count
	}
	if before != 100 || count != 100 {
		t.Errorf("%d of 100 messages survived, %d were delivered or wait", before, count)
	}
}

// A file that a crash or a disk spoiled costs what is spoiled and no more.
func TestDamagedOutbox(t *testing.T) {
	fill := func(t *testing.T) string {
		dir := t.TempDir()
		n, stop := running(t, Options{Dir: dir, Receivers: []charter.Receiver{hook("ops")}})
		eventually(t, "the first snapshot", func() bool { names, _ := filepath.Glob(filepath.Join(dir, journalPrefix+"*")); return len(names) == 1 })
		for i := range 20 {
			n.Send([]string{"later"}, violation(fmt.Sprint(i), "low", "edge-1"))
			if err := n.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		return dir
	}
	only := func(t *testing.T, dir, pattern string) string {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) != 1 {
			t.Fatalf("%q, %v: one file expected", names, err)
		}
		return names[0]
	}
	// The queue of an unknown receiver is given up at once, so what is read is looked at here.
	count := func(t *testing.T, dir string) (messages, damaged int) {
		o, s, damaged, err := openOutbox(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer o.close() //nolint:errcheck // only read
		return len(s.Seen), damaged
	}
	t.Run("whole", func(t *testing.T) {
		if got, damaged := count(t, fill(t)); got != 20 || damaged != 0 {
			t.Errorf("%d messages, %d damaged lines", got, damaged)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		dir := fill(t)
		name := only(t, dir, journalPrefix+"*")
		text := everything(t, dir)
		j, err := os.ReadFile(name)
		if err != nil || !strings.Contains(text, "edge-1") {
			t.Fatal(err)
		}
		write(t, name, string(j[:len(j)-5]))
		if _, damaged := count(t, dir); damaged != 0 {
			t.Errorf("%d damaged lines; what a crash cuts off is none", damaged)
		}
	})
	t.Run("one bit", func(t *testing.T) {
		dir := fill(t)
		name := only(t, dir, journalPrefix+"*")
		j, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		j[bytes.Index(j, []byte("edge-1"))] ^= 1
		write(t, name, string(j))
		if got, damaged := count(t, dir); got < 18 || damaged == 0 {
			t.Errorf("%d messages, %d damaged lines", got, damaged)
		}
	})
	t.Run("the snapshot", func(t *testing.T) {
		dir := fill(t)
		write(t, filepath.Join(dir, stateFile), "deadbeef {}\n")
		if got, damaged := count(t, dir); got != 20 || damaged == 0 {
			t.Errorf("%d messages, %d damaged lines", got, damaged)
		}
		log := &journal{}
		n, err := New(Options{Dir: dir, Log: log.logger()})
		if err != nil || !strings.Contains(log.String(), "damaged") {
			t.Errorf("%v: nobody was told: %s", err, log)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		write(t, file, "")
		if _, err := New(Options{Dir: filepath.Join(file, "x")}); err == nil {
			t.Error("a file was taken for a directory")
		}
	})
}

// Deliveries go on when the disk is full, and what waits is written when it is not.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if runtime.GOOS != "linux" || err != nil {
		t.Skip("there is no /dev/full")
	}
	s, l, log, dir := newHTTPSink(t, httptest.NewServer), &told{}, &journal{}, t.TempDir()
	up := charter.Receiver{Name: "up", Webhook: &charter.Webhook{URL: s.URL}}
	n, err := New(Options{Dir: dir, Receivers: []charter.Receiver{up, hook("down")}, Delivered: l.add, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.write(); err != nil {
		t.Fatal(err)
	}
	// The next lines meet a full disk, and so does the attempt to write all anew.
	_ = n.outbox.journal.Close()
	n.outbox.journal = full
	if err := os.Mkdir(filepath.Join(dir, stateFile+".next"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.Send([]string{"up", "down"}, violation("v", Critical, "edge-1"))
	eventually(t, "delivery without a disk", func() bool { return len(s.requests()) == 1 })
	eventually(t, "a word about the disk", func() bool { return n.Stats().Outbox != nil })
	if n.Stats().Since.IsZero() || !strings.Contains(log.String(), "cannot be written") {
		t.Error("nobody is told since when")
	}
	waiting, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if n.Sync(waiting) == nil {
		t.Error("Sync says that it is on disk")
	}
	if err := os.Remove(filepath.Join(dir, stateFile+".next")); err != nil {
		t.Fatal(err)
	}
	if err := n.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Stats().Outbox != nil {
		t.Error("the fault stays")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	box, st, damaged, err := openOutbox(dir)
	if err != nil || damaged != 0 || st.Queues["down"].Lanes[urgent].Flight == nil {
		t.Fatalf("%v, %d damaged lines, %s", err, damaged, text(t, st))
	}
	if err := box.close(); err != nil {
		t.Error(err)
	}
}

// A dead letter that cannot be kept is no reason to forget the message.
func TestDeadLetterWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.RemoveAll(filepath.Join(dir, deadDir)); err != nil {
		t.Fatal(err)
	}
	n, _ := running(t, Options{Dir: dir})
	write(t, filepath.Join(dir, "x"), "")
	if err := os.Remove(filepath.Join(dir, deadDir)); err != nil {
		t.Fatal(err)
	}
	n.Send([]string{"nobody"}, violation("v", Critical, "edge-1"))
	eventually(t, "a failure", func() bool {
		st := n.Stats()
		return len(st.Failing) == 1 && st.Failing[0].Code == CodeOutboxUnwritable && st.Queued == 1
	})
	if err := os.Mkdir(filepath.Join(dir, deadDir), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead letter", func() bool { dead, err := Dead(dir); return err == nil && len(dead) == 1 })
}

func TestDeadLetters(t *testing.T) {
	dir := t.TempDir()
	if dead, err := Dead(dir); err != nil || dead != nil {
		t.Errorf("%v, %v of nothing", dead, err)
	}
	if err := os.Mkdir(filepath.Join(dir, deadDir), 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for i := range maxDead {
		write(t, filepath.Join(dir, deadDir, fmt.Sprintf("20260101T%09d-x.json", i)), text(t, DeadLetter{ID: "x", Receiver: "ops"}))
	}
	for i := range 3 {
		if err := writeDead(dir, DeadLetter{ID: fmt.Sprint("msg_", i), Receiver: "ops", Dead: at.Add(time.Duration(i))}); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := Dead(dir)
	if err != nil || len(dead) != maxDead || dead[maxDead-1].ID != "msg_2" {
		t.Errorf("%d dead letters, %v", len(dead), err)
	}
	write(t, filepath.Join(dir, deadDir, "20270101T1-y.json"), "{")
	if dead, err := Dead(dir); err == nil || len(dead) != maxDead {
		t.Errorf("%d dead letters, %v: one is damaged", len(dead), err)
	}
}

// The journal must not grow forever.
func TestJournalIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	n, stop := running(t, Options{Dir: dir, Receivers: []charter.Receiver{hook("ops")}})
	m := violation("", "low", "edge-1")
	m.Text = strings.Repeat("x", maxText)
	for i := range 3000 {
		m.ID = fmt.Sprint(i)
		n.Send([]string{"ops"}, m)
		if i%300 == 0 {
			if err := n.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	if size := len(everything(t, dir)); size > maxJournal+maxUnsaved {
		t.Errorf("%d bytes for a queue of one receiver", size)
	}
	box, s, damaged, err := openOutbox(dir)
	if err != nil || damaged != 0 {
		t.Fatal(damaged, err)
	}
	defer box.close() //nolint:errcheck // only read
	q := s.Queues["ops"].Lanes[ordinary]
	if got := q.Flight.Digest.Count + q.Pending.Count; got != 3000 {
		t.Errorf("%d of 3000 messages wait", got)
	}
}

func FuzzOutbox(f *testing.F) {
	var whole []byte
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	m := violation("v", Critical, "edge-1").bounded(at)
	for _, r := range []record{
		{Op: opAdd, At: at, To: []string{"ops"}, Message: &m},
		{Op: opSeal, At: at, Receiver: "ops", ID: "msg_1"},
		{Op: opFail, At: at, Receiver: "ops", ID: "msg_1", Next: at, Code: CodeTimeout, Sent: []string{"a@example.org"}},
		{Op: opEnd, At: at, Receiver: "ops", ID: "msg_1"},
	} {
		whole = append(whole, encode(r)...)
		f.Add([]byte(nil), append([]byte(nil), whole...), false)
	}
	f.Add(frame([]byte(`{"generation":1,"state":{"queues":{"ops":{"lanes":[{"pending":{"count":1,"messages":[{}]}},{}]}},"seen":["a"]}}`)), []byte("{}"), false)
	f.Add([]byte(`{"generation":1,"state":{"queues":{"ops":null},"seen":null}}`), []byte(`{"op":"seal","receiver":"ops"}`), true)
	f.Fuzz(func(t *testing.T, snap, rows []byte, framed bool) {
		if framed { // otherwise the checksum keeps most inputs out
			snap = frame(snap)
			var all []byte
			for row := range bytes.Lines(rows) {
				all = append(all, frame(bytes.TrimSuffix(row, []byte("\n")))...)
			}
			rows = all
		}
		s, _, _ := readSnapshot(snap)
		replay(rows, s)
		s.wake(at)
		if len(s.Queues) > maxQueues || len(s.Seen) > 2*maxSeen {
			t.Fatal("the state is not bounded")
		}
		for name, q := range s.Queues {
			for i := range q.Lanes {
				l := q.Lanes[i]
				if l.Pending != nil {
					if !l.Pending.sound() {
						t.Fatal("a digest that cannot be told")
					}
					identify(name, l.Pending)
				}
				if l.Flight != nil {
					_ = l.Flight.payload()
					_ = slackOf("", l.Flight.Digest)
				}
				l.Pace.wait(at, ruleOf(i))
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Fatalf("it cannot be written: %v", err)
		}
	})
}

func FuzzDead(f *testing.F) {
	f.Add([]byte(`{"id":"msg_1","receiver":"ops","payload":{"data":{"messages":[{"id":"v"}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseDead(b); err == nil && (d.ID == "" || d.Receiver == "") {
			t.Error("a letter from nobody")
		}
	})
}

func FuzzSigningKeys(f *testing.F) {
	f.Add(newSecret + "\n" + oldSecret)
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := signingKeys(s)
		for _, k := range keys {
			if err == nil && len(k) < minKey {
				t.Error("a short key signs")
			}
		}
	})
}
