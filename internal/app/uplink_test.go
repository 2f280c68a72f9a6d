package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/fleet"
	"github.com/westworld-charter/charter/tests/releases"
)

// reportee takes reports and answers as it is told.
type reportee struct {
	mu      sync.Mutex
	status  int
	answer  string
	header  http.Header
	path    string
	reports []fleet.Report
}

func (r *reportee) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if !strings.HasSuffix(q.URL.Path, "/report") { // such as entries of the ledger
		http.NotFound(w, q)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(q.Body)
	var report fleet.Report
	if err := json.Unmarshal(body, &report); err == nil {
		if err = report.Check(); err == nil {
			r.reports = append(r.reports, report)
		}
	}
	r.header, r.path = q.Header, q.URL.EscapedPath()
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.answer)
}

func (r *reportee) set(status int, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.answer = status, answer
}

func (r *reportee) last() fleet.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) == 0 {
		return fleet.Report{}
	}
	return r.reports[len(r.reports)-1]
}

// A node reports what changes at once, proves who it is, and asks for what the server
// says is released; a server that refuses or misbehaves degrades it and no more.
func TestNodeReports(t *testing.T) {
	registry, key := releases.NewRegistry(t), releases.TrustedKey(t)
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	r := &reportee{status: http.StatusOK, answer: "{}"}
	server := httptest.NewServer(r)
	defer server.Close()
	o := nodeOptions(t, registry, key)
	o.Releases.Poll = time.Hour
	o.Node.Server, o.Node.Name, o.Node.Labels = server.URL, "edge/1", "site=mill"
	o.Releases.Server.TokenFile = put(t, filepath.Join(t.TempDir(), "token"), "secret\n")
	n := started(t, CharterNode(), o)
	until(t, "a report of the first release", func() bool { return r.last().Status.Sequence == 1 })
	if last := r.last(); last.Node != "edge/1" || last.Labels["site"] != "mill" || last.Status.Revision == "" || last.Ledger == nil || last.Ledger.Size == 0 || last.Ledger.Checkpoint == "" {
		t.Errorf("%+v", last)
	}
	if r.path != "/v1/nodes/edge%2F1/report" || r.header.Get("Authorization") != "Bearer secret" {
		t.Errorf("%s %v", r.path, r.header)
	}

	next := releases.Release{Version: 2, Sequence: 3, Key: key}.Make(t)
	registry.Publish(t, releases.Channel, next)
	r.set(http.StatusOK, `{"desired":{"channel":"production","sequence":3,"digest":"`+next.Digest()+`"}}`)
	n.uplink.look()
	until(t, "what the server wants", func() bool { return r.last().Status.Sequence == 3 })

	for _, c := range []struct {
		status int
		answer string
	}{
		{http.StatusForbidden, `{"code":"node_mismatch","message":"no"}`}, {http.StatusOK, "no JSON"}, {http.StatusFound, ""}, {http.StatusOK, "{" + strings.Repeat(" ", 2*maxReply) + "}"},
	} {
		r.set(c.status, c.answer)
		if err := n.uplink.send(t.Context()); err == nil {
			t.Errorf("%d %.50s: taken for an answer", c.status, c.answer)
		}
	}
	n.uplink.look()
	until(t, "that the server does not take it", func() bool { return strings.Contains(n.health(t), codeReportFailed) })
	registry.Publish(t, releases.Channel, releases.Release{Version: 1, Sequence: 1, Key: key}.Make(t))
	n.releases.look()
	until(t, "a refusal that a server which is away does not hide", func() bool { return strings.Contains(n.health(t), activation.CodeOlderSequence) })
	registry.Publish(t, releases.Channel, next)
	n.releases.look()
	r.set(http.StatusOK, "{}")
	n.uplink.look()
	until(t, "that it does again", func() bool { return !strings.Contains(n.health(t), codeReportFailed) })
	if !n.allows(t, 2) {
		t.Error("the server has changed what is decided")
	}
}

// Whatever a node's status is, a server takes the report about it.
func TestNodeReportsHold(t *testing.T) {
	at := time.Now()
	for _, st := range []activation.Status{
		{},
		{
			Channel: "production", Digest: "sha256:" + strings.Repeat("0", 64), Revision: "production-1.0.0+ab", Sequence: 3, HighWater: activation.Mark{Sequence: 5}, Expires: at,
			Degraded: true, LastError: &activation.Problem{Part: activation.PartState, Code: "unreachable", Message: strings.Repeat("long\n", 1000), Since: at},
			Problems: []activation.Problem{{Part: activation.PartState, Code: "unreachable", Since: at}}, State: &activation.StateStatus{Sequence: 9, Expires: at},
		},
	} {
		report := fleet.Report{Node: "edge-1", Time: at, Status: fleetStatus(st)}
		if err := report.Check(); err != nil {
			t.Errorf("%+v: %v", st, err)
		}
		if st.State != nil && (report.Status.State.LastError == nil || report.Status.HighWater != 5) {
			t.Errorf("%+v", report.Status)
		}
	}
}

func TestServerTokenFile(t *testing.T) {
	dir := t.TempDir()
	for text, ok := range map[string]bool{"secret": true, "secret\n": true, "": false, "two tokens": false, strings.Repeat("x", maxServerToken+1): false} {
		u := uplink{options: Options{Releases: ReleaseOptions{Server: ServerOptions{TokenFile: put(t, filepath.Join(dir, "token"), text)}}}}
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", nil)
		if err := u.authorize(r); (err == nil) != ok || ok && r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%.20q: %v %v", text, err, r.Header)
		}
	}
}

