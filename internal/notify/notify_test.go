package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

func to(s *sink) func(*charter.Receiver) channel {
	return func(r *charter.Receiver) channel {
		if r == nil {
			return nil
		}
		return s
	}
}

// What the issue asks for: a storm must neither drown people nor lose anything.
func TestBurstIsFewMessages(t *testing.T) {
	for _, severities := range [][]string{{"high"}, {Critical}, {Critical, "low"}} {
		t.Run(strings.Join(severities, "+"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{}
				n, _ := running(t, Options{Receivers: []charter.Receiver{hook("committee")}, open: to(s)})
				const all = 10_000
				for i := range all {
					n.Send([]string{"committee"}, violation(fmt.Sprint(i), severities[i%len(severities)], fmt.Sprintf("node-%d", i%500)))
					if i%50 == 49 { // a sync of the disk for each would take minutes
						pass(10 * time.Second / all * 50)
					}
				}
				pass(time.Minute)
				got, count := s.arrivals(), 0
				for _, a := range got {
					count += a.Digest.Count
				}
				if count != all {
					t.Errorf("the messages stand for %d violations, want %d", count, all)
				}
				if len(got) > 10 {
					t.Errorf("%d messages of a burst of %d, want at most 10", len(got), all)
				}
				if at := got[0].at.Sub(got[0].Digest.First); at > time.Millisecond {
					t.Errorf("the first message went out after %s: it has to at once", at)
				}
				last := got[len(got)-1].Digest
				if len(last.Nodes.By) > maxNamed || len(last.Messages) > maxSamples {
					t.Errorf("a digest of %d names and %d messages is not bounded", len(last.Nodes.By), len(last.Messages))
				}
			})
		})
	}
}

func TestQuietReceiverHearsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		n, _ := running(t, Options{Receivers: []charter.Receiver{hook("committee")}, open: to(s)})
		for i := range 3 {
			start := time.Now()
			n.Send([]string{"committee"}, violation(fmt.Sprint(i), "low", "edge-1"))
			synctest.Wait()
			got := s.arrivals()
			if len(got) != i+1 || got[i].at.Sub(start) > 0 {
				t.Fatalf("message %d of a quiet receiver did not go out at once: %d arrived", i, len(got))
			}
			pass(31 * time.Second)
		}
		// What follows within the window is one digest.
		n.Send([]string{"committee"}, violation("first", "low", "edge-2"))
		synctest.Wait()
		for i := range 5 {
			n.Send([]string{"committee"}, violation(fmt.Sprint("more", i), "low", "edge-2"))
		}
		synctest.Wait()
		pass(29 * time.Second)
		if got := s.arrivals(); len(got) != 4 {
			t.Fatalf("%d messages within the window, want one of it", len(got))
		}
		pass(2 * time.Second)
		if got := s.arrivals(); len(got) != 5 || got[4].Digest.Count != 5 {
			t.Fatalf("no digest of the rest after the window: %d messages", len(got))
		}
	})
}

// A receiver that hangs on a low message must still get the critical one.
func TestCriticalOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{answer: func(_ int, d *delivery) outcome {
			if d.Digest.Severity != Critical {
				return outcome{code: "hang"}
			}
			return outcome{}
		}}
		n, _ := running(t, Options{Receivers: []charter.Receiver{hook("committee")}, open: to(s)})
		for i := range 100 {
			n.Send([]string{"committee"}, violation(fmt.Sprint(i), "low", "edge-1"))
		}
		synctest.Wait()
		start := time.Now()
		n.Send([]string{"committee"}, violation("grave", Critical, "edge-1"))
		synctest.Wait()
		got := s.arrivals()
		if last := got[len(got)-1]; last.Digest.Severity != Critical || last.at.Sub(start) > 0 {
			t.Errorf("the critical message waits behind low ones")
		}
	})
}

func TestBackoffAndDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hook("ops")
		r.Webhook.Retries = 5
		s, l, dir := &sink{answer: func(int, *delivery) outcome { return failed(CodeServerError, "500") }}, &told{}, t.TempDir()
		n, _ := running(t, Options{Receivers: []charter.Receiver{r}, Dir: dir, open: to(s), Delivered: l.add})
		n.Send([]string{"ops"}, violation("v", "high", "edge-1"))
		pass(time.Hour)
		got := s.arrivals()
		if len(got) != 6 {
			t.Fatalf("%d attempts, want one and 5 retries", len(got))
		}
		for i := 1; i < len(got); i++ {
			wait, most := got[i].at.Sub(got[i-1].at), time.Second
			for range i - 1 {
				most *= 3
			}
			if wait < most/2 || wait > most {
				t.Errorf("retry %d came after %s, want %s to %s", i, wait, most/2, most)
			}
			if got[i].ID != got[0].ID {
				t.Error("the id of a delivery changed between attempts: the receiver takes it for another one")
			}
		}
		dead, err := Dead(dir)
		if err != nil || len(dead) != 1 || dead[0].Code != CodeServerError || dead[0].Attempts != 6 || dead[0].Payload.Data.Messages[0].ID != "v" {
			t.Errorf("dead letters: %+v, %v", dead, err)
		}
		if states := l.states(); !slices.Equal(states, []string{"failed", "dead"}) {
			t.Errorf("the ledger was told %q", states)
		}
		if st := n.Stats(); st.Queued != 0 || st.Dead != 1 || len(st.Failing) != 1 || st.Failing[0].Code != CodeServerError {
			t.Errorf("stats: %+v", st)
		}
		// The next one may work, and then all is well.
		s.mu.Lock()
		s.answer = nil
		s.mu.Unlock()
		n.Send([]string{"ops"}, violation("w", "high", "edge-1"))
		synctest.Wait()
		if st := n.Stats(); st.Queued != 0 || len(st.Failing) != 0 {
			t.Errorf("stats after a delivery: %+v", st)
		}
	})
}

func TestPermanentFailureIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := &sink{answer: func(int, *delivery) outcome { return outcome{code: CodeRejected, permanent: true} }}, t.TempDir()
		n, _ := running(t, Options{Receivers: []charter.Receiver{hook("ops")}, Dir: dir, open: to(s)})
		n.Send([]string{"ops"}, violation("v", "high", "edge-1"))
		pass(time.Hour)
		if got := s.arrivals(); len(got) != 1 {
			t.Errorf("%d attempts of what will never be taken", len(got))
		}
		if dead, err := Dead(dir); err != nil || len(dead) != 1 {
			t.Errorf("%d dead letters, %v", len(dead), err)
		}
	})
}

// Who asks for quiet gets it, in both lanes.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{answer: func(n int, _ *delivery) outcome {
			if n == 1 {
				return outcome{code: CodeRateLimited, after: 2 * time.Minute}
			}
			return outcome{}
		}}
		n, _ := running(t, Options{Receivers: []charter.Receiver{hook("ops")}, open: to(s)})
		n.Send([]string{"ops"}, violation("v", "low", "edge-1"))
		pass(time.Second)
		n.Send([]string{"ops"}, violation("w", Critical, "edge-1"))
		pass(118 * time.Second)
		if got := s.arrivals(); len(got) != 1 {
			t.Fatalf("%d messages although the receiver asked for quiet", len(got))
		}
		pass(2 * time.Second)
		if got := s.arrivals(); len(got) != 3 {
			t.Errorf("%d messages after the time that was asked for, want all", len(got))
		}
	})
}

func TestSameIDIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := &sink{}, t.TempDir()
		o := Options{Receivers: []charter.Receiver{hook("ops")}, Dir: dir, open: to(s)}
		n, stop := running(t, o)
		for range 3 {
			n.Send([]string{"ops", "ops"}, violation("v", "low", "edge-1"))
			pass(time.Minute)
		}
		stop()
		n, _ = running(t, o) // also after a restart
		n.Send([]string{"ops"}, violation("v", "low", "edge-1"))
		pass(time.Minute)
		if got := s.arrivals(); len(got) != 1 {
			t.Errorf("one notice was told %d times", len(got))
		}
		for i := range 3 * maxSeen {
			n.Send([]string{"ops"}, violation(fmt.Sprint(i), "low", "edge-1"))
		}
		if len(n.state.Seen) > 2*maxSeen || len(n.state.seen) != len(n.state.Seen) {
			t.Errorf("%d ids are remembered", len(n.state.Seen))
		}
	})
}

func TestReceiversChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, up, dir := &sink{answer: func(int, *delivery) outcome { return failed(CodeUnreachable, "down") }}, &sink{}, t.TempDir()
		open := func(r *charter.Receiver) channel {
			switch {
			case r == nil:
				return nil
			case r.Webhook.URL == "http://127.0.0.1:1/":
				return down
			default:
				return up
			}
		}
		o := Options{Receivers: []charter.Receiver{hook("ops"), hook("gone")}, Dir: dir, open: open}
		n, stop := running(t, o)
		n.Send([]string{"ops", "gone"}, violation("v", "low", "edge-1"))
		pass(30 * time.Minute) // backoff is long by now
		attempts := len(down.arrivals())
		moved := hook("ops")
		moved.Webhook.URL = "http://127.0.0.1:2/"
		n.Update([]charter.Receiver{moved, hook("new")})
		synctest.Wait()
		if got := up.arrivals(); len(got) != 1 || got[0].Digest.Messages[0].ID != "v" {
			t.Fatal("what waited did not go to the new address at once")
		}
		n.Send([]string{"new"}, violation("w", "low", "edge-1"))
		pass(time.Hour)
		if got := down.arrivals(); len(got) <= attempts {
			t.Error("the queue of a receiver that is gone was dropped")
		}
		stop()
		o.Receivers = []charter.Receiver{moved}
		n, _ = running(t, o)
		synctest.Wait()
		dead, err := Dead(dir)
		codes := map[string]string{}
		for _, d := range dead {
			codes[d.Receiver] = d.Code
		}
		if err != nil || codes["gone"] != CodeUnknownReceiver {
			t.Errorf("after a restart nobody knows where it was: want a dead letter, got %v, %v", codes, err)
		}
		if st := n.Stats(); st.Queued != 0 {
			t.Errorf("%d messages wait for nobody", st.Queued)
		}
	})
}

