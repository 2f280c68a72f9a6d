package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/westworld-charter/charter/internal/policytest"
)

// result is what one run left behind.
type result struct {
	code           int
	stdout, stderr string
}

func admin(t *testing.T, args ...string) result {
	t.Helper()
	return adminWith(t.Context(), "", args...)
}

func adminWith(ctx context.Context, stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := Main(ctx, args, strings.NewReader(stdin), &stdout, &stderr, func(string) string { return "" })
	return result{code, stdout.String(), stderr.String()}
}

// demo makes the starter charter in a new working directory.
func demo(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if r := admin(t, "init", "demo"); r.code != ExitOK {
		t.Fatalf("init: %+v", r)
	}
}

func edit(t *testing.T, path, old, replacement string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(old), []byte(replacement)), 0o600); err != nil {
		t.Fatal(err)
	}
}

const nodeProm = "latency_p50 1\nlatency_p50{zone=\"a\"} 1\nlatency_p50{zone=\"b\"} 1\nlatency_p50{zone=\"\"} 1\ngps_fix{user=\"ana\"} 1\nup 1\n"

// Scripts decide by exit codes, so each class of outcome has its own. The
// scripts in tests/scripts look at the texts.
func TestExitCodes(t *testing.T) {
	demo(t)
	for name, text := range map[string]string{
		"node.prom": nodeProm, "bad.prom": "up one\n", "garbage.tar.gz": "x", "home/letter.txt": "x", "bad.yaml": "a: b\n",
		"state.yaml": "standing: {edge-1: {state: suspended, until: 2030-01-01T00:00:00Z}}\n", "scalar.yaml": "1\n", "huge.yaml": "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate("huge.yaml", policytest.MaxTableBytes+1); err != nil {
		t.Fatal(err)
	}
	const charter = "demo/charter.yaml"
	for _, tc := range []struct {
		code int
		args string
	}{
		{ExitOK, "--help"},
		{ExitOK, "help"},
		{ExitOK, "help bundle build"},
		{ExitOK, "version"},
		{ExitOK, "version --format json"},
		{ExitOK, "completion bash"},
		{ExitOK, "validate " + charter},
		{ExitOK, "validate --format sarif demo"},
		{ExitOK, "test demo --coverage --verbose"},
		{ExitOK, "test demo --run latency --format json"},
		{ExitOK, "compile demo -o out"},
		{ExitOK, "compile demo -o out --check"},
		{ExitOK, "bundle build demo -o b.tar.gz --format json"},
		{ExitOK, "bundle inspect b.tar.gz"},
		{ExitOK, "bundle inspect out --format json"},
		{ExitOK, "is-allowed latency_p50 edge-1 b.tar.gz"},
		{ExitOK, "check --metric latency_p50 --claims all --label a=b --retention 1d --format json out"},
		{ExitOK, "check --metric latency_p50 --role public --operation read --purpose operations demo"},
		{ExitOK, "check --exposition node.prom demo"},
		{ExitOK, "check --exposition node.prom --all demo"},
		{ExitOK, "check --exposition node.prom --format json b.tar.gz"},
		{ExitOK, "check --exposition node.prom --claims owns_node --state state.yaml demo"},

		{ExitInternal, "bundle build demo -o none/such/b.tar.gz"},
		{ExitInternal, "compile demo -o b.tar.gz"},

		{ExitUsage, ""},
		{ExitUsage, "chek"},
		{ExitUsage, "chek --format json"},
		{ExitUsage, "xyzzy"},
		{ExitUsage, "help xyzzy"},
		{ExitUsage, "help bundle bild"},
		{ExitUsage, "--nope"},
		{ExitUsage, "check --nope demo"},
		{ExitUsage, "completion"},
		{ExitUsage, "completion klingon"},
		{ExitUsage, "validate"},
		{ExitUsage, "validate --format xml demo"},
		{ExitUsage, "validate --format jsn demo"},
		{ExitUsage, "version extra"},
		{ExitUsage, "init demo"},
		{ExitUsage, "init node.prom/x"},
		{ExitUsage, "compile demo"},
		{ExitUsage, "compile demo -o home"},
		{ExitUsage, "bundle"},
		{ExitUsage, "bundle bild"},
		{ExitUsage, "bundle build demo"},
		{ExitUsage, "bundle build demo -o b.zip"},
		{ExitUsage, "test --run ( demo"},
		{ExitUsage, "test --threshold -1 demo"},
		{ExitUsage, "test --timeout 0s demo"},
		{ExitUsage, "test nowhere"},
		{ExitUsage, "test node.prom"},
		{ExitUsage, "test demo/charter.yaml"},
		{ExitUsage, "check demo"},
		{ExitUsage, "check --metric a --exposition b demo"},
		{ExitUsage, "check --metric a --label x demo"},
		{ExitUsage, "check --metric a --label x=1 --label x=2 demo"},
		{ExitUsage, "check --metric a --operation x --time y demo"},
		{ExitUsage, "check --metric a --state none.yaml demo"},
		{ExitUsage, "check --metric a --state home demo"},
		{ExitUsage, "check --metric a --state scalar.yaml demo"},
		{ExitUsage, "check --metric a --state huge.yaml demo"},
		{ExitUsage, "check --exposition none.prom demo"},
		{ExitUsage, "check --exposition bad.prom demo"},
		{ExitUsage, "check --exposition - demo"},
		{ExitUsage, "check --exposition node.prom --time x demo"},
		{ExitUsage, "check --exposition node.prom --label a=b demo"},

		{ExitInvalid, "validate none.yaml"},
		{ExitInvalid, "validate bad.yaml demo"},
		{ExitInvalid, "compile bad.yaml -o new"},
		{ExitInvalid, "compile demo -o new --check"},
		{ExitInvalid, "check --metric a bad.yaml"},
		{ExitInvalid, "check --metric a garbage.tar.gz"},
		{ExitInvalid, "check --exposition node.prom bad.yaml"},
		{ExitInvalid, "bundle inspect garbage.tar.gz"},
		{ExitInvalid, "bundle build bad.yaml -o c.tar.gz"},

		{ExitTests, "test home"},
		{ExitTests, "test demo --run nothing_of_that_name"},

		{ExitFinding, "check --metric gps_fix --claims all demo"},
		{ExitFinding, "check --metric latency_p50 --node edge-1 --claims all --state state.yaml demo"},
		{ExitFinding, "is-allowed latency_p5 edge-1 demo"},
	} {
		r := admin(t, strings.Fields(tc.args)...)
		if r.code != tc.code {
			t.Errorf("charter-admin %s: exit code %d, want %d\nstdout: %.300s\nstderr: %.300s", tc.args, r.code, tc.code, r.stdout, r.stderr)
		}
		if tc.code == ExitUsage && (r.stdout != "" || strings.Count(r.stderr, "\n") != 1) {
			t.Errorf("charter-admin %s: a mistake is one line on stderr, not\nstdout: %s\nstderr: %s", tc.args, r.stdout, r.stderr)
		}
	}
}

