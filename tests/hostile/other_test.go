package hostile

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// question is one that the other client asks, with the answer it must get.
type question struct {
	body, outcome, clause string
}

func questions() []question {
	const who = `,"node":"edge-1","role":"node_operator","operation":"collect","claims":["owns_node"]`
	return []question{
		{`{"metric":"latency_p50"` + who + `}`, "allowed", "net.latency"},
		{`{"metric":"node_network_up"` + who + `}`, "allowed", "net.node"},
		{`{"metric":"node_network_up"` + who + `,"labels":{"latitude":"52.5"}}`, "forbidden", "privacy.location"},
		{`{"metric":"gps_fix"` + who + `}`, "forbidden", "privacy.location"},
		{`{"metric":"nothing"` + who + `}`, "unknown_metric", "default"},
	}
}

// bound is how long the other client may wait for an answer, connecting
// included. It says "is served", not "is served fast": the attackers share the
// machine.
const bound = 5 * time.Second

// other is a client that asks ordinary questions all the time.
type other struct {
	url    string
	kept   *http.Client // reuses its connections
	fresh  *http.Client // connects for every question
	stop   context.CancelFunc
	done   sync.WaitGroup
	asked  int
	worst  time.Duration
	faults []string // the first few
}

// watch starts the other client. The returned func stops it and fails the test
// when an answer was wrong or late.
func (s *server) watch(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client := func(keep bool) *http.Client {
		tr := &http.Transport{DisableKeepAlives: !keep}
		if s.roots != nil {
			tr.TLSClientConfig = &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}
		}
		return &http.Client{Transport: tr, Timeout: bound}
	}
	o := &other{url: "http://" + s.address, kept: client(true), fresh: client(false), stop: cancel}
	if s.roots != nil {
		o.url = "https://" + s.address
	}
	o.done.Go(func() { o.run(ctx) })
	return func() {
		t.Helper()
		o.stop()
		o.done.Wait()
		o.kept.CloseIdleConnections()
		if o.asked < 20 {
			t.Errorf("the other client got only %d answers", o.asked)
		}
		for _, f := range o.faults {
			t.Error("the other client: " + f)
		}
		t.Logf("the other client: %d answers, the slowest took %s", o.asked, o.worst)
	}
}

func (o *other) run(ctx context.Context) {
	list := questions()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		client := o.kept
		if i%2 == 1 {
			client = o.fresh
		}
		start := time.Now()
		err := o.ask(ctx, client, list[i%len(list)])
		took := time.Since(start)
		if ctx.Err() != nil {
			return
		}
		o.asked++
		o.worst = max(o.worst, took)
		if err != nil && len(o.faults) < 5 {
			o.faults = append(o.faults, fmt.Sprintf("after %s: %v", took, err))
		}
		<-tick.C
	}
}

func (o *other) ask(ctx context.Context, client *http.Client, q question) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/v1/check", strings.NewReader(q.body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var d struct{ Outcome, Clause string }
	if err := json.Unmarshal(text, &d); err != nil || d.Outcome != q.outcome || d.Clause != q.clause {
		return fmt.Errorf("%s: %d %.300s", q.body, res.StatusCode, text)
	}
	return nil
}
