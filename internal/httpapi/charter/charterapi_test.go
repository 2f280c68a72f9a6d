package charterapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/tokenbucket"
	"github.com/westworld-charter/charter/internal/wire"
)

// Clients switch on the codes of errors: docs/api.md lists every one, and each has a
// status of its own choice.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	constant := regexp.MustCompile(`(?m)^\tcode\w+ += "(\w+)"`)
	for _, file := range []string{"respond.go", "../../app/apply.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllSubmatch(source, -1) {
			codes = append(codes, string(m[1]))
		}
	}
	if len(codes) < 13 {
		t.Errorf("only %d codes were found", len(codes))
	}
	for _, code := range enforcement.Codes() {
		codes = append(codes, string(code))
		if statusOf(code) == http.StatusInternalServerError {
			t.Errorf("%s has no status", code)
		}
	}
	codes = append(codes, committee.Codes()...)
	for _, code := range codes {
		if !strings.Contains(string(page), "`"+code+"`") {
			t.Errorf("%s is not in docs/api.md", code)
		}
	}
}

// What goes to strangers says nothing about the inside.
func TestCausesStayInside(t *testing.T) {
	for _, err := range []error{
		errors.New("open /var/lib/secret"), fmt.Errorf("x: %w", context.DeadlineExceeded), context.Canceled, ledger.ErrConflict,
		&enforcement.Error{Code: enforcement.Unavailable, Message: "try again", Err: errors.New("/var/lib/secret")},
	} {
		w := httptest.NewRecorder()
		(&api{Options: Options{Logger: slog.New(slog.DiscardHandler)}}).refuse(w, err)
		if w.Code < 400 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
		var e struct {
			Code   *string
			Errors *[]wire.Problem
		}
		if json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Code == nil || e.Errors == nil {
			t.Errorf("%s", w.Body)
		}
	}
}

// A source has its budget, all of them have one together, and what is remembered is
// bounded.
func TestReportsAreLimited(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(rates{one: tokenbucket.Rate{Burst: 2, Every: 60}, all: tokenbucket.Rate{Burst: 5, Every: 1}})
	for i := range 2 {
		if wait := l.take("a", now); wait != 0 {
			t.Errorf("report %d waits %v", i, wait)
		}
	}
	if wait := l.take("a", now); wait != time.Minute {
		t.Errorf("the third waits %v", wait)
	}
	if wait := l.take("a", now.Add(time.Minute)); wait != 0 {
		t.Errorf("after a minute it waits %v", wait)
	}
	later := now.Add(time.Hour)
	for i := range 5 {
		if wait := l.take(fmt.Sprint("b", i), later); wait != 0 {
			t.Errorf("source %d waits %v", i, wait)
		}
	}
	if wait := l.take("c", later); wait != time.Second {
		t.Errorf("the sixth of all waits %v", wait)
	}
	for i := range 2 * maxSources {
		later = later.Add(time.Second)
		if wait := l.take(fmt.Sprint("d", i), later); wait != 0 {
			t.Fatalf("source %d waits %v", i, wait)
		}
	}
	if n := l.sources.Len(); n > maxSources {
		t.Errorf("%d sources are remembered", n)
	}
	// A clock that goes back gives nothing back.
	for range 2 {
		l.take("e", later)
	}
	if wait := l.take("e", later.Add(-time.Hour)); wait == 0 {
		t.Error("a clock that goes back fills budgets")
	}
}

// One party has all addresses of an IPv6 network.
func TestSources(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3::4]:9": "2001:db8:1:2::/64", "nonsense": "", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		if got := sourceOf(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

// checking is an API with the real compiler.
func checking() *api { return &api{Options: Options{Check: compile.Check}} }

func load(t *testing.T, yaml string) *charter.Charter {
	t.Helper()
	c, findings := checking().load(&text{lone, map[string]string{lone: yaml}})
	if c == nil || findings.HasErrors() {
		t.Fatal(findings)
	}
	return c
}