func TestCheckExpositionJSON(t *testing.T) {
	demo(t)
	r := adminWith(t.Context(), nodeProm, "check", "--exposition", "-", "--format", "json", "demo")
	var doc struct {
		Revision string
		Summary  map[string]any
		Results  []struct {
			Metric  string
			Labels  map[string]string
			Allow   *bool
			Outcome string
			Clause  string
			Reasons []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if r.code != ExitOK || len(doc.Results) != 6 || doc.Summary["allowed"] != 4.0 || doc.Summary["denied"] != 2.0 {
		t.Errorf("exit code %d, %d results, summary %v", r.code, len(doc.Results), doc.Summary)
	}
	for name, value := range doc.Summary {
		if _, list := value.([]any); list {
			t.Errorf("the summary holds the list %s", name)
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(nodeProm), "\n") {
		res := doc.Results[i]
		if !strings.HasPrefix(line, res.Metric) || res.Allow == nil || res.Labels == nil || res.Clause == "" ||
			(res.Reasons == nil) || *res.Allow != (res.Outcome == "allowed") {
			t.Errorf("result %d of %s is %+v", i, line, res)
		}
	}
	if doc.Results[2].Labels["zone"] != "b" {
		t.Error("series that share a decision share their labels too")
	}
}

func TestCheckExpositionURL(t *testing.T) {
	demo(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, nodeProm)
	}))
	defer srv.Close()
	r := adminWith(t.Context(), strings.Repeat("a", 600)+" 1\n", "check", "--exposition", "-", "demo")
	if r.code != ExitOK || !strings.Contains(r.stdout, "0 of 1 series allowed") {
		t.Errorf("a name longer than a question may hold: %+v", r)
	}
	if r := admin(t, "check", "--exposition", srv.URL, "demo"); r.code != ExitOK || !strings.Contains(r.stdout, "4 of 6 series allowed, 2 denied") {
		t.Errorf("%+v", r)
	}
}