// A process that is told to stop leaves what hangs in the outbox.
func TestStopDoesNotWaitForReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := &sink{answer: func(int, *delivery) outcome { return outcome{code: "hang"} }}, t.TempDir()
		o := Options{Receivers: []charter.Receiver{hook("ops")}, Dir: dir, open: to(s)}
		n, stop := running(t, o)
		n.Send([]string{"ops"}, violation("v", "low", "edge-1"))
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took > grace {
			t.Errorf("stopping took %s", took)
		}
		s.answer = nil
		_, _ = running(t, o)
		synctest.Wait()
		if got := s.arrivals(); len(got) != 2 || got[1].Attempts != 0 || got[1].ID != got[0].ID {
			t.Errorf("what was interrupted is not tried again as it was: %d attempts", len(got))
		}
	})
}

func TestManyReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		var all []charter.Receiver
		var names []string
		for i := range maxQueues + 10 {
			names = append(names, fmt.Sprintf("r%03d", i))
			all = append(all, hook(names[i]))
		}
		n, _ := running(t, Options{Receivers: all, open: to(s)})
		n.Send(names, violation("v", "low", "edge-1"))
		n.Send(names[maxQueues:], violation("w", "low", "edge-1"))
		synctest.Wait()
		if got := s.arrivals(); len(got) != maxQueues {
			t.Errorf("%d receivers got it, want the first %d", len(got), maxQueues)
		}
		if st := n.Stats(); st.Dropped != 10 {
			t.Errorf("%d messages are said to be dropped", st.Dropped)
		}
		n.Send(nil, violation("x", "low", "edge-1")) // to nobody
	})
}

func TestMessageBounds(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	m := Message{
		ID: strings.Repeat("i", 500), Title: "a\r\nBcc: all@example.org\x00\u202e" + strings.Repeat("ü", 5000), Text: "one\ntwo\xff",
		Fields: map[string]string{}, Time: time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for i := range 100 {
		m.Fields[fmt.Sprint(i)] = "v"
	}
	b := m.bounded(now)
	if len(b.ID) != 32 || len(b.Title) > maxTitle || strings.ContainsAny(b.Title, "\r\n\x00\u202e") || b.Text != "one\ntwo " || len(b.Fields) != maxFields || !b.Time.Equal(now) {
		t.Errorf("%+v", b)
	}
	if again := b.bounded(now); text(t, again) != text(t, b) {
		t.Errorf("limits are not stable:\n%s\n%s", text(t, b), text(t, again))
	}
	if a, b := (Message{Title: "a"}).bounded(now), (Message{Title: "b"}).bounded(now); a.ID == b.ID || a.ID == "" {
		t.Error("messages without an id cannot be told apart")
	}
}

func TestDigestTells(t *testing.T) {
	g := &digest{}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for i := range 1000 {
		m := violation(fmt.Sprint(i), "low", fmt.Sprintf("node-%03d", i%400))
		if i%100 == 7 {
			m.Severity, m.Clause, m.Node = "high", "privacy.identity", "loud"
		}
		m.Time = at.Add(time.Duration(i) * 10 * time.Millisecond)
		g.add(m)
	}
	if want := "[high] 1000 × violation in 10s"; g.title() != want {
		t.Errorf("title %q, want %q", g.title(), want)
	}
	for _, want := range []string{"     990  low", "      10  high", "     990  privacy.location", "      10  loud", "others", "The first 5:", "node-000 asked for its location"} {
		if !strings.Contains(g.text(), want) {
			t.Errorf("the digest does not say %q:\n%s", want, g.text())
		}
	}
	d := &delivery{ID: "msg_1", Digest: g}
	p := d.payload()
	sum := p.Data.NodesOmitted
	for _, c := range p.Data.Nodes {
		sum += c.Count
	}
	if p.Type != "charter.digest" || sum != 1000 || len(text(t, p)) > 20_000 {
		t.Errorf("type %s, %d nodes, %d bytes", p.Type, sum, len(text(t, p)))
	}
	if !g.sound() || (&digest{}).sound() {
		t.Error("sound does not tell digests apart")
	}
}