const plainCharter = `apiVersion: charter/v1
kind: Charter
metadata: {name: tiny, version: 1.0.0}
access_levels: [public]
roles: [{name: auditor, reads: [public]}]
metrics:
  network:
    - {id: net.latency, match: [latency_p50], access: public, retention: 30d}
    - {id: net.kept, match: [kept], access: public, protected: true}
forbidden:
  - {id: privacy.location, match: ["*gps*"], severity: high, reason: People., protected: true}
  - {id: privacy.other, match: ["*other*"], severity: low, reason: People.}
`

// A comparison names what is written otherwise, wherever it stands, and what of it is
// not for a token to decide.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, old, new           string
		added, removed, changed  []string
		sections, constitutional []string
	}{
		{name: "nothing", new: "\n# a remark\n", old: "$"},
		{name: "another place", old: "metadata: {name", new: "\n\nmetadata: {name"},
		{name: "retention", old: "retention: 30d", new: "retention: 60d", changed: []string{"net.latency retention"}},
		{name: "label", old: "retention: 30d", new: "retention: 30d, labels: {drop: [a]}", changed: []string{"net.latency labels"}},
		{name: "renamed", old: "id: net.latency", new: "id: net.late", added: []string{"net.late"}, removed: []string{"net.latency"}},
		{name: "version", old: "1.0.0", new: "1.0.1", sections: []string{"metadata"}},
		{name: "mode", old: "retention: 30d", new: "retention: 30d, mode: warn", changed: []string{"net.latency mode"}, constitutional: []string{"net.latency"}},
		{name: "protected", old: "match: [kept]", new: "match: [kept, more]", changed: []string{"net.kept match"}, constitutional: []string{"net.kept"}},
		{name: "no longer protected", old: "reason: People., protected: true", new: "reason: People.", changed: []string{"privacy.location protected"}, constitutional: []string{"privacy.location"}},
		{name: "protected from now on", old: "severity: low, reason: People.", new: "severity: low, reason: People., protected: true", changed: []string{"privacy.other protected"}, constitutional: []string{"privacy.other"}},
		{name: "gone", old: "  - {id: privacy.location, match: [\"*gps*\"], severity: high, reason: People., protected: true}\n", new: "", removed: []string{"privacy.location"}, constitutional: []string{"privacy.location"}},
		{name: "enforcement", old: "access_levels", new: "enforcement: {grace: 48h}\naccess_levels", sections: []string{"enforcement"}, constitutional: []string{"enforcement"}},
		{name: "reports", old: "access_levels", new: "reports: {anonymous: true}\naccess_levels", sections: []string{"reports"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := load(t, plainCharter)
			changed := strings.Replace(plainCharter, c.old, c.new, 1)
			if c.old == "$" {
				changed = plainCharter + c.new
			} else if changed == plainCharter {
				t.Fatal("nothing was replaced")
			}
			after := load(t, changed)
			d := Compare(before, after)
			ids := func(list []Entry) (texts []string) {
				for _, x := range list {
					texts = append(texts, strings.TrimSpace(x.ID+" "+strings.Join(x.Fields, ",")))
				}
				return texts
			}
			if !slices.Equal(ids(d.Added), c.added) || !slices.Equal(ids(d.Removed), c.removed) || !slices.Equal(ids(d.Changed), c.changed) || !slices.Equal(d.Sections, c.sections) && len(d.Sections)+len(c.sections) > 0 {
				t.Errorf("%+v", d)
			}
			if got := Constitutional(before, after); !slices.Equal(got, c.constitutional) {
				t.Errorf("constitutional: %q", got)
			}
		})
	}
}

