package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/export"
)

// What the demo is about.
const (
	allowedMetric   = "latency_p50"
	forbiddenMetric = "phone_location"
	forbiddenClause = "privacy.location"
)

// story is what later steps know from earlier ones.
type story struct {
	quiet     counters // before anything happened
	denial    uint64   // index of the entry of the denial
	reported  uint64   // index of the entry of the report
	violation string   // id of the report
}

// play tells the story, one claim after the other, until one does not hold.
func (d *demoRun) play(ctx context.Context) error {
	for _, c := range []struct {
		step int
		text string
		try  func(context.Context, *demoClaim) error
	}{
		{0, "A charter-server starts with a small charter, TLS and a ledger of its own.", d.serves},
		{0, "Prometheus watches it with the alert rules that are shipped, and nothing fires.", d.watches},
		{1, "Node " + demoNode + " asks whether it may collect " + allowedMetric + ": it may.", d.allows},
		{2, "The node tries to collect " + forbiddenMetric + ": forbidden, and the answer says by which line of the charter.", d.forbids},
		{2, "The very next decision obeys what follows from that: the node is suspended for a day.", d.suspends},
		{3, "An auditor reports that the node collects in silence. A report alone changes nothing.", d.reports},
		{3, "The committee looks into it and confirms it: the second incident, and the node is quarantined.", d.confirms},
		{4, "charter-admin audit lists both, the denial and the report.", d.lists},
		{4, "The whole ledger is proven: no entry was changed, removed or put in between.", d.verifies},
		{5, "A receipt proves the denial in another place, offline, with the public key of the ledger alone.", d.proves},
		{5, "With one byte changed it proves nothing.", d.disproves},
		{6, "The counters for Prometheus moved.", d.counts},
		{6, "The alert rule that is shipped fires.", d.fires},
		{7, "The server is killed and starts again: node, ledger and decisions are as they were.", d.recovers},
	} {
		if err := d.claim(ctx, c.step, c.text, c.try); err != nil {
			return err
		}
	}
	return nil
}

func (d *demoRun) serves(ctx context.Context, c *demoClaim) error {
	c.show("cd " + shellWord(d.dir))
	c.show(d.setup...)
	if err := d.furnish(); err != nil {
		return err
	}
	if err := d.startServer(ctx, "127.0.0.1:0"); err != nil {
		return err
	}
	// Where it starts again, later or by hand, callers have to find it.
	_, address, _ := strings.Cut(d.url, "://")
	if err := d.write("server.yaml", fmt.Appendf(nil, demoSettings, address)); err != nil {
		return err
	}
	c.show("curl -sS --cacert ca.pem " + d.url + "/health")
	var err error
	if d.node, err = d.nodeClient(); err != nil {
		return err
	}
	answer, err := d.do(ctx, http.MethodGet, "/health", "", "")
	if err != nil {
		return err
	}
	var health struct{ Charter, Revision string }
	if err := json.Unmarshal([]byte(answer), &health); err != nil || health.Charter != "demo" {
		return &unmet{"a server that serves the charter demo", answer}
	}
	key, err := os.ReadFile(d.path("data/ledger.pub"))
	if err != nil {
		return err
	}
	c.say("%s serves %s; the auditor keeps the public key of its ledger", d.url, health.Revision)
	return d.write("auditor/ledger.pub", key)
}

func (d *demoRun) allows(ctx context.Context, c *demoClaim) error {
	var err error
	if d.story.quiet, err = d.scrape(ctx); err != nil {
		return err
	}
	decided, err := d.ask(ctx, c, allowedMetric)
	if err != nil {
		return err
	}
	if err := expect(decided.Allow && decided.Outcome == decision.Allowed, "an answer that allows it", "%s", told(decided)); err != nil {
		return err
	}
	c.say("%s, to be kept for %s at most", told(decided), decided.Obligations.Retention)
	return nil
}

// told is a decision in a line.
func told(d *decision.Decision) string {
	text := d.Outcome + " by " + d.Clause
	if d.Source != "" {
		text += " (" + d.Source + ")"
	}
	if !d.Allow {
		text += ", " + d.Severity
	}
	if len(d.Reasons) > 0 {
		text += ": " + d.Reasons[0].Message
	}
	return text
}