func TestNodeUsageErrors(t *testing.T) {
	good := []string{"--bundle", "oci://r.example.org/p:t", "--trust", "t.yaml"}
	for _, c := range []struct{ args, want string }{
		{"", "nothing to run: give --bundle REF"},
		{"--server ftp://x", "--server"},
		{"--server https://x/", "final slash"},
		{"--server http://charter.example.org", "needs https://"},
		{"--server-cert a.pem", "need each other"},
		{"--label site", "NAME=VALUE"},
		{"--label a=1 --label a=2", "each name once"},
		{"--state-bundle ftp://x/y", "--state-bundle"},
		{"--charter c.yaml", "not defined"},
		{"--listen 0.0.0.0:1", "is not loopback"},
		{"file", "--bundle REF"},
	} {
		args := append(append([]string(nil), good...), strings.Fields(c.args)...)
		if c.args == "" {
			args = nil
		}
		_, err := CharterNode().configure(args, func(string) string { return "" }, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	inv, err := CharterNode().configure(append(good, "--label", "b=2", "--label=a=1", "--node", "edge-1"), func(name string) string {
		return map[string]string{"CHARTER_NODE_LOG_LEVEL": "warn", "CHARTER_LOG_LEVEL": "debug", "CHARTER_DATA": "/server"}[name]
	}, nil)
	if o := inv.options; err != nil || o.Node.Labels != "b=2,a=1" && o.Node.Labels != "a=1,b=2" || o.LogLevel != "warn" || o.Data != "./charter-node-data" || o.Listen != "127.0.0.1:8100" {
		t.Errorf("%+v %v", o, err)
	}
}

// A certificate of the node proves to a charter-server who reports; read again for each
// connection, so that it can be renewed.
func TestReportsOverTLS(t *testing.T) {
	f := fortified(t, "--tls-client-ca", "$DIR/clients.pem")
	mine, other := f.ca.Named(t, "charter://node/edge-1"), f.ca.Named(t, "charter://node/edge-2")
	cert, key := put(t, f.path("node.pem"), mine.Cert), put(t, f.path("node.key"), mine.Key)
	send := func(o ServerOptions) error {
		transport, err := o.transport()
		if err != nil {
			return err
		}
		defer transport.CloseIdleConnections()
		u := uplink{
			client: &http.Client{Transport: transport}, options: Options{Node: NodeOptions{Name: "edge-1", Server: f.url}, Releases: ReleaseOptions{Server: o}},
			report:   func(context.Context) fleet.Report { return fleet.Report{Node: "edge-1", Time: time.Now()} },
			answered: func(desired) {},
		}
		return u.send(t.Context())
	}
	good := ServerOptions{CA: f.path("clients.pem"), Cert: cert, Key: key}
	if err := send(good); err != nil {
		t.Error(err)
	}
	for name, o := range map[string]ServerOptions{
		"certificate": {Cert: cert, Key: key}, // an authority that this machine does not know
		"401":         {CA: good.CA},
		"no such":     {CA: good.CA, Cert: f.path("none.pem"), Key: key},
		"holds no":    {CA: key, Cert: cert, Key: key},
	} {
		if err := send(o); err == nil || name != "401" && !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want %s", o, err, name)
		}
	}
	put(t, cert, other.Cert)
	put(t, key, other.Key)
	if err := send(good); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("another node reports in its name: %v", err)
	}
}

// What comes after a report, such as the copy of the ledger, keeps no report waiting.
func TestReportsDoNotWaitForWhatComesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		reports, apart := 0, 0
		u := &uplink{
			client: &http.Client{}, wake: make(chan struct{}, 1), options: Options{Node: NodeOptions{Server: "http://127.0.0.1:1\x7f", ReportInterval: 10 * time.Second}},
			report: func(context.Context) fleet.Report { return fleet.Report{} },
			done:   func(context.Context, error) { reports++ },
			after:  func(ctx context.Context) { apart++; <-ctx.Done() },
		}
		ended := make(chan struct{})
		go func() { u.run(ctx); close(ended) }()
		<-time.After(time.Minute)
		synctest.Wait()
		if reports < 4 || apart != 1 {
			t.Errorf("%d reports in a minute, at intervals of 10s; %d times what comes after, which goes on", reports, apart)
		}
		stop()
		<-ended
	})
}

// However long a message is that a registry brings about, and whatever is in it, the
// report fits into what a server takes.
func TestAReportFits(t *testing.T) {
	long := activation.Problem{Part: activation.PartState, Code: "unreachable", Message: strings.Repeat("\x01ä", 20_000)}
	st := activation.Status{Problems: []activation.Problem{long}, LastError: &long, State: &activation.StateStatus{}}
	report := fleet.Report{Node: "edge-1", Time: time.Now(), Status: fleetStatus(st)}
	body, err := json.Marshal(report)
	if err != nil || len(body) > fleet.MaxReport/2 || report.Check() != nil || report.Status.State.LastError == nil {
		t.Errorf("%d bytes, at most %d are taken: %v %v", len(body), fleet.MaxReport, err, report.Check())
	}
}