func TestInterrupted(t *testing.T) {
	demo(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{
		"validate demo/charter.yaml", "test demo", "check --exposition http://127.0.0.1:1/ demo", "check --exposition demo/x.prom demo",
	} {
		if err := os.WriteFile("demo/x.prom", []byte(nodeProm), 0o600); err != nil {
			t.Fatal(err)
		}
		r := adminWith(ctx, "", strings.Fields(args)...)
		if r.code != ExitInternal || r.stderr != "charter-admin: interrupted\n" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// full is a disk without room.
type full struct{ err error }

func (w full) Write([]byte) (int, error) { return 0, w.err }

func TestOutputErrors(t *testing.T) {
	noRoom := errors.New("no room")
	for _, args := range []string{"version", "completion bash", "--help"} {
		var stderr bytes.Buffer
		code := Main(t.Context(), strings.Fields(args), nil, full{noRoom}, &stderr, os.Getenv)
		if code != ExitInternal || !strings.Contains(stderr.String(), "no room") {
			t.Errorf("%s: output is lost with exit code %d: %s", args, code, &stderr)
		}
		stderr.Reset()
		if Main(t.Context(), strings.Fields(args), nil, full{io.ErrClosedPipe}, &stderr, os.Getenv); stderr.Len() > 0 {
			t.Errorf("%s: a reader that went away is told about it: %s", args, &stderr)
		}
	}
}

// Where both streams go to one place, what is said about the output stands
// behind it.
func TestStreamsInOrder(t *testing.T) {
	demo(t)
	edit(t, "demo/charter.yaml", "retention: 90d", "retentoin: 90d")
	var both bytes.Buffer
	Main(t.Context(), []string{"validate", "demo"}, nil, &both, &both, os.Getenv)
	if !strings.HasPrefix(both.String(), "demo/charter.yaml:") || !strings.HasSuffix(both.String(), "\n1 charter: 1 error\n") {
		t.Error(both.String())
	}
}

func TestColors(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	env := func(name, value string) func(string) string {
		return func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
	}
	for name, tc := range map[string]struct {
		stdout io.Writer
		getenv func(string) string
		want   bool
	}{
		"terminal": {terminal, env("", ""), true},
		"file":     {file, env("", ""), false},
		"buffer":   {&bytes.Buffer{}, env("", ""), false},
		"NO_COLOR": {terminal, env("NO_COLOR", "1"), false},
		"dumb":     {terminal, env("TERM", "dumb"), false},
	} {
		if got := detectColors(tc.stdout, tc.stdout, tc.getenv); got.stdout != tc.want || got.stderr != tc.want {
			t.Errorf("%s: colours %v, want %v", name, got, tc.want)
		}
	}
}

// painted runs one command as on a terminal.
func painted(t *testing.T, body func(p *program) error) string {
	t.Helper()
	var stdout bytes.Buffer
	p := &program{stdout: newOutput(&stdout), stderr: io.Discard, now: time.Now, color: colors{stdout: true}}
	err := body(p)
	var ee *exitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	if err := p.stdout.Flush(); err != nil {
		t.Fatal(err)
	}
	return stdout.String()
}

func TestVerdictIsColored(t *testing.T) {
	demo(t)
	for metric, want := range map[string]string{
		"latency_p50": "\x1b[32mallowed\x1b[0m  latency_p50\n",
		"gps_fix":     "\x1b[31mforbidden\x1b[0m  gps_fix\n",
	} {
		got := painted(t, func(p *program) error {
			flags := checkFlags{claims: []string{allClaims}}
			flags.question.Metric, flags.question.Node, flags.question.Role, flags.question.Operation = metric, "n", "node_operator", "collect"
			return p.checkOne(t.Context(), "demo", flags)
		})
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWarningsAreCounted(t *testing.T) {
	demo(t)
	edit(t, "demo/charter.yaml", "access_levels: [public, operator]", "access_levels: [public, operator, audit]")
	if r := admin(t, "is-allowed", "latency_p50", "n", "demo"); r.code != ExitOK || r.stderr != "demo/charter.yaml: 1 warning; see charter-admin validate\n" {
		t.Errorf("%+v", r)
	}
	if r := admin(t, "validate", "demo"); r.code != ExitOK || !strings.HasSuffix(r.stderr, "1 charter: 1 warning\n") {
		t.Errorf("%+v", r)
	}
	if r := admin(t, "validate", "--strict", "demo"); r.code != ExitInvalid {
		t.Errorf("%+v", r)
	}
}

// A mode that does not enforce must be visible, or a denial looks like a yes.
func TestUnenforcedDenialIsShown(t *testing.T) {
	demo(t)
	edit(t, "demo/charter.yaml", "forbidden:", "enforcement: {mode: warn}\n\nforbidden:")
	r := admin(t, "check", "--metric", "nothing", "--claims", "all", "demo")
	if r.code != ExitOK || !strings.Contains(r.stdout, "not enforced the mode is warn") {
		t.Errorf("%+v", r)
	}
	r = adminWith(t.Context(), nodeProm, "check", "--exposition", "-", "demo")
	if !strings.Contains(r.stdout, "WOULD BE DENIED BUT IS NOT ENFORCED\n\ndefault: unknown_metric") || !strings.Contains(r.stdout, "\n    up\n") {
		t.Errorf("%+v", r)
	}
}

func TestCompileCheckFindsDifferences(t *testing.T) {
	demo(t)
	if r := admin(t, "compile", "demo", "-o", "out"); r.code != ExitOK {
		t.Fatalf("%+v", r)
	}
	edit(t, "out/data.json", "starter", "started")
	if err := os.Remove("out/charter/decision.rego"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("out/stray", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := admin(t, "compile", "demo", "-o", "out", "--check")
	if r.code != ExitInvalid || r.stdout != "charter/decision.rego: missing\ndata.json: differs\nstray: not part of the bundle\n" {
		t.Errorf("%+v", r)
	}
}

func TestInspectNamesInvalidCharters(t *testing.T) {
	demo(t)
	if r := admin(t, "compile", "demo", "-o", "out"); r.code != ExitOK {
		t.Fatalf("%+v", r)
	}
	edit(t, "out/charter.yaml", "latency_p99", "latency_p98")
	if r := admin(t, "bundle", "inspect", "out"); r.code != ExitOK || !strings.Contains(r.stderr, "not the canonical charter that the manifest speaks of") {
		t.Errorf("an altered charter goes unnoticed: %+v", r)
	}
	edit(t, "out/charter.yaml", "kind: Charter", "kind: Carter")
	r := admin(t, "bundle", "inspect", "out")
	if r.code != ExitInvalid || !strings.Contains(r.stderr, "charter.yaml:2") || !strings.Contains(r.stderr, "the charter in out is not valid") {
		t.Errorf("%+v", r)
	}
	if r := admin(t, "check", "--metric", "a", "out"); r.code != ExitInvalid {
		t.Errorf("a bundle with an invalid charter decides: %+v", r)
	}
	if err := os.Remove("out/charter.yaml"); err != nil {
		t.Fatal(err)
	}
	if r := admin(t, "bundle", "inspect", "out"); r.code != ExitInvalid {
		t.Errorf("a bundle without a charter: %+v", r)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain":          "plain",
		"two\nlines":     "two\nlines",
		"größe 度":        "größe 度",
		"\x1b[31m":       `\x1b[31m`,
		"a\u202eb\tc\r":  `a\u202eb\tc\r`,
		"bad \xff UTF-8": `bad \ufffd UTF-8`,
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
}