func (d *demoRun) forbids(ctx context.Context, c *demoClaim) error {
	decided, err := d.ask(ctx, c, forbiddenMetric)
	if err != nil {
		return err
	}
	line := 1 + bytes.Count(demoCharter[:bytes.Index(demoCharter, []byte("id: "+forbiddenClause))], []byte("\n"))
	source := "charter.yaml:" + strconv.Itoa(line)
	ok := !decided.Allow && decided.Outcome == decision.Forbidden && decided.Clause == forbiddenClause && decided.Source == source
	if ok {
		c.say("%s", told(decided))
		c.show(fmt.Sprintf("sed -n '%d,+6p' charter.yaml", line))
	}
	return expect(ok, fmt.Sprintf("outcome forbidden by %s (%s)", forbiddenClause, source), "%s", told(decided))
}

// stands expects a standing of the node, in the next decision and of the server.
func (d *demoRun) stands(ctx context.Context, c *demoClaim, standing string, incidents int) error {
	decided, err := d.ask(ctx, c, allowedMetric)
	if err != nil {
		return err
	}
	if err := expect(!decided.Allow && decided.Outcome == standing, "that "+allowedMetric+" is denied now with outcome "+standing, "%s", told(decided)); err != nil {
		return err
	}
	c.say("%s: %s", allowedMetric, told(decided))
	n, err := d.nodeIs(ctx)
	if err != nil {
		return err
	}
	c.show(adminCommand(d.with(auditorToken, "nodes", "show", demoNode)...))
	return expect(n.Standing == standing && n.Incidents == incidents, fmt.Sprintf("the standing %s after %d incidents", standing, incidents),
		"%s after %d", n.Standing, n.Incidents)
}

// with adds to a command which server it asks, and as whom.
func (d *demoRun) with(token string, words ...string) []string {
	return append(slices.Clone(words), "--server", d.url, "--tls-ca", "ca.pem", "--token-file", token)
}

// nodeIs is what the server knows of the node.
func (d *demoRun) nodeIs(ctx context.Context) (n nodeAnswer, err error) {
	answer, err := d.succeed(ctx, d.with(auditorToken, "nodes", "show", demoNode, "--format", formatJSON)...)
	if err != nil {
		return n, err
	}
	return n, json.Unmarshal([]byte(answer), &n)
}

func (d *demoRun) suspends(ctx context.Context, c *demoClaim) error {
	if err := d.stands(ctx, c, decision.Suspended, 1); err != nil {
		return err
	}
	n, err := d.nodeIs(ctx)
	if err != nil {
		return err
	}
	return expect(n.Until.Sub(n.Since).Round(time.Minute) == 24*time.Hour, "a suspension for 24 hours", "from %s to %s", n.Since, n.Until)
}

