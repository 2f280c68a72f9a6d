package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
)

// hooks is a receiver over HTTP that keeps what it gets, by path.
type hooks struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string][]string
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{got: map[string][]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got[r.URL.Path] = append(h.got[r.URL.Path], string(body))
		if r.URL.Path == "/down" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) at(path string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got[path]
}

func told(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline, tick := time.Now().Add(10*time.Second), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func receivers(t *testing.T, path string, rows ...string) string {
	t.Helper()
	return put(t, path, read(t, narrower)+"\nnotify:\n  - "+strings.Join(rows, "\n  - ")+"\n")
}

// What enforcement announces reaches the receivers of the charter in force, and what
// became of it is in the ledger, once.
func TestNoticesReachReceivers(t *testing.T) {
	h := newHooks(t)
	hook := func(name string) string {
		return fmt.Sprintf(`{name: %s, webhook: {url: "%s/%s"}}`, name, h.URL, name)
	}
	o := unrecorded()
	o.Charter = receivers(t, filepath.Join(t.TempDir(), "charter.yaml"), hook("committee"), hook("down"))
	s := recording(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	settle := s.deliver(ctx)
	n := enforcement.Notice{
		Kind: enforcement.NoticeViolation, Severity: "critical", Node: "edge-1", Violation: "v7", Clause: "privacy.location", Title: "edge-1 tried to collect gps_fix",
		Time: time.Now(), Fields: map[string]string{"entry": "7"}, Receivers: []string{"committee"},
	}
	s.tellNotice(n)
	s.tellNotice(n) // as after a crash
	told(t, "the committee", func() bool { return len(h.at("/committee")) == 1 })
	for _, want := range []string{`"charter.violation"`, `"violation":"v7"`, "edge-1", "privacy.location"} {
		if got := h.at("/committee")[0]; !strings.Contains(got, want) {
			t.Errorf("the message lacks %s: %s", want, got)
		}
	}

	// Another charter: its receivers count for the next notice, and nobody named is everybody.
	receivers(t, o.Charter, hook("new"), hook("down"))
	if _, err := s.Reload(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	n.Receivers, n.Fields = nil, map[string]string{"entry": "8"}
	s.tellNotice(n)
	told(t, "the new receiver, and a failure", func() bool {
		st := s.notifier.Stats()
		return len(h.at("/new")) == 1 && len(st.Failing) == 1 && st.Queued == 1
	})
	if got := h.at("/committee"); len(got) != 1 {
		t.Error("a receiver that the charter has no more was told")
	}

	// Decisions go on, and /health says so once it lasts.
	s.watchNotify(time.Now())
	if d := s.degraded(); d != nil {
		t.Errorf("degraded at once: %+v", d)
	}
	s.watchNotify(time.Now().Add(2 * notifyPatience))
	if d := s.degraded(); d == nil || d.Code != codeNotify {
		t.Errorf("%+v, want %s", d, codeNotify)
	}
	if st := s.notificationStats(); st.Failing != 1 || st.Queued != 1 || !st.Outbox {
		t.Errorf("%+v", st)
	}
	cancel()
	if err := settle(); err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for e, d := range recorded[ledger.Delivery](t, s.Server, ledger.Notification, ledger.Conflict) {
		if e.Principal != notifyPrincipal || e.Severity != "critical" || d.Channel != "webhook" {
			t.Errorf("%+v", e)
		}
		states[d.Receiver+" "+d.State+" "+d.Error]++
	}
	if got, want := fmt.Sprint(states), "map[committee delivered :1 down failed server_error:1 new delivered :1]"; got != want {
		t.Errorf("the ledger has %s, want %s", got, want)
	}
}

// Without a ledger there are no consequences and nobody to tell.
func TestNoNoticesWithoutLedger(t *testing.T) {
	o := unrecorded()
	o.Charter = narrower
	s := offered(t, o)
	s.tellNotice(enforcement.Notice{Title: "x"})
	s.watchNotify(time.Now())
	if err := s.deliver(t.Context())(); err != nil || s.notifier != nil {
		t.Errorf("%v, %v", err, s.notifier)
	}
}

// What is queued for the ledger while it is closed is bounded, and appended later.
func TestDeliveriesWaitForTheLedger(t *testing.T) {
	o := unrecorded()
	o.Charter = narrower
	s := recording(t, o)
	d := &deliveries{log: s.keeper, logger: s.log, wake: make(chan struct{}, 1)}
	for i := range maxDeliveries + 5 {
		d.add("low", ledger.Delivery{ID: fmt.Sprint(i), Receiver: "ops", State: ledger.Delivered})
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if d.flush(stopped) == nil {
		t.Error("appended although the context has ended")
	}
	if len(d.list) != maxDeliveries {
		t.Errorf("%d wait", len(d.list))
	}
	for range 2 { // the same again is in the ledger already
		if err := d.flush(t.Context()); err != nil || len(d.list) != 0 {
			t.Errorf("%v, %d wait", err, len(d.list))
		}
		d.add("low", ledger.Delivery{ID: "1", Receiver: "ops", State: ledger.Delivered})
	}
}