// Where the digest of two charters differs, the comparison finds something.
func TestCompareMissesNothing(t *testing.T) {
	files, _ := filepath.Glob("../../../policies/*/charter.yaml")
	if len(files) < 3 {
		t.Fatal("the shipped charters are missing")
	}
	var all []*charter.Charter
	for _, file := range files {
		c, findings := charter.Load(file)
		if c == nil || findings.HasErrors() {
			t.Fatal(findings)
		}
		again, _ := charter.Load(file)
		if d := Compare(c, again); len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Sections) > 0 {
			t.Errorf("%s differs from itself: %+v", file, d)
		}
		all = append(all, c)
	}
	for _, a := range all {
		for _, b := range all {
			d := Compare(a, b)
			if differs := len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Sections) > 0; differs != (a.Digest() != b.Digest()) {
				t.Errorf("%s and %s: %v", a.Metadata.Name, b.Metadata.Name, differs)
			}
		}
	}
}

// A charter that is sent cannot have the server read anything.
func TestChartersReadNothing(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(secret, []byte("root: hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{secret, "../../../../../../../../.." + secret, "/etc/passwd", "respond.go"} {
		x := &text{lone, map[string]string{lone: strings.Replace(plainCharter, "kind: Charter", "kind: Charter\nextends: "+base, 1)}}
		c, findings := checking().load(x)
		said := fmt.Sprint(findings)
		if c != nil || !strings.Contains(said, "not among the files of the request") && !strings.Contains(said, "it is absolute") || strings.Contains(said, "hidden") {
			t.Errorf("%s: %s", base, said)
		}
	}
	with := &text{"a/b.yaml", map[string]string{
		"a/b.yaml": "apiVersion: charter/v1\nkind: Charter\nmetadata: {name: more, version: 1.0.0}\nextends: ../base.yaml\n", "base.yaml": plainCharter,
	}}
	if c, findings := checking().load(with); c == nil || findings.HasErrors() {
		t.Errorf("a base that is sent along: %v", findings)
	}
}

// What is wrong with a charter is told with the name of its file each time, so that name
// must not be most of what was sent.
func TestFileNamesAreShort(t *testing.T) {
	a := checking()
	a.compiling = make(chan struct{}, 1)
	text := "apiVersion: charter/v1\nkind: Charter\n"
	for i := range maxFindings {
		text += fmt.Sprintf("unknown_%d: 1\n", i)
	}
	for length, want := range map[int]int{maxName: 0, maxName + 1: http.StatusBadRequest, 200 << 10: http.StatusBadRequest} {
		name := strings.Repeat("n", length)
		for _, file := range []string{"charter.yaml", name} {
			body, err := json.Marshal(map[string]any{"file": file, "files": map[string]string{"charter.yaml": text, name: text}})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			err = a.validate(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chartersPath+"/validate", bytes.NewReader(body)))
			if e, _ := errors.AsType[*wire.Error](err); want == 0 && err != nil || want != 0 && (e == nil || e.Status != want) {
				t.Errorf("a name of %d bytes: %v", length, err)
			}
			if most := 4*len(text) + maxFindings*(maxName+512); w.Body.Len() > most {
				t.Errorf("a request of %d bytes has an answer of %d", len(body), w.Body.Len())
			}
		}
	}
}

// Of alerts, the name and the severity are kept, once each.
func TestAlerts(t *testing.T) {
	entries, err := parseAlerts([]byte(firing))
	if err != nil || len(entries) != 1 {
		t.Fatal(err)
	}
	e := entries[0]
	const want = `{"ends_at"`
	if strings.Contains(string(e.Data), want) || strings.Contains(string(e.Data), "secret") || strings.Contains(string(e.Data), "edge-7") || e.Severity != "critical" || e.Kind != ledger.Alert {
		t.Errorf("%s %+v", e.Data, e)
	}
	r := newRecent()
	if len(r.fresh(append(entries, entries...))) != 1 {
		t.Error("an alert that is there twice is recorded twice")
	}
	r.add(e.RequestID)
	if len(r.fresh(entries)) != 0 {
		t.Error("an alert that is known is recorded again")
	}
	for i := range 2 * maxRecent {
		r.add(fmt.Sprint(i))
	}
	if len(r.ids) > maxRecent || len(r.order) > maxRecent {
		t.Errorf("%d alerts are remembered", len(r.ids))
	}
}