func (d *demoRun) reports(ctx context.Context, c *demoClaim) error {
	report := d.with(auditorToken, "report", "--type", "silent_collection", "--target", demoNode, "--clause", forbiddenClause, "--evidence", "capture.txt",
		"--description", "seen on the wire")
	answer, err := d.succeed(ctx, append(report, "--format", formatJSON)...)
	if err != nil {
		return err
	}
	var v struct {
		ID    string
		Entry uint64
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil || v.ID == "" {
		return &unmet{"the id of a violation", answer}
	}
	d.story.violation, d.story.reported = v.ID, v.Entry
	c.show(adminCommand(report...) + " | tee report")
	n, err := d.nodeIs(ctx)
	if err != nil {
		return err
	}
	c.say("reported as violation %s, entry %d of the ledger; the node is %s as before", v.ID, v.Entry, n.Standing)
	return expect(n.Standing == decision.Suspended && n.Incidents == 1, "a node that is suspended after 1 incident, as before", "%s after %d", n.Standing, n.Incidents)
}

func (d *demoRun) confirms(ctx context.Context, c *demoClaim) error {
	opened := func(violation string) []string {
		return d.with(memberToken, "investigation", "open", violation, "--assignee", "ana")
	}
	resolved := func(violation string) []string {
		return d.with(memberToken, "investigation", "resolve", "i"+violation, "--outcome", "confirmed", "--text", "the logs agree")
	}
	for _, step := range []func(string) []string{opened, resolved} {
		answer, err := d.succeed(ctx, step(d.story.violation)...)
		if err != nil {
			return err
		}
		c.say("%s", strings.TrimSpace(answer))
		// The id is that of the report before, so that both can be repeated together.
		c.show(strings.Replace(adminCommand(step("VIOLATION")...), "VIOLATION", `"$(cut -d' ' -f4 report | tr -d ,)"`, 1))
	}
	return d.stands(ctx, c, decision.Quarantined, 2)
}

// entries are those of the node, each as it is written.
func (d *demoRun) entries(ctx context.Context) ([]string, error) {
	lines, err := d.succeed(ctx, d.with(auditorToken, "audit", "list", "--node", demoNode, "--format", string(export.NDJSON))...)
	return strings.Split(strings.TrimSpace(lines), "\n"), err
}

func (d *demoRun) lists(ctx context.Context, c *demoClaim) error {
	entries, err := d.entries(ctx)
	if err != nil {
		return err
	}
	denied, reported := false, false
	for _, line := range entries {
		var e struct {
			Index                 uint64
			Kind, Metric, Outcome string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return &unmet{"an entry", line}
		}
		if e.Kind == "denial" && e.Metric == forbiddenMetric && e.Outcome == decision.Forbidden {
			d.story.denial, denied = e.Index, true
		}
		reported = reported || e.Kind == "violation" && e.Index == d.story.reported
	}
	if !denied || !reported {
		return &unmet{"the denial of " + forbiddenMetric + " and the report " + d.story.violation, strings.Join(entries, "\n")}
	}
	audit := d.with(auditorToken, "audit", "--node", demoNode)
	c.show(adminCommand(audit...))
	pretty, err := d.succeed(ctx, audit...)
	if err != nil {
		return err
	}
	found := 0
	for line := range strings.Lines(pretty) {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if first == strconv.FormatUint(d.story.denial, 10) || first == strconv.FormatUint(d.story.reported, 10) {
			c.say("%s", strings.TrimSpace(line))
			found++
		}
	}
	return expect(found == 2, "both in the list for people", "%s", pretty)
}

func (d *demoRun) verifies(ctx context.Context, c *demoClaim) error {
	words := d.with(auditorToken, "audit", "verify", "--key", "auditor/ledger.pub")
	c.show(adminCommand(words...))
	answer, err := d.succeed(ctx, append(words, "--format", formatJSON)...)
	if err != nil {
		return err
	}
	var verified struct {
		OK       bool
		Level    string
		Verified uint64
	}
	if err := json.Unmarshal([]byte(answer), &verified); err != nil {
		return &unmet{"the result of a verification", answer}
	}
	c.say("%d entries verified, level %s: against the key that the auditor keeps", verified.Verified, verified.Level)
	return expect(verified.OK && verified.Level == "anchored", "a ledger that verifies, level anchored", "%s", answer)
}

func (d *demoRun) proves(ctx context.Context, c *demoClaim) error {
	index := strconv.FormatUint(d.story.denial, 10)
	words := d.with(auditorToken, "audit", "prove", index, "-o", "auditor/denial.receipt")
	c.show(adminCommand(words...))
	if _, err := d.succeed(ctx, words...); err != nil {
		return err
	}
	stdout, stderr, code, err := d.checkReceipt(ctx, c, "denial.receipt", "")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(stdout, "\n")
	c.say("%s", first)
	return expect(code == ExitOK && strings.HasPrefix(first, "valid: entry "+index+" of "+demoOrigin+": denial"), "a valid receipt of entry "+index,
		"exit code %d: %s%s", code, first, stderr)
}

// checkReceipt checks a receipt in the directory of the auditor, which holds no more
// than that and the key.
func (d *demoRun) checkReceipt(ctx context.Context, c *demoClaim, file, after string) (stdout, stderr string, code int, err error) {
	words := []string{"audit", "check-receipt", file, "--key", "ledger.pub"}
	c.show("(cd auditor && " + adminCommand(words...) + after + ")")
	return d.run(ctx, "auditor", words...)
}

func (d *demoRun) disproves(ctx context.Context, c *demoClaim) error {
	receipt, err := os.ReadFile(d.path("auditor/denial.receipt"))
	if err != nil {
		return err
	}
	changed, at, err := forge(receipt)
	if err != nil {
		return err
	}
	if err := d.write("auditor/changed.receipt", changed); err != nil {
		return err
	}
	c.show("cp auditor/denial.receipt auditor/changed.receipt",
		fmt.Sprintf("printf %s | dd of=auditor/changed.receipt bs=1 seek=%d conv=notrunc 2>/dev/null", shellWord(string(changed[at])), at))
	stdout, stderr, code, err := d.checkReceipt(ctx, c, "changed.receipt", `; echo "exit $?"`)
	if err != nil {
		return err
	}
	c.say("a receipt that says edge-6 for %s is refused with exit code %d: %s", demoNode, code, stderr)
	return expect(code == ExitVerify && stdout == "", "exit code 6", "exit code %d: %s%s", code, stdout, stderr)
}

// forge makes edge-6 of the node in a receipt, and returns where. The two names differ
// in one bit, and so do two receipts, which have the entry in base64, in one byte.
func forge(receipt []byte) (changed []byte, at int, err error) {
	honest := &unmet{"a receipt with an entry about " + demoNode, string(receipt)}
	_, rest, _ := bytes.Cut(receipt, []byte("\nextra "))
	begin := len(receipt) - len(rest)
	text, _, _ := bytes.Cut(rest, []byte("\n"))
	entry, err := base64.StdEncoding.AppendDecode(nil, text)
	name := bytes.Index(entry, []byte(`"node":"`+demoNode+`"`))
	if err != nil || name < 0 {
		return nil, 0, honest
	}
	entry[name+len(`"node":"edge-`)]--
	changed = slices.Clone(receipt)
	base64.StdEncoding.Encode(changed[begin:], entry)
	for i := range changed {
		if changed[i] != receipt[i] {
			return changed, i, nil
		}
	}
	return nil, 0, honest
}

func (d *demoRun) recovers(ctx context.Context, c *demoClaim) error {
	checkpoint, err := d.do(ctx, http.MethodGet, "/v1/ledger/checkpoint", "", auditorToken)
	if err != nil {
		return err
	}
	was, err := d.nodeIs(ctx)
	if err != nil {
		return err
	}
	entries, err := d.entries(ctx)
	if err != nil {
		return err
	}
	c.show(fmt.Sprintf(`curl -sS --cacert ca.pem -H "Authorization: Bearer $(cat %s)" %s/v1/ledger/checkpoint -o auditor/checkpoint`, auditorToken, d.url))
	c.show("kill -9 $(cat server.pid)", shellWord(filepath.Base(d.binary))+" --config server.yaml >>server.log 2>&1 & echo $! >server.pid",
		"until curl -sS --cacert ca.pem "+d.url+"/health; do sleep 0.1; done")
	_, address, _ := strings.Cut(d.url, "://")
	if err := errors.Join(d.write("auditor/checkpoint", []byte(checkpoint)), d.server.kill(), d.startServer(ctx, address)); err != nil {
		return err
	}
	is, err := d.nodeIs(ctx)
	if err != nil {
		return err
	}
	if err := expect(same(was, is), fmt.Sprintf("%+v", was), "%+v", is); err != nil {
		return err
	}
	now, err := d.entries(ctx)
	if err != nil {
		return err
	}
	// What an open window had counted can come behind them, nothing between.
	if err := expect(len(now) >= len(entries) && slices.Equal(entries, now[:len(entries)]), fmt.Sprintf("the entries %s", entries), "%s", now); err != nil {
		return err
	}
	if err := d.stands(ctx, c, is.Standing, is.Incidents); err != nil {
		return err
	}
	words := d.with(auditorToken, "audit", "verify", "--key", "auditor/ledger.pub", "--checkpoint", "auditor/checkpoint")
	c.show(adminCommand(words...))
	if _, err := d.succeed(ctx, words...); err != nil {
		return err
	}
	c.say("the entries of the node are the same, and the ledger continues the head that was signed before the crash")
	return nil
}

// same says whether two answers about a node are one.
func same(a, b nodeAnswer) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
