package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sources is a made-up environment and file system.
type sources struct {
	env   map[string]string
	files map[string]string
}

func (s sources) getenv(name string) string { return s.env[name] }

func (s sources) readFile(name string) ([]byte, error) {
	if text, ok := s.files[name]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
}

func (s sources) configure(args ...string) (Options, error) {
	inv, err := server().configure(args, s.getenv, s.readFile)
	return inv.options, err
}

func TestPrecedence(t *testing.T) {
	s := sources{
		env: map[string]string{"CHARTER_LISTEN": "127.0.0.1:2", "CHARTER_LOG_LEVEL": "warn", "CHARTER_CONFIG": "etc/server.yaml"},
		files: map[string]string{
			"etc/server.yaml":   "charter: c.yaml\nlisten: 127.0.0.1:1\nlog: {level: debug, format: json}\ntimeouts: {read: 7s}\nlimits: {body: 2MiB, check_body: 100}\ndata: /var/lib/charter\n",
			"other/server.yaml": "bundle: b.tar.gz\n",
		},
	}
	o, err := s.configure("-listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Charter, want.Listen, want.LogLevel, want.LogFormat = "etc/c.yaml", "127.0.0.1:3", "warn", "json"
	want.Data, want.Timeouts.Read, want.MaxBody, want.MaxCheckBody = "/var/lib/charter", 7*time.Second, 2<<20, 100
	if o != want {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
	// --config wins over CHARTER_CONFIG, and what to serve is one choice.
	if o, err = s.configure("--config=other/server.yaml", "--charter", "mine.yaml"); err != nil || o.Charter != "mine.yaml" || o.Bundle != "" {
		t.Errorf("%+v %v", o, err)
	}
	if o, err = s.configure("--config=other/server.yaml"); err != nil || o.Bundle != "other/b.tar.gz" || o.Charter != "" {
		t.Errorf("%+v %v", o, err)
	}
}

func TestDocumentedDefaultsAreTrue(t *testing.T) {
	for _, p := range []Program{server(), CharterNode()} {
		var o Options
		for _, s := range p.settings {
			if s.def == "" {
				continue
			}
			if err := s.set(&o, s.def); err != nil {
				t.Errorf("%s: %v", s.flag, err)
			}
		}
		if o != p.defaults {
			t.Errorf("%s: got  %+v\nwant %+v", p.name, o, p.defaults)
		}
	}
}

func TestFlagForms(t *testing.T) {
	for _, args := range [][]string{
		{"-charter", "c", "-listen", "127.0.0.1:0", "-insecure-self-asserted", "-data", "d"},
		{"--charter", "c", "--listen", "127.0.0.1:0", "--insecure-self-asserted", "--data", "d"},
		{"--charter=c", "--listen=127.0.0.1:0", "--insecure-self-asserted=true", "--data=d"},
	} {
		o, err := sources{}.configure(args...)
		if err != nil || o.Charter != "c" || o.Listen != "127.0.0.1:0" || !o.InsecureSelfAsserted || o.Data != "d" {
			t.Errorf("%q: %+v %v", args, o, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{nil, nil, "--charter FILE or --bundle REF"},
		{[]string{"--charter", "a", "--bundle", "b"}, nil, "exclude each other"},
		{[]string{"--charter", ""}, nil, "empty"},
		{[]string{"--charter"}, nil, "needs an argument"},
		{[]string{"charter.yaml"}, nil, `unexpected argument "charter.yaml"`},
		{[]string{"--chartr", "a"}, nil, "did you mean --charter?"},
		{[]string{"--qqq"}, nil, "not defined"},
		{[]string{"--bundle", "oci://registry/x:1"}, nil, "needs --trust FILE"},
		{[]string{"--charter", "a", "--listen", "8000"}, nil, "not HOST:PORT"},
		{[]string{"--charter", "a", "--log-level", "loud"}, nil, "debug, info, warn, error"},
		{[]string{"--charter", "a", "--log-format", "xml"}, nil, "auto, json, text"},
		{[]string{"--charter", "a", "--timeout-read", "0s"}, nil, "--timeout-read: "},
		{[]string{"--charter", "a", "--timeout-read", "5"}, nil, "such as 5s"},
		{[]string{"--charter", "a", "--max-body", "1GB"}, nil, "--max-body: "},
		{[]string{"--charter", "a", "--max-body", "65MiB"}, nil, "64MiB"},
		{[]string{"--charter", "a", "--max-body", "1KiB"}, nil, "must not exceed"},
		{[]string{"--charter", "a", "--config", "missing.yaml"}, nil, "missing.yaml"},
		{[]string{"--charter", "a", "--insecure-self-asserted", "--listen", ":8000"}, nil, "must be loopback"},
		{[]string{"--charter", "a", "--insecure-self-asserted", "--listen", "0.0.0.0:8000"}, nil, "must be loopback"},
		{[]string{"--charter", "a", "--insecure-self-asserted", "--listen", "192.0.2.7:8000"}, nil, "must be loopback"},
		{[]string{"--charter", "a", "--insecure-self-asserted", "--listen", "[::]:8000"}, nil, "must be loopback"},
		{[]string{"--charter", "a", "--listen", "0.0.0.0:8000"}, nil, "needs --tls-cert and --tls-key"},
		{[]string{"--charter", "a", "--listen", "0.0.0.0:8000", "--token-file", "t"}, nil, "needs --tls-cert and --tls-key"},
		{[]string{"--charter", "a", "--listen", "0.0.0.0:8000", "--tls-cert", "c", "--tls-key", "k"}, nil, "needs callers that can prove"},
		{[]string{"--charter", "a", "--listen", "0.0.0.0:8000", "--insecure-plain-http"}, nil, "needs callers that can prove"},
		{[]string{"--charter", "a", "--diagnostics", "0.0.0.0:8001"}, nil, "--diagnostics 0.0.0.0:8001 is not loopback"},
		{[]string{"--charter", "a", "--diagnostics", "8001"}, nil, "not HOST:PORT"},
		{[]string{"--charter", "a", "--tls-cert", "c"}, nil, "need each other"},
		{[]string{"--charter", "a", "--tls-client-ca", "c"}, nil, "needs --tls-cert"},
		{[]string{"--charter", "a", "--token-file", "t", "--insecure-self-asserted"}, nil, "would mean nothing"},
		{[]string{"--charter", "a", "--watch", "-1s"}, nil, "--watch: "},
		{[]string{"--charter", "a", "--rate-limit", "-1"}, nil, "--rate-limit: "},
		{[]string{"--charter", "a", "--public-url", "charter.example.org"}, nil, "not a URL"},
		{[]string{"--charter", "a", "--public-url", "https://charter.example.org/"}, nil, "without a final slash"},
		{[]string{"--charter", "a"}, map[string]string{"CHARTER_INSECURE_SELF_ASSERTED": "1"}, "CHARTER_INSECURE_SELF_ASSERTED: "},
		{[]string{"--charter", "a"}, map[string]string{"CHARTER_TIMEOUT_IDLE": "x"}, "CHARTER_TIMEOUT_IDLE: "},
	} {
		_, err := sources{env: c.env}.configure(c.args...)
		if _, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %v: %v, want %q", c.args, c.env, err, c.want)
		}
	}
	if err := server().validate(Options{Charter: "a", Listen: "127.0.0.1:1", LogLevel: "info", LogFormat: "json"}); err == nil {
		t.Error("no data directory: accepted")
	}
}

func TestListenersBeyondLoopback(t *testing.T) {
	for _, args := range [][]string{
		{"--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"},
		{"--tls-cert", "c", "--tls-key", "k", "--token-file", "t", "--diagnostics", "0.0.0.0:8001"},
		{"--insecure-plain-http", "--token-file", "t"},
	} {
		if _, err := (sources{}).configure(append(args, "--charter", "a", "--listen", "0.0.0.0:8000")...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	if o, err := (sources{}).configure("--charter", "a", "--watch=0"); err != nil || o.Watch != 0 {
		t.Errorf("no watching: %v %v", o.Watch, err)
	}
}

// What /v1/config tells is what a user would write to get the same server.
func TestSettingsReadBack(t *testing.T) {
	for _, s := range serverSettings() {
		var o Options
		if err := s.set(&o, s.get(Defaults())); err != nil {
			if s.get(Defaults()) != "" {
				t.Errorf("%s: %v", s.key, err)
			}
			continue
		}
		if got, want := s.get(o), s.get(Defaults()); got != want {
			t.Errorf("%s: %q, want %q", s.key, got, want)
		}
	}
}

// A misspelt setting that is ignored leaves a server other than the one that was
// asked for, so every key is checked and placed.
func TestConfigFileIsStrict(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"misspelt key", "charter: a\nlistn: x\n", "c.yaml:2:1 unknown_field unknown field listn [did you mean listen?]"},
		{"misspelt nested key", "timeouts:\n  reed: 5s\n", "c.yaml:2:3 unknown_field unknown field timeouts.reed [did you mean read?]"},
		{"no near key", "zzzzzz: 1\n", "c.yaml:1:1 unknown_field unknown field zzzzzz []"},
		{"flag name as key", "log-level: info\n", "c.yaml:1:1 unknown_field unknown field log-level []"},
		{"twice", "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "c.yaml:2:1 duplicate_field listen is given twice []"},
		{"bad duration", "timeouts: {idle: soon}\n", `c.yaml:1:18 invalid_value timeouts.idle: "soon" is not a duration between 0 and 24h, such as 5s or 2m []`},
		{"bad switch", "insecure_self_asserted: yes\n", `c.yaml:1:25 invalid_value insecure_self_asserted: "yes" is not true or false []`},
		{"bad size", "limits: {body: -1}\n", `c.yaml:1:16 invalid_value limits.body: "-1" is not a size from 1 to 64MiB, such as 65536, 64KiB or 1MiB []`},
		{"list", "listen: [a]\n", "c.yaml:1:9 wrong_type listen must be a single value []"},
		{"null", "listen:\n", "c.yaml:1:8 wrong_type listen must be a single value []"},
		{"scalar for a mapping", "log: debug\n", "c.yaml:1:6 wrong_type log must be a mapping []"},
		{"not a mapping", "- a\n", "c.yaml:1:1 wrong_type the configuration must be a mapping []"},
		{"two documents", "charter: a\n---\ncharter: b\n", "c.yaml:2:1 syntax a second YAML document begins here []"},
		{"not YAML", "a: b: c\n", "c.yaml:1 syntax not YAML: mapping values are not allowed in this context []"},
		{"tab", "log:\n\tlevel: info\n", "c.yaml:2 syntax not YAML: found character that cannot start any token []"},
		{"alias", "log: &x {level: debug}\ntimeouts: *x\n", "c.yaml:2:11 wrong_type timeouts must be a mapping []"},
		{"all at once", "b: 1\na: 1\n", "c.yaml:1:1 unknown_field unknown field b []\nc.yaml:2:1 unknown_field unknown field a []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sources{files: map[string]string{"c.yaml": c.text}}.configure("--config", "c.yaml")
			usage, ok := errors.AsType[*usageError](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, f := range usage.findings {
				got = append(got, fmt.Sprintf("%s %s %s [%s]", f.Pos, f.Code, f.Message, f.Fix))
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
	huge := sources{files: map[string]string{"c.yaml": strings.Repeat("#", maxConfig+1)}}
	if _, err := huge.configure("--config", "c.yaml"); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("huge file: %v", err)
	}
	empty := sources{files: map[string]string{"c.yaml": "# nothing\n"}}
	if _, err := empty.configure("--config", "c.yaml", "--charter", "a"); err != nil {
		t.Errorf("empty file: %v", err)
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add("charter: a\nlog: {level: debug}\n")
	f.Add("a: &a [*a]\n")
	f.Add("? {a: b}\n: c\n")
	f.Add("<<: {listen: x}\n")
	f.Add("\"\"0") // what begins like a second document and is not YAML
	f.Fuzz(func(t *testing.T, text string) {
		s := sources{files: map[string]string{"c.yaml": text}}
		o, err := s.configure("--config", "c.yaml")
		if err == nil && server().validate(o) != nil {
			t.Errorf("accepted options that are not valid: %+v", o)
		}
		if err != nil && err.Error() == "" {
			t.Error("refused without words")
		}
		if refused, ok := errors.AsType[*usageError](err); ok {
			for _, finding := range refused.findings {
				if finding.Code == "" || finding.Message == "" || finding.Pos.Line < 1 {
					t.Errorf("refused without saying where: %+v", finding)
				}
			}
		}
	})
}

func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The samples are what people copy: they must load, name every setting, and say the
// true defaults.
func TestSampleConfiguration(t *testing.T) {
	docs := filepath.Join(root(t), "docs")
	for _, p := range []Program{server(), CharterNode()} {
		path := filepath.Join(root(t), filepath.FromSlash(p.help.sample))
		inv, err := p.configure([]string{"--config", path}, func(string) string { return "" }, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		want := p.defaults
		want.Charter, want.Data = filepath.Join(root(t), "policies", "development", "charter.yaml"), filepath.Join(docs, p.defaults.Data)
		if p.node {
			want.Charter, want.Bundle, want.Trust = "", "oci://registry.example.org/charter:production", filepath.Join(docs, "trust.yaml")
		}
		if inv.options != want {
			t.Errorf("got  %+v\nwant %+v", inv.options, want)
		}
		text := read(t, path)
		for _, s := range p.settings {
			parts := strings.Split(s.key, ".")
			if !strings.Contains(text, parts[len(parts)-1]+":") {
				t.Errorf("%s is not in %s", s.key, p.help.sample)
			}
		}
	}
}

func TestDocumentationNamesEverySetting(t *testing.T) {
	for page, p := range map[string]Program{"server.md": server(), "node.md": CharterNode()} {
		text := read(t, filepath.Join(root(t), "docs", page))
		for _, s := range p.settings {
			flag := strings.TrimSpace("--" + s.flag + " " + s.arg)
			row := fmt.Sprintf("| `%s` | `%s` | `%s` |", flag, p.variable(s.flag), s.key)
			if !strings.Contains(text, row) {
				t.Errorf("docs/%s lacks the row %s", page, row)
			}
		}
	}
}
